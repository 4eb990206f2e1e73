"""Every job once, with all its paths in one place: on this machine, or in a store."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from pyarrow import fs

from tests.support import elsewhere, onnx_models
from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.workflows.cli import flag_of, parse, path_options
from vaeudf.workflows.jobs import NAMES, find_job

N = 2
SMALL = ("--image-size", 16, "--latent-dim", N, "--batch-size", 8, "--base-channels", 4)


def places(job: str) -> set[str]:
    """Return the options of a job that name a place, in a store too."""
    return {name for name, local in path_options(find_job(job)[0]).items() if not local}


def put(uri: str, content: bytes) -> None:
    files, inner = filesystem(uri)
    make_folder(files, inner.rsplit("/", 1)[0])
    with files.open_output_stream(inner) as stream:
        stream.write(content)


class Jobs:
    """Runs jobs, and knows which of their options were given."""

    def __init__(self) -> None:
        self.given: dict[str, set[str]] = {}

    def run(self, job: str, *argv: object) -> dict:
        words = list(map(str, argv))
        options, function = find_job(job)
        given = self.given.setdefault(job, set())
        given |= {word.removeprefix("--").replace("-", "_") for word in words if word[:2] == "--"}
        return function(parse(options, words))


def put_inputs(root: str) -> None:
    """Write what the jobs read beside a catalog: queries, weights, files of ONNX, a config."""
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(5).normal(size=(3, N)))
    put(f"{root}/z.npy", stream.getvalue())
    torch.manual_seed(4)
    theirs = elsewhere.make("Pair").eval()
    put(f"{root}/weights.safetensors", safetensors.torch.save(theirs.state_dict()))
    with _folder() as folder:
        encoder = elsewhere.Encoder().eval()
        for name, model in {
            "e.onnx": onnx_models.encoder_of(encoder, batch=8, layout="hwc"),
            "d.onnx": onnx_models.decoder_of(encoder, layout="hwc"),
        }.items():
            onnx_models.saved(model, str(folder / name))
            put(f"{root}/{name}", (folder / name).read_bytes())
    put(f"{root}/gate.txt", b"items > 1000\n")
    put(f"{root}/encode.yaml", f"catalog: '{root}/photos'\nkeep_pixels: true\n".encode())


def _copy(source: str, target: str) -> None:
    files, inner = filesystem(source)
    for info in files.get_file_info(fs.FileSelector(inner, recursive=True)):
        if info.is_file:
            with files.open_input_stream(info.path) as stream:
                put(f"{target}{info.path[len(inner) :]}", stream.read())


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def make_models(jobs: Jobs, root: str) -> None:
    """Draw a catalog, train a model and export two: what needs no connector of Spark's."""
    photos = f"{root}/photos"
    jobs.run(
        *("draw_catalog", "--output", photos, "--items", 60, "--size", 16, "--format", "png"),
    )
    jobs.run(
        *("train_vae", "--catalog", photos, "--output", f"{root}/model", *SMALL),
        *("--epochs", 2, "--checkpoints", f"{root}/kept"),
    )
    jobs.run(
        *("export_model", "--factory", "tests.support.elsewhere:make", "--trust-model"),
        *("--weights", f"{root}/weights.safetensors", "--image-size", 16, "--sample", 8),
        *("--catalog", photos, "--output", f"{root}/exported", "--variance", "log_var"),
    )
    jobs.run(
        *("export_model", "--onnx", f"{root}/e.onnx", "--onnx-decoder", f"{root}/d.onnx"),
        *("--image-size", 16, "--output", f"{root}/from onnx", "--variance", "log_var"),
    )


def ask_and_look(jobs: Jobs, root: str) -> None:
    """Encode, ask, look and look after: all that is done with a model and a catalog."""
    photos, model, table = f"{root}/photos", f"{root}/model", f"{root}/posteriors"
    jobs.run(
        *("encode_catalog", "--config", f"{root}/encode.yaml", "--model", model, "--table", table),
        *("--catalog", photos, "--gate", f"{root}/gate.txt"),
    )
    named = ("--table", table, "--catalog", photos, "--model", model)
    page = ("--output", f"{root}/results", "--report", f"{root}/page")
    jobs.run("query_topk", *named, *page, "--queries", f"{root}/z.npy", "--k", 3)
    files, inner = filesystem(photos)
    (first, *_) = (
        info.path
        for info in files.get_file_info(fs.FileSelector(inner, recursive=True))
        if info.extension == "png"
    )
    jobs.run("query_topk", "--table", table, "--image", f"{photos}{first[len(inner) :]}", "--k", 3)
    jobs.run(
        *("cluster_catalog", *named, "--k", 2, "--restarts", 1),
        *("--output", f"{root}/clusters", "--report", f"{root}/clusters-page"),
    )
    for number, options in enumerate((("--assign-to",), ("--k", 3, "--restarts", 1, "--match"))):
        jobs.run(
            *("cluster_catalog", "--table", table, *options, f"{root}/clusters"),
            *("--output", f"{root}/clusters after these {number}"),
        )
    jobs.run(
        *("find_copies", "--table", table, "--catalog", photos, "--nats", 1, "--pairs"),
        *("--output", f"{root}/copies", "--report", f"{root}/copies-page"),
    )
    older = f"{root}/older"
    _copy(table, older)
    jobs.run(
        *("inspect_table", *named, "--output", f"{root}/health", "--compare", older),
        *("--pictures", 50, "--hub-queries", 10, "--sample", 10),
    )
    jobs.run(
        *("decode_latents", *named, "--reconstruct", 3, "--output", f"{root}/reconstructions"),
    )
    jobs.run(
        *("decode_latents", "--model", model, "--queries", f"{root}/z.npy"),
        *("--output", f"{root}/pictures", "--report", f"{root}/pictures-page"),
    )
    jobs.run(
        *("export_table", "--table", table, "--to", "parquet-flat", "--output", f"{root}/flat"),
    )
    jobs.run("maintain_table", "--table", table)
    jobs.run("explore", *named, "--export", f"{root}/page.html")


def try_demo(jobs: Jobs, root: str) -> None:
    jobs.run("demo", "--output", f"{root}/demo", "--items", 64, "--epochs", 1, "--latent-dim", N)


def left_out(jobs: Jobs) -> list[str]:
    """Return the options with a place that no job was given, as JOB --FLAG."""
    return [
        f"{job} {flag_of(name)}"
        for job in NAMES
        for name in sorted(places(job) - jobs.given.get(job, set()))
    ]
