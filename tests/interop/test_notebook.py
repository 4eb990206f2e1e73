"""The notebook of the docs, cell by cell, in Jupyter's own kernel at a server of Spark Connect."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.connect_server import connect_server
from tests.support.jobs import ROOT
from tests.support.scene import LATENT_DIM, make_bundle
from vaeudf.model.likelihood import GaussianPixels

pytestmark = [pytest.mark.interop]
nbformat = pytest.importorskip("nbformat", reason="needs nbclient: ./spark-submit.sh test-interop")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient: ./spark-submit.sh test-interop")
pytest.importorskip("ipykernel", reason="needs ipykernel: ./spark-submit.sh test-interop")


def test_from_a_session_to_a_page(parquet_catalog, tmp_path, monkeypatch):
    shutil.copytree(parquet_catalog, tmp_path / "demo" / "catalog")
    make_bundle(tmp_path / "demo" / "model", LATENT_DIM, 0, GaussianPixels(0.01))
    (tmp_path / "server").mkdir()
    monkeypatch.setenv("VAEUDF_DEMO", str(tmp_path / "demo"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    with connect_server(tmp_path / "server", {}, python_path=str(ROOT)) as url:
        monkeypatch.setenv("SPARK_REMOTE", url)
        notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        ).execute()
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.data for output in outputs if "data" in output]
    encoded = [data["text/html"] for data in shown if "log_var" in data.get("text/html", "")]
    assert [table.count("<tr>") for table in encoded] == [5]
    pages = [data["text/html"] for data in shown if "hits, best first" in data.get("text/html", "")]
    assert len(pages) == 2
    # Two queries, what each decodes to, and six hits.
    assert all(page.count("<img") == 2 * 7 for page in pages)
    assert sum("image/png" in data for data in shown) == 5
    page = tmp_path / "demo" / "notebook" / "page" / "index.html"
    assert shown[-1]["text/plain"] == repr(os.fspath(page))
    assert page.stat().st_size > 10_000
    assert not [output for output in outputs if output.output_type == "error"]


def test_is_kept_without_outputs():
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
