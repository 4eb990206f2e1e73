"""PySpark's daemon, which has imported already what the workers that it forks would import.

A worker whose task fails ends with it, and torch and numba take the next one seconds. Jobs in
processes of their own have workers that import for themselves.
"""

from __future__ import annotations

import gc

from pyspark.daemon import manager

import vaeudf.workflows.cluster_catalog
import vaeudf.workflows.decode_latents
import vaeudf.workflows.encode_catalog
import vaeudf.workflows.inspect_table
import vaeudf.workflows.query_topk
import vaeudf.workflows.train_vae  # noqa: F401

if __name__ == "__main__":
    # What is frozen stays shared with the workers, and they pass over it when they collect garbage.
    gc.collect()
    gc.freeze()
    manager()
