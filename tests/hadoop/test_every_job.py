"""Every job in every kind of store: it works, or ends with exit code 2 and the reason.

Then every job with all its paths in a store that Spark has a connector for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import azurite
from tests.support.connectors import let_workers_use, s3a_jars, use_store
from tests.support.every_job import (
    SMALL,
    Jobs,
    ask_and_look,
    left_out,
    make_models,
    put_inputs,
    try_demo,
)
from tests.support.object_store import make_bucket, object_store, put_folder
from tests.support.scene import tree
from vaeudf.storage.locations import exists
from vaeudf.workflows.cli import main
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.jobs import NAMES, find_job

pytestmark = pytest.mark.spark

# Spark has its connector for S3 here, and none for Azure; for Google there are no credentials.
STORES = "file S3 HDFS Azure Google"
TABLE = """
draw_catalog    works  works  works  connector  nobody
demo            works  works  works  connector  nobody
train_vae       works  works  works  works      nobody
export_model    works  works  works  works      nobody
encode_catalog  works  works  works  connector  nobody
query_topk      works  works  works  connector  nobody
cluster_catalog works  works  works  connector  nobody
inspect_table   works  works  works  connector  nobody
decode_latents  works  works  works  connector  nobody
find_copies     works  works  works  connector  nobody
export_table    works  works  works  connector  nobody
maintain_table  works  works  works  works      nobody
explore         works  works  works  works      nobody
"""
REASONS = {
    "connector": "is in a store that this Spark cannot open: it has no connector for abfss://,",
    "nobody": "cannot be opened: Google's library finds nothing that says who you are (",
}
COMMANDS = {
    "draw_catalog": "--output {root}/drawn --items 9 --size 16",
    "demo": "--output {root}/demo --items 64 --epochs 1 --latent-dim 2",
    "train_vae": "--catalog {root}/photos --output {root}/trained --epochs 1 "
    + " ".join(map(str, SMALL)),
    "export_model": "--factory tests.support.elsewhere:make --trust-model --image-size 16 "
    "--weights {root}/weights.safetensors --variance log_var --output {root}/exported",
    "encode_catalog": "--catalog {root}/photos --model {root}/model --table {root}/encoded",
    "query_topk": "--table {root}/table --z 0,0,0,0 --k 3 --output {root}/results",
    "cluster_catalog": "--table {root}/table --k 2 --restarts 1 --output {root}/clusters",
    "inspect_table": "--table {root}/table --output {root}/health --hub-queries 10 --sample 10",
    "decode_latents": "--table {root}/table --model {root}/model --z 0,0,0,0 --output {root}/p",
    "find_copies": "--table {root}/table --nats 1 --output {root}/copies",
    "export_table": "--table {root}/table --to parquet-flat --output {root}/flat",
    "maintain_table": "--table {root}/table",
    "explore": "--table {root}/table --catalog {root}/photos --model {root}/model "
    "--export {root}/page.html",
}


@pytest.fixture(scope="module")
def inputs(spark, image_folder, bundle_path, tmp_path_factory) -> Path:
    """A folder with what the jobs read beside the catalog: made once, for all stores."""
    folder = tmp_path_factory.mktemp("inputs")
    put_inputs(str(folder))
    encode_catalog(EncodeCatalog(image_folder, bundle_path, str(folder / "table")))
    return folder


@pytest.fixture
def root(request, spark, monkeypatch, tmp_path) -> Iterator[str]:
    """The URI of a folder in a store, for which the session's workers have what they need."""
    store = request.param
    with ExitStack() as running:
        if store == "file":
            yield f"file://{tmp_path}/a-shop"
        elif store == "S3":
            if not s3a_jars():
                pytest.skip("VAEUDF_TEST_JARS names no folder with the connector's jars in s3a/")
            server = running.enter_context(object_store())
            bucket = make_bucket(server, monkeypatch, "table of jobs")
            use_store(spark, server)
            let_workers_use(spark, monkeypatch)
            yield f"{bucket}/a-shop"
        elif store == "HDFS":
            yield request.getfixturevalue("folder")
        elif store == "Azure":
            server = running.enter_context(azurite.azurite())
            container = azurite.make_container(server, monkeypatch, "table of jobs")
            let_workers_use(spark, monkeypatch, azurite.ENVIRONMENT)
            yield f"{container}/a-shop"
        else:
            monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
            monkeypatch.setenv("HOME", str(tmp_path))
            yield "gs://shop-of-nobody/a-shop"


@pytest.mark.parametrize(
    "root",
    [
        pytest.param("file", marks=pytest.mark.slow),
        pytest.param("S3", marks=pytest.mark.hadoop),
        pytest.param("HDFS", marks=pytest.mark.hadoop),
        pytest.param("Azure", marks=pytest.mark.azure),
        pytest.param("Google", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_every_job_and_store(root, request, inputs, image_folder, bundle_path, capsys):
    column = STORES.split().index(request.node.callspec.id) + 1
    table = {row.split()[0]: row.split()[column] for row in TABLE.strip().splitlines()}
    assert set(table) == set(COMMANDS) == set(NAMES)
    if set(table.values()) != {"nobody"}:
        put_folder(inputs, root)
        put_folder(image_folder, f"{root}/photos")
        put_folder(bundle_path, f"{root}/model")
    found = {job: outcome(job, root, capsys) for job in table}
    assert found == table


def outcome(job: str, root: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return whether a job works; else the reason, or what it has said besides."""
    code = None
    try:
        main(*find_job(job), COMMANDS[job].format(root=root).split())
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    if code is None:
        assert json.loads(out.splitlines()[-1])
        return "works"
    message = err.strip().splitlines()[-1]
    assert out == "" and code == 2, (job, message)
    (reason,) = [name for name, words in REASONS.items() if words in message] or [message]
    if reason != "nobody":
        words = COMMANDS[job].format(root=root).split()
        written = words[words.index("--table" if job == "encode_catalog" else "--output") + 1]
        assert not exists(written), written
    return reason


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """Let the jobs run where nothing else is, and see that they leave nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert tree(here) == {}


def run_all(root: str) -> None:
    jobs = Jobs()
    put_inputs(root)
    make_models(jobs, root)
    ask_and_look(jobs, root)
    try_demo(jobs, root)
    assert left_out(jobs) == []


@pytest.mark.hadoop
def test_on_s3(spark, monkeypatch):
    if not s3a_jars():
        pytest.skip("VAEUDF_TEST_JARS names no folder with the jars of Spark's connector in s3a/")
    with object_store() as server:
        bucket = make_bucket(server, monkeypatch, "every job")
        use_store(spark, server)
        let_workers_use(spark, monkeypatch)
        run_all(f"{bucket}/a shop é")


@pytest.mark.hadoop
def test_on_hdfs(spark, folder):
    run_all(folder)
