"""A client of Spark Connect and a server of different Unix users, who share one folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from tests.support.connect_server import connect_server
from tests.support.jobs import ROOT
from tests.support.scene import LATENT_DIM
from tests.support.users import GROUP, as_user
from vaeudf.search.once import nearest

CLIENT, SERVER = "daemon", "nobody"
_JOBS = """
import json, sys
from vaeudf.errors import InputError
from vaeudf.workflows.cli import parse
from vaeudf.workflows.jobs import find_job

for line in sys.stdin:
    name, *words = json.loads(line)
    options, job = find_job(name)
    try:
        found = job(parse(options, words))
    except InputError as error:
        found = str(error)
    sys.stdout.write(json.dumps(found) + "\\n")
"""


def owned_folder(path: Path, user: str) -> Path:
    """Make a folder that no other user looks into, with a copy of the package, as installed."""
    # What is compiled goes with it: numba knows it by the times of the files.
    shutil.copytree(ROOT / "vaeudf", path / "code" / "vaeudf")
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            shutil.chown(os.path.join(folder, name), user)
    path.chmod(0o700)
    return path


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path, Path]]:
    """The client's, the server's, and the one that both have at the same place."""
    # Not pytest's own, which nobody but root looks into.
    place = Path(tempfile.mkdtemp(prefix="users-"))
    place.chmod(0o755)
    shared = place / "shared"
    shared.mkdir()
    shutil.chown(shared, group=GROUP)
    shared.chmod(0o2775)
    yield owned_folder(place / "client", CLIENT), owned_folder(place / "server", SERVER), shared
    shutil.rmtree(place)


@pytest.mark.slow
def test_a_server_of_another_user(folders, bundle_path, image_folder):
    client, server, shared = folders
    as_client, as_server = as_user(CLIENT), as_user(SERVER)
    z = np.random.default_rng(3).normal(size=(5, LATENT_DIM))
    np.save(client / "z.npy", z)
    shutil.copytree(bundle_path, client / "model")
    shutil.copytree(image_folder, client / "photos")
    shutil.copytree(image_folder, shared / "photos")
    for prefix, theirs in ((as_client, server), (as_server, client)):
        seen = subprocess.run([*prefix, "ls", str(theirs)], capture_output=True, text=True)
        assert "Permission denied" in seen.stderr
    table, hits = str(shared / "posteriors"), str(shared / "hits")
    encode = ("encode_catalog", "--model", str(client / "model"), "--table", table, "--catalog")
    named = ("--table", table, "--model", str(client / "model"), "--catalog")
    query = ("query_topk", "--queries", str(client / "z.npy"), "--k", "3", "--output", hits)
    cluster = ("cluster_catalog", "--k", "2", "--restarts", "1", "--output", str(shared / "sets"))
    photos = str(shared / "photos")
    jobs = (
        (*encode, str(client / "photos")),
        (*encode, photos),
        (*query, *named, photos, "--report", str(client / "page")),
        (*cluster, *named, photos, "--report", str(client / "clusters-page")),
    )
    settings = {"spark.sql.shuffle.partitions": "3", "spark.log.level": "OFF"}
    code = {"server": str(server / "code"), "client": str(client / "code")}
    with connect_server(
        server, settings, python_path=code["server"], prefix=as_server, home=server
    ) as url:
        done = subprocess.run(
            [*as_client, sys.executable, "-c", _JOBS],
            input="".join(f"{json.dumps(job)}\n" for job in jobs),
            capture_output=True,
            text=True,
            cwd=client,
            env={
                **os.environ,
                "HOME": str(client),
                "PYTHONPATH": code["client"],
                "SPARK_REMOTE": url,
            },
        )
    assert done.returncode == 0, done.stderr[-4000:]
    refused, encoded, asked, clustered = map(json.loads, done.stdout.splitlines())
    assert str(client / "photos") in refused and "do not see the same there" in refused
    assert (encoded["encoded"], asked["queries"]) == (40, 5)
    assert clustered["k"] == 2
    items = DeltaTable(table).to_pyarrow_dataset().to_table().to_pydict()
    mu, log_var = np.array(items["mu"]), np.array(items["log_var"])
    order, values = nearest(z, mu, log_var, 3)
    found = sorted(
        ds.dataset(hits).to_table().to_pylist(), key=lambda hit: (hit["query_id"], hit["rank"])
    )
    assert [hit["item_id"] for hit in found] == [items["item_id"][row] for row in order.ravel()]
    assert [hit["log_likelihood"] for hit in found] == values.ravel().tolist()
    assert (client / "page" / "index.html").exists()
    assert (client / "clusters-page" / "index.html").exists()
