"""Encoding and listing a catalog on HDFS beside the same on a local disk.

    mvn -f tests/hadoop/pom.xml dependency:copy-dependencies -DoutputDirectory=JARS/hadoop
    python -m benchmarks.hdfs --data DIR --jars JARS [--photos FOLDER] [--count 25000]

The catalog is that of benchmarks.encode. HDFS is a real one, of one node, which runs on the same
cores as Spark, and is started and filled first. Each contender has a process of its own, is warmed
up on a small catalog, and encodes the large one into a table in the same store; the night after has
nothing to do. For the listing, folders of 100 empty files each are made on HDFS.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.catalogs import make_data
from benchmarks.encode import make_model
from benchmarks.measure import print_table, tell, timed

# HDFS takes up to half a second to close a small file.
_WRITERS = 48
_PER_FOLDER = 100


def put(uri: str, files: dict[str, Path | None]) -> None:
    """Write files to HDFS, by path: copies, or empty ones."""
    from vaeudf.storage.locations import filesystem

    store, root = filesystem(uri)

    def write(name: str) -> None:
        source = files[name]
        with store.open_output_stream(f"{root}/{name}") as stream:
            if source is not None:
                stream.write(source.read_bytes())

    start = time.perf_counter()
    with ThreadPoolExecutor(_WRITERS) as pool:
        for done, _ in enumerate(pool.map(write, files), 1):
            if done % 5_000 == 0:
                tell(f"{uri}: {done:,} files after {time.perf_counter() - start:.0f} s")


def below(folder: Path) -> dict[str, Path | None]:
    """Return the files below a folder, by their paths from there."""
    return {str(file.relative_to(folder)): file for file in folder.rglob("*.jpg")}


def encode(catalogs: str, model: str, tables: str) -> dict[str, float]:
    """Encode the small catalog, then the large one, then nothing; return the seconds of both."""
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    _spark()
    encode_catalog(EncodeCatalog(f"{catalogs}/small/files", model, f"{tables}/small"))
    night = EncodeCatalog(f"{catalogs}/large/files", model, f"{tables}/large")
    start = time.perf_counter()
    first = encode_catalog(night)
    between = time.perf_counter()
    second = encode_catalog(night)
    assert second["encoded"] == 0, second
    seconds = {"encode": between - start, "nothing to do": time.perf_counter() - between}
    return {**seconds, **{f"encode: {part}": spent for part, spent in first["seconds"].items()}}


def list_all(uri: str) -> dict[str, float]:
    """Return the seconds that the job's own listing takes, and Spark's of the same folders."""
    from vaeudf.catalog.listing import list_files

    spark = _spark()
    found = {}

    # Spark lists empty files, too, and gives no rows of them.
    def ours() -> int:
        return list_files(spark, uri).count()

    def sparks() -> int:
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(uri)
        return files.select("path", "modificationTime", "length").count()

    for name, listing in (("vaeudf", ours), ("Spark's binaryFile", sparks)):
        listing()
        found[name], _ = timed(listing)
    return found


def _spark():  # type: ignore[no-untyped-def] # PySpark is imported where Spark runs
    from vaeudf.spark.classic_session import session_builder

    cores = len(os.sched_getaffinity(0))
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f"--master local[{cores},4] --properties-file vaeudf/spark/conf/local.conf pyspark-shell"
    )
    return session_builder("benchmark").getOrCreate()


def run(task: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run a task of this module in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hdfs", "--task", task, *arguments],
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.getcwd(),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            **environment,
        },
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(options: argparse.Namespace, uri: str, scratch: Path) -> None:
    """Fill HDFS, measure, and print the tables."""
    if "encode" in options.only:
        measure_encoding(options, uri, scratch)
    if "list" in options.only:
        names = [f"{i // _PER_FOLDER:05d}/{i:06d}.jpg" for i in range(options.list)]
        put(f"{uri}/listed", dict.fromkeys(names))
        listed = run("list", f"{uri}/listed")
        print_table([f"listing {options.list:,} files, seconds", ""], list(listed.items()))


def measure_encoding(options: argparse.Namespace, uri: str, scratch: Path) -> None:
    """Encode the catalog from both places, in turns, and print the table."""
    from vaeudf.storage.locations import remove

    data, model = options.data.absolute(), str(options.data.absolute() / "model")
    for size in ("small", "large"):
        put(f"{uri}/{size}/files", below(data / size / "files"))
    places = {"local disk": (str(data), str(scratch / "tables")), "HDFS": (uri, f"{uri}/tables")}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    for _ in range(options.repeats):
        for name, (catalogs, tables) in places.items():
            found[name].append(run("encode", catalogs, model, tables))
            tell(f"{name}: {found[name][-1]}")
            remove(tables)
    medians = {
        name: {part: statistics.median(one[part] for one in runs) for part in runs[0]}
        for name, runs in found.items()
    }
    count = len(below(data / "large" / "files"))
    rows = [(name, count / parts["encode"], *parts.values()) for name, parts in medians.items()]
    print_table([f"{count:,} files, seconds", "images/s", *medians["HDFS"]], rows)


def main() -> None:
    """Measure, and print the tables; or do one task of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--jars", type=Path)
    parser.add_argument("--photos")
    parser.add_argument("--count", type=int, default=25_000)
    parser.add_argument("--list", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["encode", "list"])
    parser.add_argument("--task", choices=("encode", "list"))
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.task:
        found = (
            encode(*options.arguments) if options.task == "encode" else list_all(*options.arguments)
        )
        print(json.dumps(found), flush=True)
        return
    if options.data is None or options.jars is None:
        parser.error("--data and --jars are needed")
    data = options.data.absolute()
    if not data.exists():
        make_data(data, options.photos, options.count)
    if not (data / "model").exists():
        make_model(data / "model")
    from tests.hadoop.mini_hadoop import mini_hadoop

    with tempfile.TemporaryDirectory(prefix="benchmark-hdfs-") as folder:
        scratch = Path(folder)
        with mini_hadoop(options.jars.absolute() / "hadoop", scratch / "hadoop") as hadoop:
            measure(options, hadoop.uri, scratch)


if __name__ == "__main__":
    main()
