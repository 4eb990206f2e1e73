"""Queries and encoding at a server of Spark Connect beside a Spark in the job's own process.

    python -m benchmarks.connect --data DIR --table DIR [--posteriors FILE.npz] [--photos FOLDER]

The catalog is that of benchmarks.encode, the table that of benchmarks.spark_query; both are made if
they are not there. Each contender has a process of its own, and Spark Connect a server of its own
besides, with the same master and properties. Both are warmed up, and they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.catalogs import make_data
from benchmarks.encode import make_model
from benchmarks.measure import print_table, tell
from tests.support.connect_server import connect_server
from tests.support.jobs import ROOT

CONTENDERS = ("this process", "Spark Connect")
_WARM_UP = 100


def query(table: str, posteriors: str, num_queries: str) -> dict[str, float]:
    """Ask for the ten nearest items of each kind of z; return the seconds."""
    import vaeudf
    from benchmarks.posteriors import KINDS, draw_items, draw_queries
    from vaeudf.table.open import open_table

    _session()
    opened = open_table(table)
    items = draw_items(100_000, opened.latent_dim, posteriors or None)
    found = {}
    for kind in KINDS:
        z = draw_queries(kind, int(num_queries), items)
        vaeudf.top_k(opened, z[:_WARM_UP], 10).toArrow()
        start = time.perf_counter()
        assert vaeudf.top_k(opened, z, 10).toArrow().num_rows == 10 * len(z)
        found[kind] = time.perf_counter() - start
    return found


def encode(data: str, model: str) -> dict[str, float]:
    """Encode the small catalog, then the large one, then nothing; return the seconds of both."""
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    _session()
    with tempfile.TemporaryDirectory(prefix="benchmark-connect-") as tables:
        encode_catalog(EncodeCatalog(f"{data}/small/files", model, f"{tables}/small"))
        night = EncodeCatalog(f"{data}/large/files", model, f"{tables}/large")
        start = time.perf_counter()
        encode_catalog(night)
        between = time.perf_counter()
        second = encode_catalog(night)
        assert second["encoded"] == 0, second
        return {"encode": between - start, "nothing to do": time.perf_counter() - between}


def make_items(table: str, posteriors: str, count: str) -> dict[str, float]:
    """Make the table; return the seconds."""
    from benchmarks.made_table import make_table
    from benchmarks.posteriors import draw_items
    from vaeudf.spark.classic_session import session_builder

    start = time.perf_counter()
    items = draw_items(int(count), source=posteriors or None)
    make_table(session_builder("benchmark").getOrCreate(), table, items)
    return {"make": time.perf_counter() - start}


TASKS = {"query": query, "encode": encode, "make": make_items}


def _session() -> None:
    if os.environ.get("SPARK_REMOTE"):
        from vaeudf.spark import connect_session

        connect_session.start("benchmark")
    else:
        from vaeudf.spark.classic_session import session_builder

        session_builder("benchmark").getOrCreate()


def run(task: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run a task of this module in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.connect", "--task", task, *arguments],
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
            **environment,
        },
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def contend(contender: str, task: str, *arguments: str) -> dict[str, float]:
    """Run a task as one of the two contenders does."""
    cores = len(os.sched_getaffinity(0))
    properties = ROOT / "vaeudf" / "spark" / "conf" / "local.conf"
    if contender == CONTENDERS[0]:
        given = f"--master local[{cores},4] --properties-file {properties} pyspark-shell"
        return run(task, *arguments, PYSPARK_SUBMIT_ARGS=given)
    lines = [line.split(None, 1) for line in properties.read_text().splitlines()]
    settings = {one[0]: one[1] for one in lines if len(one) == 2 and not one[0].startswith("#")}
    with tempfile.TemporaryDirectory(prefix="benchmark-connect-") as folder:
        settings["spark.master"] = f"local[{cores},4]"
        with connect_server(Path(folder), settings, python_path=str(ROOT)) as url:
            return run(task, *arguments, SPARK_REMOTE=url)


def compare(task: str, repeats: int, *arguments: str) -> None:
    """Run both contenders in turns, and print the medians and their ratio."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(repeats):
        for name in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            found[name].append(contend(name, task, *arguments))
            tell(f"{name}: {found[name][-1]}")
    medians = [
        {part: statistics.median(one[part] for one in found[name]) for part in found[name][0]}
        for name in CONTENDERS
    ]
    rows = [
        (part, here, there, there / here)
        for (part, here), there in zip(medians[0].items(), medians[1].values(), strict=True)
    ]
    print_table([f"{task}, seconds", *CONTENDERS, "ratio"], rows)


def main() -> None:
    """Measure, and print the tables; or do one task of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--photos")
    parser.add_argument("--posteriors", default="")
    parser.add_argument("--count", type=int, default=25_000)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", nargs="*", choices=("query", "encode"), default=["query", "encode"]
    )
    parser.add_argument("--task", choices=list(TASKS))
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](*options.arguments)), flush=True)
        return
    if "query" in options.only:
        if options.table is None:
            parser.error("--table is needed")
        table = str(options.table.absolute())
        if not options.table.exists():
            tell(f"making a table of {options.items:,} items")
            contend(CONTENDERS[0], "make", table, options.posteriors, str(options.items))
        compare("query", options.repeats, table, options.posteriors, str(options.queries))
    if "encode" in options.only:
        if options.data is None:
            parser.error("--data is needed")
        data = options.data.absolute()
        if not data.exists():
            make_data(data, options.photos, options.count)
        if not (data / "model").exists():
            make_model(data / "model")
        compare("encode", options.repeats, str(data), str(data / "model"))


if __name__ == "__main__":
    main()
