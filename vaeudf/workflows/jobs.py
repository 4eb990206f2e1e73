"""Which jobs there are, for the command line, without importing them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import Any

# Not by __file__: the package may come in a zip archive, for --py-files.
LISTING = files("vaeudf.workflows").joinpath("jobs.txt").read_text()
"""The jobs by what they are for, a line each; ./spark-submit.sh shows the same file."""
NAMES = tuple(line.split()[0] for line in LISTING.splitlines() if line.startswith(" "))
"""The jobs' names."""
WITHOUT_SPARK = frozenset({"explore"})
"""Those that never start Spark, so that no cluster is to run their driver."""


def find_job(name: str) -> tuple[type, Callable[[Any], dict[str, Any]]]:
    """Import a job: the class of its options, and the function that runs it.

    The job ``encode_catalog`` is the function of that name in the module of that name, and its
    options are the class ``EncodeCatalog``.

    Args:
        name: One of :data:`NAMES`.
    """
    module = import_module(f"vaeudf.workflows.{name}")
    return getattr(module, name.title().replace("_", "")), getattr(module, name)
