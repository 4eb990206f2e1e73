"""The whole path on a drawn catalog: draw, train, encode, query, and a page to look at."""

from __future__ import annotations

import json
import logging
import posixpath
import shlex
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, MU, QUERY_ID
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import (
    absolute,
    exists,
    filesystem,
    is_empty_folder,
    is_whole_store,
    make_folder,
    remove,
)
from vaeudf.storage.refusals import STORE_ERRORS, check_writable, refused
from vaeudf.storage.single_file import write_file
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.draw_catalog import DrawCatalog, draw_catalog
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk
from vaeudf.workflows.train_vae import TrainVae, train_vae

log = logging.getLogger(__name__)

_MARKER = "demo.json"
# Drawn pictures are easy to reconstruct, so their likelihood outweighs the KL term more than that
# of photos does. With this weight most samples of the prior, and so most slider positions, decode
# to garments; with train_vae's default they decode to blots.
_BETA = 60.0
# Sliders are set by hand, and whoever sees decode(z) expects hits that look like it. inspect_table
# --pictures recommends this tolerance for the model of the demo.
_TOLERANCE = 0.5


@dataclass(frozen=True)
class Demo:
    """Draw a catalog of garments, train a VAE on it, encode it, query it, and show the result."""

    output: str = path_option("demo", help="folder to make; an earlier demo there is replaced")
    items: int = option(3000, help="how many garments to draw")
    epochs: int = option(14, help="passes over them in training")
    latent_dim: int = option(10, help="number of latent dimensions")
    seed: int = option(0, help="seeds the garments and the training")

    def __post_init__(self) -> None:
        # Both check their options, before an earlier demo is removed.
        drawing, plan = self.drawing(""), self.training("").plan
        if drawing.items < 2 * plan.batch_size:
            raise InputError(f"items is {self.items}; expected at least {2 * plan.batch_size}.")

    def drawing(self, root: str) -> DrawCatalog:
        """Return the options of the first step."""
        return DrawCatalog(posixpath.join(root, "catalog"), items=self.items, seed=self.seed)

    def training(self, root: str) -> TrainVae:
        """Return the options of the second step."""
        return TrainVae(
            catalog=posixpath.join(root, "catalog"),
            output=posixpath.join(root, "model"),
            epochs=self.epochs,
            latent_dim=self.latent_dim,
            beta=_BETA,
            seed=self.seed,
        )


def demo(options: Demo) -> Summary:
    """Run every job once, in one Spark session."""
    root = absolute(options.output)
    catalog, model, table, results, report = (
        posixpath.join(root, name)
        for name in ("catalog", "model", "posteriors", "results", "report")
    )
    queries = posixpath.join(root, "queries.parquet")
    watch = Stopwatch()
    _check_way(root)
    with spark_session("demo", root):
        remove(root)  # an earlier demo
        system, inner = filesystem(root)
        make_folder(system, inner)
        write_file(posixpath.join(root, _MARKER), f"{json.dumps(vars(options))}\n".encode())
        log.info("1/4  drawing %d garments …", options.items)
        with watch.phase("draw"):
            draw_catalog(options.drawing(root))
        log.info("2/4  training a VAE on them …")
        with watch.phase("train"):
            trained = train_vae(options.training(root))
        log.info("3/4  encoding the catalog with Spark …")
        with watch.phase("encode"):
            encoded = encode_catalog(EncodeCatalog(catalog=catalog, model=model, table=table))
        log.info("4/4  asking for the items most like some slider positions …")
        with watch.phase("query"):
            picked = _pick_queries(table, options.seed)
            pq.write_table(picked, filesystem(queries)[1], filesystem=system)
            answered = query_topk(
                QueryTopk(
                    table=table,
                    queries=queries,
                    tolerance=_TOLERANCE,
                    rerank="picture",
                    output=results,
                    report=report,
                )
            )
    log.info("Done. Open %s in a browser.", answered["report"])
    log.info(
        "To move the sliders yourself: ./spark-submit.sh explore --table %s --tolerance %g",
        shlex.quote(table),
        _TOLERANCE,
    )
    return {
        "items": encoded["encoded"],
        "quarantined": encoded["quarantined"],
        "queries": answered["queries"],
        "held_out": trained["held_out"],
        "report": answered["report"],
        "seconds": watch.seconds,
    }


def _check_way(root: str) -> None:
    """Refuse a folder that is something else than an earlier demo, or cannot be written."""
    if is_whole_store(root):
        raise InputError(f"{root} is a whole store; name a folder in it with --output.")
    try:
        is_something = exists(root) and not is_empty_folder(root)
        is_another = is_something and not exists(posixpath.join(root, _MARKER))
    except STORE_ERRORS as error:
        raise refused(root, error, "read") from None
    if is_another:
        raise InputError(
            f"{root} is not empty and not an earlier demo; name another folder with --output."
        )
    check_writable(root)


def _pick_queries(table_uri: str, seed: int) -> pa.Table:
    """Return slider positions like a person's: multiples of 0.1, near garments of the catalog."""
    table = open_table(table_uri)
    rows = pa.concat_tables(
        pq.read_table(inner, filesystem=system, columns=[ITEM_ID, MU, "category"])
        for system, inner in map(filesystem, table.files)
    )
    rng = np.random.default_rng(seed)
    categories = np.asarray(rows["category"].to_pylist())
    mu = np.stack(rows[MU].to_numpy())
    nouns: list[str] = []
    names: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    for category in sorted(set(categories)):
        one = rng.choice(np.flatnonzero(categories == category))
        nouns.append(f"{'an' if category[0] in 'aeiou' else 'a'} {category}")
        names.append(f"sliders at {nouns[-1]}")
        vectors.append(mu[one])
    first, second = rng.choice(len(vectors), 2, replace=False)
    names.append(f"half-way from {nouns[first]} to {nouns[second]}")
    vectors.append((vectors[first] + vectors[second]) / 2)
    names.append("all sliders in the middle")
    vectors.append(np.zeros_like(mu[0]))
    z = np.round(np.stack(vectors), 1)
    return pa.table({QUERY_ID: names, "z": pa.array(z.tolist(), pa.list_(pa.float64()))})
