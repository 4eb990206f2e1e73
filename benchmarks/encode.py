"""Encoding a catalog beside a bare Python loop, Spark's other ways, and Ray Data.

    pip install "ray[data]"
    python -m benchmarks.encode --data DIR [--photos FOLDER] [--count 25000] [--size 1000x1334]

The catalog is made first if DIR does not exist: small JPEG files in folders, and the same in
Parquet. From --photos each picture is taken several times, mirrored and cropped; without, garments
are drawn. With --size they are enlarged, with --grain noise is laid over them, and vaeudf's model
takes JPEGs decoded at the size that it needs, as train_vae makes it (--jpeg-draft). Every contender
has all the cores, and a process of its own; it is warmed up on a small catalog, and does all of
what it is for: from files to posteriors in Parquet, or in vaeudf's case in a published table.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.catalogs import make_data
from benchmarks.measure import print_table, tell

SIDE = 64
BATCH = 128


def make_model(path: Path, *, jpeg_draft: bool = False) -> None:
    """Write a reference model with random weights: the speed is the same."""
    import torch

    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import save_bundle
    from vaeudf.model.conv_vae import conv_vae
    from vaeudf.model.manifest import Manifest

    torch.manual_seed(0)
    sizes = {"height": SIDE, "width": SIDE, "channels": 3, "latent_dim": 10, "base_channels": 24}
    spec = ImageSpec(SIDE, SIDE, jpeg_draft=jpeg_draft)
    save_bundle(path, conv_vae(**sizes), Manifest("conv_vae", sizes, 10, spec))


# ---- what all contenders share: the same network, the same decoding


def plain_decode(data: bytes) -> np.ndarray:
    """Decode and fit a picture as anybody would, without any of vaeudf's checks."""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = SIDE / max(image.size)
    small = image.resize(tuple(max(1, round(side * scale)) for side in image.size))
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return np.asarray(canvas)


def drafted_decode(data: bytes) -> np.ndarray:
    """The same with Pillow's thumbnail, which decodes a JPEG at twice the wanted size or more."""
    from PIL import Image

    small = Image.open(io.BytesIO(data))
    small.thumbnail((SIDE, SIDE))
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(small.convert("RGB"), ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return np.asarray(canvas)


class PlainEncoder:
    """The network as anybody would run it: eager, channels_last, one thread or the GPU."""

    def __init__(self, model: str) -> None:
        import torch

        from vaeudf.model.bundle import load_bundle

        torch.set_num_threads(1)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = load_bundle(model).encoder.network.to(self.device)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode a batch of pictures (B, H, W, C)."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255.0
            mu, log_var = self.network(batch.contiguous(memory_format=torch.channels_last))
        return mu.cpu().numpy(), log_var.cpu().numpy()


def is_files(catalog: str) -> bool:
    """Whether a catalog is the one of small files."""
    return Path(catalog).name == "files"


# ---- contenders: each takes catalog, model, output, and says how long its parts took


def bare(
    catalog: str,
    model: str,
    output: str,
    share: tuple[int, int] = (0, 1),
    decode: Callable[[bytes], np.ndarray] = plain_decode,
) -> dict[str, float]:
    """A loop in one process: read, decode, forward."""
    encoder = PlainEncoder(model)
    total = 0
    for images in _batches(catalog, share):
        encoder(np.stack([decode(data) for data in images]))
        total += len(images)
    return {"images": total}


def _batches(catalog: str, share: tuple[int, int]) -> Iterator[list[bytes]]:
    import pyarrow.parquet as pq

    mine, of = share
    if is_files(catalog):
        files = sorted(Path(catalog).rglob("*.jpg"))[mine::of]
        for start in range(0, len(files), BATCH):
            yield [file.read_bytes() for file in files[start : start + BATCH]]
    else:
        for file in sorted(Path(catalog).glob("*.parquet"))[mine::of]:
            for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=["image"]):
                yield batch.column(0).to_pylist()


def on_spark(work: Callable[[Any, str, str, str], None]) -> Callable[..., dict[str, float]]:
    """Run a contender in this process's Spark session."""

    def run(catalog: str, model: str, output: str) -> dict[str, float]:
        work(_spark(), catalog, model, output)
        return {}

    return run


