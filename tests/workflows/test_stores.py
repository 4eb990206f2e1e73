"""Every job with each of its paths on this machine and in a store: it works, or says why not.

Spark here has no connector for S3, as it comes: what goes by pyarrow and delta-rs works, and of the
rest the jobs say so before they do anything. With the connector: tests/hadoop.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest
from pyarrow import fs

from tests.support.connectors import let_workers_use
from tests.support.every_job import (
    SMALL,
    Jobs,
    ask_and_look,
    left_out,
    make_models,
    put,
    put_inputs,
)
from tests.support.object_store import make_bucket, object_store
from tests.support.scene import tree
from vaeudf.model.bundle import load_bundle
from vaeudf.storage.locations import exists, filesystem
from vaeudf.training.checkpoints import Checkpoints
from vaeudf.workflows import train_vae as workflow
from vaeudf.workflows.cli import main
from vaeudf.workflows.jobs import find_job

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch, request, tmp_path) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bucket(server, monkeypatch, request.node.name)


@pytest.mark.slow
def test_every_job_on_this_machine(spark, tmp_path):
    root, jobs = f"file://{tmp_path}/a shop é", Jobs()
    put_inputs(root)
    make_models(jobs, root)
    ask_and_look(jobs, root)
    assert left_out(jobs) == ["demo --output"], "that is another test's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a shop é"]


@pytest.mark.slow
def test_models_in_a_store(spark, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    let_workers_use(spark, monkeypatch)
    root, jobs = f"{bucket}/a shop é", Jobs()
    put_inputs(root)
    make_models(jobs, root)
    for name in ("model", "exported", "from onnx"):
        assert load_bundle(f"{root}/{name}", trust_model=True).latent_dim >= 2
    assert not exists(f"{root}/kept/checkpoint.pt") and not exists(f"{root}/model.training")
    assert [name for name in tree(tmp_path) if not name.startswith("cache/")] == []


@pytest.mark.slow
def test_a_training_that_a_store_interrupts(
    spark, bucket, parquet_catalog, tmp_path, monkeypatch, capsys
):
    """It is killed, then its model is refused: what was trained is used again, and then gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    output = f"{bucket}/models/m"
    argv = ["--catalog", parquet_catalog, "--output", output, "--epochs", "2", *map(str, SMALL)]
    original = workflow.train

    def dies(*arguments, checkpoints, **others):
        def write(data):
            checkpoints.write(data)
            raise KeyboardInterrupt

        return original(*arguments, checkpoints=Checkpoints(checkpoints.read, write), **others)

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "train", dies)
        with pytest.raises(SystemExit) as caught:
            main(*find_job("train_vae"), argv)
    assert caught.value.code == 130
    assert exists(f"{output}.training/checkpoint.pt") and not exists(output)

    def refuses(*paths):
        raise OSError("AWS Error SLOW_DOWN during PutObject operation: slow down")

    with monkeypatch.context() as patched:
        patched.setattr("vaeudf.storage.uploads._upload", refuses)
        with pytest.raises(SystemExit) as caught:
            main(*find_job("train_vae"), argv)
    message = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 1 and message.startswith(f"error: {output} cannot be written (AWS")
    kept = re.search(rf"hold is in (\S+) on {re.escape(socket.gethostname())}\. Use", message)[1]
    assert not exists(output)

    main(*find_job("train_vae"), argv)
    summary = json.loads(capsys.readouterr().out)
    assert summary["resumed_epochs"] == summary["epochs"] == 2
    assert load_bundle(output).model_id == load_bundle(kept).model_id == summary["model_id"]
    assert not exists(f"{output}.training")


# ---- what is refused, before any work

