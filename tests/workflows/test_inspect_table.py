from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.support.tables import moved
from tests.support.tolerances import near_float64
from vaeudf.errors import InputError, TableError
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import main
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark

FEW = {"hub_queries": 12, "sample": 15, "taus": "0.5,0"}


@pytest.fixture(scope="module")
def catalog(garments, tmp_path_factory) -> str:
    """The garments, one picture under two ids, and one that is broken."""
    folder = tmp_path_factory.mktemp("catalog") / "new"
    folder.mkdir()
    rows = garments.to_pylist()
    rows.append(rows[0] | {"item_id": "<b>again</b>"})
    rows.append(rows[1] | {"item_id": "broken", "image": b"no picture at all"})
    pq.write_table(pa.Table.from_pylist(rows, garments.schema), folder / "a.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def table(spark, garments, catalog, bundle_path, tmp_path_factory) -> str:
    """Two versions: version 1 lacks some items, and has other pictures of some."""
    root = tmp_path_factory.mktemp("tables")
    path, first = str(root / "posteriors"), root / "first"
    first.mkdir()
    rows = garments.to_pylist()[:-5]
    rows[3]["image"], rows[4]["image"] = rows[4]["image"], rows[3]["image"]
    rows.append(rows[0] | {"item_id": "gone"})
    pq.write_table(pa.Table.from_pylist(rows, garments.schema), first / "a.parquet")
    encode_catalog(EncodeCatalog(str(first), bundle_path, path))
    encode_catalog(EncodeCatalog(catalog, bundle_path, path, max_error_fraction=0.1))
    return path


def health_of(folder: str) -> dict:
    return json.loads(Path(folder, "health.json").read_text())


def test_a_table(table, tmp_path):
    output = str(tmp_path / "health")
    summary = inspect_table(InspectTable(table, output, **FEW))
    found = health_of(output)
    rows = pa.concat_tables(map(pq.read_table, open_table(table).files))
    mu = np.stack(rows["mu"].to_numpy()).astype(np.float64)
    assert (summary["items"], summary["latent_dim"]) == (NUM_ITEMS + 1, LATENT_DIM)
    assert found["items"] == NUM_ITEMS + 1 and found["version"] == open_table(table).version
    assert found["model_id"] == open_table(table).model_id
    for i, one in enumerate(found["dimensions"]):
        added = (mu[:, i] ** 2).mean()
        variance = near_float64(mu[:, i].var(), terms=2 * len(mu), magnitude=added)
        assert one["mu_variance"] == variance
        assert one["active"] == (mu[:, i].var() > 0.01)
    assert summary["active"] == len(found["active"])
    assert [one["tau"] for one in found["hubs"]["taus"]] == [0.0, 0.5]
    (copies,) = found["duplicates"]["largest"]
    names = rows["item_id"].to_pylist()
    assert copies["items"] == 2 and "<b>again</b>" in copies["item_ids"]
    assert summary["copies"] == 2
    assert found["duplicates"]["sample"] == 15
    assert len(found["outliers"]) == 24
    assert {one["item_id"] for one in found["outliers"]} <= set(names)
    (reason,) = found["quarantine"]["reasons"]
    assert (reason["items"], reason["examples"][0]["item_id"]) == (1, "broken")
    assert found["quarantine"]["of_version"] and summary["quarantined"] == 1
    assert found["comparison"] is None and "added" not in summary
    page = Path(summary["report"]).read_text()
    assert "&lt;b&gt;again" in page and "<b>again" not in page
    assert "no picture in the catalog" not in page and "data:image/" in page
    assert sorted(p.name for p in Path(output).iterdir()) == [
        "_vaeudf_health",
        "health.json",
        "index.html",
    ]


@pytest.mark.slow
def test_plain_parquet_without_pictures(table, catalog, tmp_path):
    plain = str(tmp_path / "plain.parquet")
    pq.write_table(pa.concat_tables(map(pq.read_table, open_table(table).files)), plain)
    output = str(tmp_path / "health")
    summary = inspect_table(InspectTable(plain, output, **FEW))
    assert (summary["version"], summary["quarantined"]) == (None, None)
    assert "Name it with --catalog" in Path(summary["report"]).read_text()
    own, ours = str(tmp_path / "own"), health_of(output)
    inspect_table(InspectTable(table, own, page=False, **FEW))
    assert not Path(own, "index.html").exists()
    theirs = health_of(own)
    for key in ("items", "active", "rate_quantiles", "duplicates", "hubs"):
        assert ours[key] == theirs[key], key
    with_pictures = inspect_table(
        InspectTable(plain, output, catalog=catalog, overwrite=True, **FEW)
    )
    assert "Name it with --catalog" not in Path(with_pictures["report"]).read_text()
    refused("does not exist", InputError, table=plain, output=own + "2", catalog=f"{tmp_path}/none")
    refused(
        "plain Parquet, which has no versions", TableError, table=plain, output=own, compare="1"
    )


@pytest.mark.slow
def test_an_older_version(table, garments, tmp_path):
    first = open_table(table).version - 1
    output = str(tmp_path / "health")
    found = inspect_table(InspectTable(table, output, version=first, page=False, **FEW))
    assert (found["items"], found["quarantined"]) == (NUM_ITEMS - 5 + 1, 0)
    assert health_of(output)["quarantine"] == {"items": 0, "of_version": True, "reasons": []}


@pytest.mark.slow
def test_compared_with_the_version_before(table, garments, tmp_path):
    output = str(tmp_path / "health")
    first = open_table(table).version - 1
    summary = inspect_table(InspectTable(table, output, compare=str(first), **FEW))
    assert (summary["added"], summary["removed"], summary["changed"]) == (6, 1, 2)
    found = health_of(output)["comparison"]
    assert found["common"] == NUM_ITEMS - 5
    moved = {one["item_id"] for one in found["moved_most"]}
    assert moved == {garments["item_id"][i].as_py() for i in (3, 4)}
    assert [one["kind"] for one in found["churn"]] == ["prior", "posteriors"]
    page = Path(summary["report"]).read_text()
    assert f"Compared with version {first}" in page and "Moved most" in page
    copy = str(tmp_path / "copy")
    shutil.copytree(table, copy)
    same = inspect_table(
        InspectTable(table, output, compare=copy, page=False, overwrite=True, **FEW)
    )
    assert (same["added"], same["removed"], same["changed"]) == (0, 0, 0)
    assert same["overlap"] == {"prior": 1.0, "posteriors": 1.0}


@pytest.mark.slow
def test_compared_with_another_model(table, catalog, tmp_path):
    make_bundle(tmp_path / "other", 3, seed=1)
    other = str(tmp_path / "table")
    encode_catalog(EncodeCatalog(catalog, str(tmp_path / "other"), other, max_error_fraction=0.1))
    ours, theirs = open_table(table), open_table(other)
    output = str(tmp_path / "health")
    refused(
        f"{table} version {ours.version} is of model {ours.model_id[:12]}… with latent_dim 4, but "
        f"{other} version {theirs.version}, to compare with, is of model {theirs.model_id[:12]}… "
        "with latent_dim 3: their posteriors mean different things. Compare versions of one "
        "model, or leave out what is then meaningless with --cross-model.",
        table=table,
        output=output,
        compare=other,
    )
    summary = inspect_table(InspectTable(table, output, compare=other, cross_model=True, **FEW))
    assert (summary["added"], summary["removed"], summary["common"]) == (0, 0, NUM_ITEMS + 1)
    assert "changed" not in summary and "overlap" not in summary
    old = health_of(output)["comparison"]["old"]
    assert (old["items"], old["latent_dim"]) == (NUM_ITEMS + 1, 3)
    assert "The two are of different models" in Path(summary["report"]).read_text()


@pytest.mark.slow
def test_a_quarantine_that_nobody_knows_of(spark, tmp_path, population):
    output = str(tmp_path / "health")
    summary = inspect_table(InspectTable(population.table, output, **FEW))
    assert summary["quarantined"] is None and health_of(output)["quarantine"] is None
    assert "every item of the catalog was encoded" not in Path(summary["report"]).read_text()


@pytest.mark.slow
def test_pictures_that_are_gone(spark, catalog_table, tmp_path, caplog):
    encoded = moved(catalog_table, str(tmp_path / "table"), catalog=str(tmp_path / "catalog"))
    summary = inspect_table(InspectTable(encoded, str(tmp_path / "health"), **FEW))
    assert "The page has no pictures: " in caplog.text and Path(summary["report"]).exists()


@pytest.mark.slow
def test_the_last_quarantine_where_a_version_does_not_say(spark, table, tmp_path, population):
    mine = str(tmp_path / "table")
    shutil.copytree(population.table, mine)
    for run_id in ("20260101T000000-00000001", "20260202T000000-00000002"):
        folder = Path(mine, "_quarantine", f"run_id={run_id}")
        folder.mkdir(parents=True)
        rows = {"item_id": [run_id], "source_version": ["v"], "reason": ["r"], "message": [None]}
        pq.write_table(pa.table(rows), folder / "a.parquet")
    output = str(tmp_path / "health")
    inspect_table(InspectTable(mine, output, page=False, **FEW))
    found = health_of(output)["quarantine"]
    assert not found["of_version"]
    assert found["reasons"][0]["examples"] == [
        {"item_id": "20260202T000000-00000002", "message": ""}
    ]


def refused(message: str, kind: type[Exception] = InputError, **options) -> None:
    with pytest.raises(kind) as caught:
        inspect_table(InspectTable(**{"hub_queries": 5, "sample": 5, **options}))
    assert message in str(caught.value)


@pytest.mark.slow
def test_limits(population, tmp_path, capsys):
    output = tmp_path / "health"
    arguments = ["--table", population.table, "--output", str(output), "--no-page"]
    arguments += ["--hub-queries", "20", "--sample", "15", "--taus", "0"]

    def run(*conditions: str) -> tuple[int, str]:
        more = [word for condition in conditions for word in ("--fail-on", condition)]
        with pytest.raises(SystemExit) as ended:
            main(InspectTable, inspect_table, arguments + more)
        captured = capsys.readouterr()
        assert captured.out == ""
        return ended.value.code, captured.err

    code, message = run("items > 0", "comparison.added > 3")
    assert code == 2 and not output.exists()
    assert "error: fail-on names comparison.added, which is no number of this health" in message
    code, message = run("items > 0", "items < 1", "latent_dim >= 2")
    assert code == 5 and health_of(str(output))["items"] > 0
    *_, first, second, last = message.splitlines()
    assert re.fullmatch(r"error: items is \d+ \(--fail-on 'items > 0'\)\.", first)
    assert re.fullmatch(r"latent_dim is \d+ \(--fail-on 'latent_dim >= 2'\)\.", second)
    assert last == f"What was found is in {output}."


def test_tables_without_items(table, tmp_path, monkeypatch):
    """No job of ours writes one; others do."""
    full = open_table(table)
    nothing = dataclasses.replace(full.snapshot, num_rows=0)
    opened = {"empty": dataclasses.replace(full, uri="empty", snapshot=nothing), table: full}
    opener = "vaeudf.workflows.inspect_table.open_posteriors"
    monkeypatch.setattr(opener, lambda uri, version=None: opened[uri])
    out = str(tmp_path / "out")
    message = "empty has no items; there is nothing to inspect."
    refused(message, TableError, table="empty", output=out)
    message = "empty has no items; there is nothing to compare with."
    refused(message, TableError, table=table, output=out, compare="empty", cross_model=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(table, tmp_path, bundle_path):
    before = tree(table)
    out = str(tmp_path / "out")
    latest = open_table(table).version
    missing = f"has no version 99 that can be read; the latest is {latest}, and old ones go when"
    refused(missing, TableError, table=table, output=out, version=99)
    refused(missing, TableError, table=table, output=out, compare="99")
    for huge in (10**10, 2**64):
        refused("; the latest is", TableError, table=table, output=out, version=huge)
    for same in (table, str(latest)):
        refused("which is what is inspected; name another", table=table, output=out, compare=same)
    refused("none does not exist", TableError, table=f"{tmp_path}/none", output=out)
    refused("none does not exist", TableError, table=table, output=out, compare=f"{tmp_path}/none")
    refused(
        "holds neither a Delta table nor Parquet; exp", TableError, table=bundle_path, output=out
    )
    for path in (table, f"{table}/inside", str(Path(table).parent)):
        refused("are one, or one is inside the other", table=table, output=path, overwrite=True)
    refused("version is -1; expected 0 or more.", table=table, output=out, version=-1)
    refused("hub-queries is 0; expected 1 to 10,000.", table=table, output=out, hub_queries=0)
    refused("sample is 10001; expected 1 to", table=table, output=out, sample=10_001)
    refused("seed is -1; expected 0 or more.", table=table, output=out, seed=-1)
    refused("cross-model goes with --compare; name", table=table, output=out, cross_model=True)
    refused("catalog goes with --page; name", table=table, output=out, page=False, catalog="c")
    refused(
        "taus are '0,x'; expected numbers with commas between, such as 0,0.1,0.5.",
        table=table,
        output=out,
        taus="0,x",
    )
    refused("tolerance is -1.0; expected a finite number", table=table, output=out, taus="-1")
    refused("--catalog", table=table, output=out, catalog=f"{tmp_path}/none")
    assert list(tmp_path.iterdir()) == [] and tree(table) == before


def test_an_empty_table(tmp_path):
    empty = pa.table(
        {"item_id": pa.array([], pa.string()), "mu": pa.array([], pa.list_(pa.float32()))}
    )
    empty = empty.append_column("log_var", empty["mu"])
    pq.write_table(empty, tmp_path / "empty.parquet")
    path = str(tmp_path / "empty.parquet")
    refused("has no posteriors: 0 rows", TableError, table=path, output=f"{tmp_path}/out")


@pytest.mark.slow
def test_overwrite_replaces_only_its_own(table, tmp_path):
    mine, page, out = (str(tmp_path / name) for name in ("mine", "page", "out"))
    Path(mine).mkdir()
    Path(mine, "thesis.doc").write_text("x")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=page))
    for path in (mine, page):
        refused("--overwrite does not replace it", table=table, output=path, overwrite=True)
    inspect_table(InspectTable(table, out, page=False, **FEW))
    refused("exists already; name another folder, or replace", table=table, output=out)
    with pytest.raises(InputError, match="does not replace it"):
        query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=out, overwrite=True))


@pytest.mark.slow
def test_a_failed_run_keeps_the_older_output(table, tmp_path):
    broken, out = str(tmp_path / "broken"), str(tmp_path / "out")
    shutil.copytree(table, broken)
    inspect_table(InspectTable(broken, out, page=False, **FEW))
    before = tree(out)
    Path(open_table(broken).files[0]).unlink()
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        inspect_table(InspectTable(broken, out, page=False, overwrite=True, **FEW))
    assert tree(out) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