def _spark() -> Any:
    from vaeudf.spark.classic_session import session_builder

    cores = len(os.sched_getaffinity(0))
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f"--master local[{cores},4] --properties-file vaeudf/spark/conf/local.conf pyspark-shell"
    )
    # Spark's own default, which vaeudf's sessions lower.
    key, value = "spark.sql.files.openCostInBytes", str(4 * 2**20)
    return session_builder("benchmark").config(key, value).getOrCreate()


def _images(spark: Any, catalog: str) -> Any:
    if is_files(catalog):
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(catalog)
        return files.selectExpr("path as item_id", "content as image")
    return spark.read.parquet(catalog)


@on_spark
def iterator_udf(spark: Any, catalog: str, model: str, output: str) -> None:
    """An iterator pandas UDF as Spark's documentation has it, over its own listing of the files."""
    from pyspark.sql.functions import pandas_udf

    @pandas_udf("mu array<float>, log_var array<float>")
    def posterior(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        encoder = PlainEncoder(model)
        for images in batches:
            mus, log_vars = [], []
            for start in range(0, len(images), BATCH):
                chunk = images.iloc[start : start + BATCH]
                mu, log_var = encoder(np.stack([plain_decode(data) for data in chunk]))
                mus += list(mu)
                log_vars += list(log_var)
            yield pd.DataFrame({"mu": mus, "log_var": log_vars})

    rows = _images(spark, catalog)
    rows.select("item_id", posterior("image").alias("q")).write.parquet(output)


@on_spark
def batch_udf(spark: Any, catalog: str, model: str, output: str) -> None:
    """pyspark.ml.functions.predict_batch_udf on decoded arrays."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.functions import pandas_udf
    from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

    @pandas_udf("array<float>")
    def pixels(images: pd.Series) -> pd.Series:
        return images.map(lambda data: plain_decode(data).astype(np.float32).ravel())

    def make() -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        encoder = PlainEncoder(model)

        def predict(inputs: np.ndarray) -> dict[str, np.ndarray]:
            mu, log_var = encoder(inputs.astype(np.uint8))
            return {"mu": mu, "log_var": log_var}

        return predict

    floats = ArrayType(FloatType())
    posterior = predict_batch_udf(
        make,
        return_type=StructType([StructField("mu", floats), StructField("log_var", floats)]),
        batch_size=BATCH,
        input_tensor_shapes=[[SIDE, SIDE, 3]],
    )
    rows = _images(spark, catalog).select("item_id", pixels("image").alias("pixels"))
    rows.select("item_id", posterior("pixels").alias("q")).write.parquet(output)


def ray_data(catalog: str, model: str, output: str) -> dict[str, float]:
    """Ray Data: decode and forward in one actor per core, as its guide to inference has it."""
    import ray

    cores = len(os.sched_getaffinity(0))
    if not ray.is_initialized():
        # A slot more than cores: else actors hold them all, and nothing can be read.
        ray.init(num_cpus=cores + 1, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False

    class Encode:
        def __init__(self) -> None:
            self.encoder = PlainEncoder(model)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            images = batch["bytes" if "bytes" in batch else "image"]
            names = batch["path" if "path" in batch else "item_id"]
            mu, log_var = self.encoder(np.stack([plain_decode(data) for data in images]))
            return {"item_id": names, "mu": mu, "log_var": log_var}

    if is_files(catalog):
        rows = ray.data.read_binary_files(catalog, include_paths=True)
    else:
        rows = ray.data.read_parquet(catalog)
    actors = ray.data.ActorPoolStrategy(size=cores)
    encoded = rows.map_batches(Encode, batch_size=BATCH, compute=actors, num_cpus=1)
    encoded.write_parquet(output)
    return {}


def vaeudf_job(catalog: str, model: str, output: str) -> dict[str, float]:
    """The job encode_catalog, whole."""
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    _spark().conf.set("spark.sql.files.openCostInBytes", "65536")
    first: list[float] = []
    start, ended = time.perf_counter(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.05) and not first:
            if any(Path(output).glob("_staging/*/encoded/chunk-*.parquet")):
                first.append(time.perf_counter() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        summary = encode_catalog(EncodeCatalog(catalog=catalog, model=model, table=output))
    finally:
        ended.set()
        watcher.join()
    return {**summary["seconds"], "first chunk": first[0] if first else float("nan")}


# Loops in one process each, of which as many run as there are cores.
LOOPS = {"bare": plain_decode, "bare, drafted": drafted_decode}
CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    **{name: partial(bare, decode=decode) for name, decode in LOOPS.items()},
    "vaeudf": vaeudf_job,
    "iterator pandas UDF": iterator_udf,
    "predict_batch_udf": batch_udf,
    "Ray Data": ray_data,
}


# ---- running them


def contend(name: str, data: Path, kind: str, share: tuple[int, int]) -> dict[str, float]:
    """Run one contender in this process: on the small catalog, then timed on the large one."""
    model = str(data / "model")
    output = data / f"out-{os.getpid()}"
    seconds: dict[str, float] = {}
    for size in ("small", "large"):
        shutil.rmtree(output, ignore_errors=True)
        catalog = str(data / size / kind)
        start = time.perf_counter()
        if name in LOOPS:
            seconds = CONTENDERS[name](catalog, model, str(output), share)
        else:
            seconds = CONTENDERS[name](catalog, model, str(output))
        seconds["total"] = time.perf_counter() - start
    shutil.rmtree(output, ignore_errors=True)
    return seconds


def run(name: str, data: Path, kind: str, share: str = "0/1") -> subprocess.Popen[str]:
    """Start a contender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.encode", "--data", str(data)]
    command += ["--contender", name, "--kind", kind, "--share", share]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    environment["PYSPARK_PYTHON"] = sys.executable
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for a contender."""
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a contender failed: {process.args}")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def measure(name: str, data: Path, kind: str, cores: int) -> dict[str, float]:
    """Return a contender's seconds, by part; ``total`` is all."""
    if name not in LOOPS:
        return answer(run(name, data, kind))
    # One loop a core, at once: what the cores can do together.
    loops = [run(name, data, kind, f"{i}/{cores}") for i in range(cores)]
    return {"total": max(found["total"] for found in map(answer, loops))}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos")
    parser.add_argument("--count", type=int, default=25_000)
    parser.add_argument("--size", help="WIDTHxHEIGHT that pictures are enlarged to")
    parser.add_argument("--grain", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS)
    parser.add_argument("--kinds", nargs="*", default=["files", "parquet"])
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--kind", default="files")
    parser.add_argument("--share", default="0/1")
    options = parser.parse_args()
    data = options.data.absolute()
    if options.contender:
        mine, of = map(int, options.share.split("/"))
        found = contend(options.contender, data, options.kind, (mine, of))
        print(json.dumps(found), flush=True)
        return
    if not data.exists():
        size = tuple(map(int, options.size.split("x"))) if options.size else None
        make_data(data, options.photos, options.count, size, options.grain)
    if not (data / "model").exists():
        make_model(data / "model", jpeg_draft=options.size is not None)
    cores = len(os.sched_getaffinity(0))
    count = sum(1 for _ in (data / "large" / "files").rglob("*.jpg"))
    for kind in options.kinds:
        report(kind, data, count, cores, options)


def report(kind: str, data: Path, count: int, cores: int, options: argparse.Namespace) -> None:
    """Measure all contenders on one kind of catalog, in turns, and print the table."""
    names = options.only or list(CONTENDERS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            found[name].append(measure(name, data, kind, cores))
            tell(f"{kind}: {name} {found[name][-1]}")
    medians = {
        name: {part: statistics.median(run[part] for run in runs) for part in runs[0]}
        for name, runs in found.items()
    }
    rates = {name: count / parts["total"] / cores for name, parts in medians.items()}
    if "vaeudf" in medians:
        rates["vaeudf, its encoding alone"] = count / medians["vaeudf"]["encode"] / cores
    rows = [
        (name, rate, *(f"{rate / rates[peer]:.2f}" for peer in LOOPS if peer in rates))
        for name, rate in rates.items()
    ]
    over = [f"over {peer}" for peer in LOOPS if peer in rates]
    print_table([f"{kind}, {count:,} images", "images/s per core", *over], rows)
    if "vaeudf" in medians:
        parts = {k: v for k, v in medians["vaeudf"].items()}
        print_table(["vaeudf", *parts], [("seconds", *parts.values())])


if __name__ == "__main__":
    main()