NO_CONNECTOR = (
    "is in a store that this Spark cannot open: it has no connector for s3a://, which this job "
    "needs. docs/clusters.md says which packages to add, with spark.jars.packages or --packages."
)
Z = ("--z", "0,0,0,0")
REFUSED = {
    "draw_catalog": [(("--output", "{s3}/x", "--items", 9), f"{{s3}}/x {NO_CONNECTOR}")],
    "demo": [(("--output", "{s3}/x"), f"{{s3}}/x {NO_CONNECTOR}")],
    "train_vae": [
        (("--catalog", "{photos}", "--output", "{gone}/x"), "{gone}/x cannot be written ("),
        (
            ("--catalog", "{photos}", "--output", "{here}/x", "--checkpoints", "{gone}/x"),
            "{gone}/x/checkpoint.pt cannot be written (",
        ),
        (("--catalog", "{s3}/x", "--output", "{here}/x"), "catalog {s3}/x does not exist"),
        (
            ("--catalog", "{s3}/*.png", "--output", "{here}/x"),
            f"{{s3}}/*.png {NO_CONNECTOR}",
        ),
        (("--config", "{s3}/x.yaml"), "--config: {s3}/x.yaml does not exist; expected a file."),
        (("--catalog", "{photos}", "--output", "{s3}"), "{s3} is a whole store; name a folder"),
    ],
    "export_model": [
        (
            ("--factory", "m:M", "--py-files", "{s3}/m.py", "--output", "{here}/x"),
            "--py-files names {s3}/m.py, in a store; expected a path on this machine, for Python "
            "imports code from there.",
        ),
        (
            ("--factory", "{s3}/m.py:M", "--output", "{here}/x"),
            "--factory names {s3}/m.py, in a store; expected a path on this machine",
        ),
        (
            ("--onnx", "{s3}/x.onnx", "--output", "{here}/x"),
            "{s3}/x.onnx does not exist; expected a file.",
        ),
        (
            ("--onnx", "{s3}/no.onnx", "--output", "{here}/x"),
            "{s3}/no.onnx is not an ONNX file, or is damaged.",
        ),
        (
            (
                *("--factory", "tests.support.elsewhere:make", "--weights", "{s3}/no.onnx"),
                *("--output", "{here}/x"),
            ),
            "{s3}/no.onnx ",
        ),
        (
            ("--factory", "tests.support.elsewhere:make", "--output", "{gone}/x"),
            "{gone}/x cannot be written (",
        ),
    ],
    "encode_catalog": [
        (
            ("--catalog", "{photos}", "--model", "{model}", "--table", "{s3}/x"),
            f"{{s3}}/x {NO_CONNECTOR}",
        ),
        (
            ("--catalog", "{photos}", "--model", "{s3}/x", "--table", "{here}/x"),
            "{s3}/x has no readable bundle.json (there is no such file); a bundle holds",
        ),
        (
            ("--catalog", "{photos}", "--model", "{gone}/x", "--table", "{here}/x"),
            "{gone}/x has no readable bundle.json (there is no such file)",
        ),
    ],
    "query_topk": [
        (("--table", "{table}", *Z, "--output", "{s3}/x"), f"{{s3}}/x {NO_CONNECTOR}"),
        (("--table", "{table}", *Z, "--output", "{gone}/x"), "{gone}/x cannot be written ("),
        (("--table", "{table}", *Z, "--report", "{gone}/x"), "{gone}/x cannot be written ("),
        (
            ("--table", "{table}", *Z, "--report", "{here}/x", "--model", "{s3}/x"),
            "{s3}/x has no readable bundle.json (there is no such file)",
        ),
        (
            ("--table", "{table}", *Z, "--report", "{here}/x", "--catalog", "{s3}/x"),
            "catalog {s3}/x does not exist",
        ),
        (("--table", "{s3}/x", *Z), "table {s3}/x does not exist"),
        (("--table", "{table}", "--queries", "{s3}/x"), "queries {s3}/x do not exist"),
        (("--table", "{table}", "--image", "{s3}/x.jpg"), "image {s3}/x.jpg does not exist"),
        (
            ("--table", "{table}", "--image", "{s3}/*.jpg"),
            "image {s3}/*.jpg is a glob in a store; expected a file or a folder of it, or a glob "
            "of local files.",
        ),
    ],
    "cluster_catalog": [
        (("--table", "{table}", "--k", 2, "--output", "{s3}/x"), f"{{s3}}/x {NO_CONNECTOR}"),
    ],
    "export_table": [
        (
            ("--table", "{table}", "--to", "parquet-flat", "--output", "{s3}/x"),
            f"{{s3}}/x {NO_CONNECTOR}",
        ),
        (("--table", "{table}", "--to", "pgvector", "--output", "{s3}"), "{s3} is a whole store;"),
    ],
    "find_copies": [
        (("--table", "{table}", "--output", "{s3}/x"), f"{{s3}}/x {NO_CONNECTOR}"),
    ],
    "inspect_table": [
        (("--table", "{table}", "--output", "{gone}/x"), "{gone}/x cannot be written ("),
        (
            ("--table", "{table}", "--output", "{here}/x", "--compare", "{s3}/x"),
            "table {s3}/x does not exist",
        ),
    ],
    "decode_latents": [
        (("--table", "{table}", *Z, "--output", "{s3}/x"), f"{{s3}}/x {NO_CONNECTOR}"),
        (
            ("--model", "{s3}/x", *Z, "--report", "{here}/x"),
            "{s3}/x has no readable bundle.json (there is no such file)",
        ),
    ],
    "maintain_table": [(("--table", "{s3}/x"), "table {s3}/x does not exist")],
    "explore": [
        (
            ("--table", "{table}", "--cache", "{s3}/x"),
            "cache is {s3}/x, in a store; expected a folder on this machine, for its files are "
            "mapped into memory.",
        ),
        (
            ("--table", "{table}", "--model", "{s3}/x", "--export", "{here}/x.html"),
            "model {s3}/x is not there any more; name it with --model.",
        ),
        (("--table", "{table}", "--export", "{gone}/x.html"), "{gone}/x.html cannot be written ("),
    ],
}


@pytest.mark.parametrize("job", REFUSED)
@pytest.mark.classic
def test_what_a_job_says(
    spark, bucket, job, catalog_table, image_folder, bundle_path, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    put(f"{bucket}/no.onnx", b"text")
    places = {
        **{"s3": bucket, "gone": f"{bucket}-of-nobody", "here": str(tmp_path)},
        **{"table": catalog_table, "photos": image_folder, "model": bundle_path},
    }
    trusted = ("--trust-model", "--image-size", "16", "--variance", "log_var")
    tracker = spark.sparkContext.statusTracker()
    begun = set(tracker.getJobIdsForGroup())
    for argv, expected in REFUSED[job]:
        words = [str(word).format(**places) for word in argv]
        words += trusted if job == "export_model" else ()
        with pytest.raises(SystemExit) as caught:
            main(*find_job(job), words)
        out, err = capsys.readouterr()
        message = err.strip().splitlines()[-1]
        assert caught.value.code == 2 and out == "", (words, message)
        assert message.startswith(f"error: {expected.format(**places)}"), (words, message)
        files, inner = filesystem(bucket)
        left = files.get_file_info(fs.FileSelector(inner, recursive=True))
        assert [info.path for info in left if info.is_file] == [f"{inner}/no.onnx"]
    assert tree(tmp_path) == {}, "nothing was written"
    assert set(tracker.getJobIdsForGroup()) == begun, "no task was run"
