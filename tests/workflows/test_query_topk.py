from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from tests.support.bulk import oracle
from tests.support.cases import further_cases_slow
from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.support.tables import moved
from tests.support.tolerances import assert_same_scores, assert_within, score_bound
from vaeudf.errors import BundleError, InputError, TableError
from vaeudf.gaussian import kl_divergence, log_prob
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import parse
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark


def items_of(table: str) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, open_table(table).files))


def expected(table: str, z: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    return oracle(items_of(table), z, k)


def test_output(table, tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, LATENT_DIM))
    np.save(tmp_path / "z.npy", z)
    output = str(tmp_path / "out [1]" / "results")
    summary = query_topk(QueryTopk(table, queries=str(tmp_path / "z.npy"), k=5, output=output))
    assert (summary["queries"], summary["items"], summary["k"]) == (6, NUM_ITEMS, 5)
    assert summary["output"] == output
    rows = pq.read_table(output).to_pylist()
    assert list(rows[0]) == ["query_id", "rank", "item_id", "log_likelihood"]
    log_var = np.stack(items_of(table)["log_var"].to_numpy())
    for number, hits in enumerate(expected(table, z, 5)):
        own = [row for row in rows if row["query_id"] == str(number)]
        assert [row["rank"] for row in own] == [1, 2, 3, 4, 5]
        assert [row["item_id"] for row in own] == [item for item, _ in hits]
        scores = [row["log_likelihood"] for row in own], [score for _, score in hits]
        assert_same_scores(*scores, log_var, dims=LATENT_DIM)


def test_printed_table(table, capsys):
    query_topk(QueryTopk(table, z=["0,0,0,0", "1,1,1,1"], k=2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["query_id", "rank", "item_id", "log_likelihood"]
    hits = expected(table, np.array([[0.0] * 4, [1.0] * 4]), 2)
    assert [line.split() for line in lines[1:]] == [
        [str(query), str(rank + 1), item, f"{score:.4f}"]
        for query in (0, 1)
        for rank, (item, score) in enumerate(hits[query])
    ]
    assert len({len(line) for line in lines}) == 1, "columns stand below each other"


def test_more_asked_than_there_are(table, tmp_path, caplog):
    caplog.set_level("INFO")
    output = str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1000, output=output))
    assert pq.read_table(output).num_rows == NUM_ITEMS
    assert f"k is 1000, but there are {NUM_ITEMS} items: all are returned" in caplog.text


def test_items_like_items(table, garments, capsys):
    items = pa.concat_tables(map(pq.read_table, open_table(table).files))
    names = items["item_id"].to_pylist()
    mu, log_var = (np.stack(items[name].to_numpy()) for name in ("mu", "log_var"))
    asked = [names[3], names[17]]
    where = [names.index(name) for name in asked]
    summary = query_topk(
        QueryTopk(table, like=asked, k=2, exclude_self=True, tolerance=0.2, columns=["price"])
    )
    assert (summary["score"], summary["tolerance"], summary["queries"]) == ("kl", 0.2, 2)
    scores = kl_divergence(mu[where], log_var[where], mu, log_var, 0.2)
    prices = dict(zip(*(garments[name].to_pylist() for name in ("item_id", "price")), strict=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["query_id", "rank", "item_id", "kl", "price"]
    expected_lines = []
    for number, name in enumerate(asked):
        scores[number, where[number]] = np.inf
        for rank, place in enumerate(np.argsort(scores[number])[:2]):
            price = prices[names[place]]
            shown = f"{price:.4f}" if isinstance(price, float) else str(price)
            score = f"{scores[number, place]:.4f}"
            expected_lines.append([name, str(rank + 1), names[place], score, shown])
    assert [line.split() for line in lines[1:]] == expected_lines


def test_conditions_and_explanations(table, tmp_path, garments):
    output = str(tmp_path / "out")
    z = np.array([[0.5, -1.0, 0.0, 2.0]])
    summary = query_topk(
        QueryTopk(
            table,
            z=["0.5,-1,0,2"],
            k=100,
            where="stock < 12",
            columns=["stock"],
            explain=True,
            responsibilities=True,
            output=output,
        )
    )
    assert summary["items"] == 12 and summary["scored_fraction"] == 1.0
    assert "row_groups" not in summary
    found = pq.read_table(output).to_pandas().sort_values("rank")
    assert sorted(found["stock"]) == list(range(12))
    items = pa.concat_tables(map(pq.read_table, open_table(table).files))
    searched = items.filter(pa.compute.less(items["stock"], 12))
    ((*hits,),) = oracle(searched, z, 12)
    assert found["item_id"].to_list() == [item for item, _ in hits]
    scores = np.array([score for _, score in hits])
    log_var = np.stack(searched["log_var"].to_numpy())
    assert_same_scores(found["misfit"] + found["volume"], scores, log_var, dims=LATENT_DIM)
    total = np.logaddexp.reduce(scores)
    near = 2 * score_bound(total, log_var, dims=LATENT_DIM, items=12)
    assert_within(found["responsibility"].sum(), 1.0, near, why="densities by their sum")
    aggregate = np.full(12, total - np.log(12))
    sums = found["log_aggregate_posterior"]
    assert_same_scores(sums, aggregate, log_var, dims=LATENT_DIM, items=12)
    assert len(found["costliest"].iloc[0]) == 3


def test_hits_that_differ(table, tmp_path, capsys):
    output = str(tmp_path / "out")
    options = {"z": ["0,0,0,0", "1,1,1,1"], "k": 3, "distinct": 0.5}
    printed = query_topk(QueryTopk(table, **options))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["query_id", "rank", "item_id", "log_likelihood", "hidden"]
    written = query_topk(QueryTopk(table, **options, output=output))
    rows = pq.read_table(output).to_pylist()
    rows.sort(key=lambda row: (row["query_id"], row["rank"]))
    assert [line.split()[2] for line in lines[1:]] == [row["item_id"] for row in rows]
    assert printed["hidden"] == written["hidden"] == sum(row["hidden"] for row in rows)
    assert printed["distinct"] == 0.5
    diverse = query_topk(QueryTopk(table, z=["0,0,0,0"], k=3, diversify=0.5, candidates=4))
    assert "hidden" not in diverse
    assert (diverse["diversify"], diverse["candidates"]) == (0.5, 4)
    lines = capsys.readouterr().out.splitlines()
    ((best, *_),) = expected(table, np.zeros((1, 4)), 1)
    assert lines[0].split() == ["query_id", "rank", "item_id", "log_likelihood"]
    assert lines[1].split()[2] == best[0]


@pytest.mark.parametrize(
    ("rule", "said"),
    further_cases_slow(
        [
            ({"per": "category:2"}, "At most 2 of each category."),
            ({"distinct": 0.5}, "No two hits are nearer to each other than 0.5 nats; "),
            ({"diversify": 0.3}, "chosen from the best 30 of each query to be unlike each other."),
        ],
        [({"distinct": 0.5}, "No two hits are nearer to each other than 0.5 nats; ")],
        several=True,
    ),
)
def test_a_page_says_by_which_rule_its_hits_were_chosen(table, tmp_path, rule, said):
    page = tmp_path / "page"
    summary = query_topk(QueryTopk(table, z=["0,0,0,0"], k=3, report=str(page), **rule))
    assert rule.items() <= summary.items()
    assert said in (page / "index.html").read_text(encoding="utf-8")


def test_no_worse_than(table, tmp_path):
    z = np.array([[0.0, 0.0, 0.0, 0.0]])
    ((*hits,),) = expected(table, z, NUM_ITEMS)
    output = str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=30, min_score=hits[6][1] - 1e-6, output=output))
    assert sorted(pq.read_table(output)["item_id"].to_pylist()) == sorted(i for i, _ in hits[:7])


def test_plain_parquet_and_older_versions(table, parquet_catalog, bundle_path, tmp_path, capsys):
    plain = str(tmp_path / "plain.parquet")
    pq.write_table(pa.concat_tables(map(pq.read_table, open_table(table).files)), plain)
    summary = query_topk(QueryTopk(plain, z=["1,0,0,1"], k=3))
    assert (summary["version"], summary["items"]) == (None, NUM_ITEMS)
    own = capsys.readouterr().out
    version = open_table(table).version
    assert query_topk(QueryTopk(table, z=["1,0,0,1"], k=3, version=version))["version"] == version
    assert capsys.readouterr().out == own
    refused("which has no versions", TableError, table=plain, z=["0,0,0,0"], version=1)
    page = str(tmp_path / "page")
    refused("needs --model and --catalog", table=plain, z=["0,0,0,0"], report=page)
    options = {"model": bundle_path, "catalog": parquet_catalog}
    query_topk(QueryTopk(plain, z=["1,0,0,1", "0,0,0,0"], k=3, report=page, **options))
    html = Path(page, "index.html").read_text()
    assert html.count("data:image/") == 8
    for label in ("row groups read", "pairs scored", "most frequent hit", "seconds"):
        assert f"<dt>{label}</dt>" in html
    assert re.search(r"plan \d+\.\d, search \d+\.\d", html)


def test_hubs_are_told(table, tmp_path, caplog):
    caplog.set_level("INFO")
    np.save(tmp_path / "z.npy", np.random.default_rng(0).uniform(-90, 90, (40, LATENT_DIM)))
    queries, output = str(tmp_path / "z.npy"), str(tmp_path / "out")
    summary = query_topk(QueryTopk(table, queries=queries, k=1, output=output))
    counted = pa.compute.value_counts(pq.read_table(output)["item_id"]).to_pylist()
    counts = {entry["values"]: entry["counts"] for entry in counted}
    assert summary["hub_share"] == max(counts.values()) / 40 > 0.1
    assert counts[summary["hub_item"]] == max(counts.values())
    assert f"item {summary['hub_item']!r} is among the hits of" in caplog.text
    assert "--tolerance (now 0)" in caplog.text


@pytest.mark.slow
def test_overwrite(table, tmp_path):
    output = str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], output=output))
    with pytest.raises(InputError, match=r"exists already; .* replace it with --overwrite"):
        query_topk(QueryTopk(table, z=["0,0,0,0"], output=output))
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=3, output=output, overwrite=True))
    assert pq.read_table(output).num_rows == 3


def test_a_failed_search_keeps_the_older_output(table, tmp_path):
    output = str(tmp_path / "out")
    broken = str(tmp_path / "broken")
    shutil.copytree(table, broken)
    query_topk(QueryTopk(broken, z=["0,0,0,0"], output=output))
    before = tree(tmp_path / "out")
    Path(open_table(broken).files[0]).unlink()
    with pytest.raises(Exception, match="part-"):
        query_topk(QueryTopk(broken, z=["0,0,0,0"], output=output, overwrite=True))
    assert tree(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("fixture", further_cases_slow(["table", "folder_table"], ["folder_table"]))
def test_report(request, fixture, tmp_path):
    path = request.getfixturevalue(fixture)
    report = str(tmp_path / "page")
    z = ["0,0,0,0", "0.5,-1,2,0"]
    summary = query_topk(QueryTopk(path, z=z, k=3, report=report))
    assert summary["report"] == str(tmp_path / "page" / "index.html")
    page = Path(summary["report"]).read_text()
    order = [page.index(item) for hits in expected(path, np.zeros((1, 4)), 3) for item, _ in hits]
    assert order == sorted(order)
    assert page.count("<img ") == 2 + 2 * 3
    assert "no picture in the catalog" not in page


def test_report_shows_the_payload_and_output_too(table, tmp_path, garments):
    report, output = str(tmp_path / "page"), str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=report, output=output))
    (hit,) = pq.read_table(output)["item_id"].to_pylist()
    row = garments.to_pylist()[garments["item_id"].to_pylist().index(hit)]
    assert f"{row['category']} · {row['price']} · {row['stock']}" in (
        Path(report, "index.html").read_text()
    )


def test_report_of_many_queries(table, tmp_path):
    report = str(tmp_path / "page")
    query_topk(QueryTopk(table, z=["0,0,0,0"] * 5, k=1, report=report, report_queries=2))
    page = Path(report, "index.html").read_text()
    assert page.count('class="result"') == 2
    assert "3 further queries are not shown" in page


def test_report_when_pictures_are_gone(spark, image_folder, folder_table, tmp_path):
    catalog, table = str(tmp_path / "catalog"), str(tmp_path / "table")
    moved(folder_table, table, catalog=catalog)
    out, page = str(tmp_path / "out"), str(tmp_path / "page")
    options = QueryTopk(table, z=["0,0,0,0"], k=2, report=page, output=out)
    with pytest.raises(InputError, match=r"catalog .* does not exist.*--catalog"):
        query_topk(options)
    assert not (tmp_path / "page").exists() and not (tmp_path / "out").exists()
    shutil.copytree(image_folder, str(tmp_path / "moved"))
    elsewhere = QueryTopk(
        table, z=["0,0,0,0"], k=2, report=str(tmp_path / "page"), catalog=str(tmp_path / "moved")
    )
    query_topk(elsewhere)
    assert "no picture" not in (tmp_path / "page" / "index.html").read_text()


def refused(message: str, error: type[Exception] = InputError, **options) -> None:
    with pytest.raises(error, match=re.escape(message)):
        query_topk(QueryTopk(**options))


def test_bad_input(table, tmp_path, bundle_path):
    out = str(tmp_path / "out")
    refused("k is 0; expected at least 1", table=table, z=["0,0,0,0"], k=0, output=out)
    refused("from one of --queries FILE, --z, --like and --image", table=table, output=out)
    refused("and from one only", table=table, z=["0"], queries="q.csv", output=out)
    refused("and from one only", table=table, z=["0"], like=["a"], output=out)
    refused("exclude-self is for --like", table=table, z=["0"], exclude_self=True)
    refused("model goes with --report; name", table=table, z=["0,0,0,0"], model="m", output=out)
    refused("tolerance is -1", table=table, z=["0,0,0,0"], tolerance=-1.0)
    refused(
        "score is 'cosine'; expected one of log_likelihood", table=table, z=["0"], score="cosine"
    )
    refused("score kl is between two Gaussians", table=table, z=["0,0,0,0"], score="kl")
    refused("no column 'size' to carry", table=table, z=["0,0,0,0"], columns=["size"])
    refused("there is no item 'nothing' in the table", table=table, like=["nothing"])
    refused(
        "where is 'size > 3', which is not a condition on the table's columns item_id, mu",
        table=table,
        z=["0,0,0,0"],
        where="size > 3",
    )
    refused(
        "query '1' has 3 dimensions, but query '0' has 4",
        table=table,
        z=["0,0,0,0", "0,0,0"],
        output=out,
    )
    refused(
        "query '0' has 3 dimensions, but the posteriors have latent_dim 4",
        table=table,
        z=["0,0,0"],
        output=out,
    )
    refused("query '0' leaves every dimension open", table=table, z=["*,*,,nan"], output=out)
    refused("z is 'a,b'; expected numbers", table=table, z=["a,b"], output=out)
    refused(
        "query '0' has z = -6 in dimension 1, outside [-5, 5]",
        table=table,
        z=["0,-6,0,0"],
        z_bound=5.0,
        output=out,
    )
    refused("queries none.csv do not exist", table=table, queries="none.csv", output=out)
    refused("report-queries is 0", table=table, z=["0"], report_queries=0)
    refused("does not exist", TableError, table=f"{tmp_path}/none", z=["0,0,0,0"], output=out)
    refused(
        "holds neither a Delta table nor Parquet; exp",
        TableError,
        table=bundle_path,
        z=["0,0,0,0"],
        output=out,
    )
    assert list(tmp_path.iterdir()) == []


def test_report_with_another_model(table, tmp_path):
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    refused(
        "its pictures would not be those of z",
        BundleError,
        table=table,
        z=["0,0,0,0"],
        report=str(tmp_path / "page"),
        model=str(tmp_path / "other"),
    )
    refused(
        "name it with --model",
        BundleError,
        table=table,
        z=["0,0,0,0"],
        report=str(tmp_path / "page"),
        model=str(tmp_path / "none"),
    )
    assert not (tmp_path / "page").exists()


def test_overwrite_replaces_only_results(table, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.doc").write_text("x")
    for output, message in (
        (table, "are one, or one is inside the other"),
        (f"{table}/inside", "are one, or one is inside the other"),
        (str(Path(table).parent), "are one, or one is inside the other"),
        (str(mine), "so --overwrite does not replace it"),
    ):
        refused(message, table=table, z=["0,0,0,0"], output=output, overwrite=True)
    assert open_table(table).num_items == NUM_ITEMS
    assert tree(mine) == {"thesis.doc": 1}


@pytest.mark.slow
def test_an_older_page_is_kept_unless_overwritten(table, tmp_path):
    page = str(tmp_path / "page")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=page))
    refused("exists already", table=table, z=["0,0,0,0"], k=1, report=page)
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=page, overwrite=True))


@pytest.mark.slow
def test_overwrite_never_replaces_what_the_job_reads(
    spark, garments, catalog_table, bundle_path, tmp_path, monkeypatch
):
    names = ("catalog", "model", "queries", "posteriors", "page", "results")
    catalog, model, queries, posteriors, page, results = (str(tmp_path / n) for n in names)
    shutil.copytree(bundle_path, model)
    spark.createDataFrame(garments.to_pandas()).coalesce(1).write.parquet(catalog)
    Path(queries).mkdir()
    queries += "/z.parquet"
    pq.write_table(pa.table({"z": [[0.0] * 4]}), queries)
    moved(catalog_table, posteriors, catalog=catalog, model=model)
    before = tree(tmp_path)
    for path in (catalog, model, queries, posteriors, f"{catalog}/sub", str(tmp_path)):
        for flag in ("output", "report"):
            with pytest.raises(InputError, match="are one, or one is inside the other"):
                query_topk(QueryTopk(posteriors, queries=queries, overwrite=True, **{flag: path}))
    for report in (results, f"{results}/page"):
        with pytest.raises(InputError, match="are one, or one is inside the other"):
            query_topk(QueryTopk(posteriors, queries=queries, output=results, report=report))
    # Something that Spark has written, and a page that is somebody else's.
    spark.range(1).coalesce(1).write.parquet(results)
    Path(page).mkdir()
    Path(page, "index.html").write_text("mine")
    before = tree(tmp_path)
    for how in ({"output": results}, {"report": page}):
        with pytest.raises(InputError, match="so --overwrite does not replace it"):
            query_topk(QueryTopk(posteriors, queries=queries, overwrite=True, **how))
    assert tree(tmp_path) == before
    # Beside a file of queries there is room.
    (tmp_path / "z.csv").write_text("z0,z1,z2,z3\n0,0,0,0\n")
    monkeypatch.chdir(tmp_path)
    summary = query_topk(QueryTopk("posteriors", queries="z.csv", output="hits", report="new"))
    assert summary["queries"] == 1 and "hub_share" not in summary


def test_versions_that_are_not_there(table):
    latest = open_table(table).version
    message = f"has no version 99 that can be read; the latest is {latest}, and old ones go"
    refused(message, TableError, table=table, z=["0,0,0,0"], version=99)
    with pytest.raises(InputError, match="version is -1; expected 0 or more"):
        QueryTopk(table, z=["0,0,0,0"], version=-1)


@pytest.mark.parametrize("distinct", further_cases_slow([None, 0.5], [None]))
def test_a_condition_that_does_not_fit_what_is_in_the_columns(table, distinct):
    refused(
        "where is 'cast(item_id AS int) > 5', which cannot be evaluated for every item: ",
        InputError,
        table=table,
        z=["0,0,0,0"],
        where="cast(item_id AS int) > 5",
        distinct=distinct,
    )


def test_pictures_of_a_catalog_that_has_none(table, tmp_path):
    other = str(tmp_path / "other.parquet")
    pq.write_table(pa.table({"item_id": ["a"]}), other)
    message = "it has item_id. Name them with --id-column, --image-column and --payload-columns. "
    message += "The page shows its pictures: name the catalog with --catalog."
    refused(message, table=table, z=["0,0,0,0"], report=str(tmp_path / "page"), catalog=other)


def test_dimensions_that_are_left_open(table, tmp_path, capsys, caplog):
    caplog.set_level("INFO", "vaeudf")
    items = items_of(table)
    mu, log_var = (np.float64(np.stack(items[name].to_numpy())) for name in ("mu", "log_var"))
    ids = items["item_id"].to_pylist()
    z, taus = np.array([0.5, np.nan, -0.25, np.nan]), [0.1, 0.0, 0.4, 2.0]
    scores = log_prob(z, mu, log_var, taus)[0]
    wanted = [ids[i] for i in np.argsort(-scores, kind="stable")[:5]]
    asked = [
        {"z": ["0.5,,-0.25,*"]},
        {"z": ["0.5,7,-0.25,9"], "ignore_dims": "1,3"},
    ]
    for options in asked:
        summary = query_topk(QueryTopk(table, k=5, tolerance="0.1,0,0.4,2", **options))
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[2] for line in lines[1:]] == wanted
        assert summary["tolerance"] == tuple(taus)
        assert caplog.messages[-1] == "1 of 1 queries leave dimensions open."
    page = tmp_path / "page"
    query_topk(QueryTopk(table, k=2, z=["0.5,,-0.25,*"], tolerance="0.2", report=str(page)))
    html = (page / "index.html").read_text()
    assert html.count('<span class="value">any</span>') == 2
    for options, message in (
        ({"tolerance": "a"}, "tolerance is 'a'; expected a number, or one for each dimension"),
        ({"tolerance": "1,2"}, "tolerance has 2 numbers, but there are 4 latent dimensions"),
        ({"ignore_dims": "x"}, "ignore-dims is 'x'; expected whole numbers with commas between"),
        ({"ignore_dims": "4"}, "there is no dimension 4; expected 0 to 3."),
    ):
        refused(message, table=table, z=["0,0,0,0"], **options)
    refused("ignore-dims is for --z and --queries", table=table, like=["a"], ignore_dims="0")


@pytest.mark.parametrize(
    ("written", "tolerance", "dims"),
    [
        ("tolerance: 0.1\nignore_dims: 1", 0.1, [1]),
        ("tolerance: 2\nignore_dims: '0,1'", 2.0, [0, 1]),
        ("tolerance: 0.1,0,0.5\nignore_dims: 0,1", (0.1, 0.0, 0.5), [0, 1]),
        ("", 0.0, []),
    ],
)
def test_tolerances_and_open_dimensions_in_a_config_file(tmp_path, written, tolerance, dims):
    config = tmp_path / "query.yaml"
    config.write_text(f"table: t\nz: ['0,0,0']\n{written}\n")
    options = parse(QueryTopk, ["--config", str(config)])
    assert options.query_options().tolerance == tolerance
    assert options.open_dims == dims
    flags = [f"--{line.replace(': ', '=').replace('_', '-')}" for line in written.splitlines()]
    options = parse(
        QueryTopk, ["--table", "t", "--z", "0,0,0", *(f.replace("'", "") for f in flags)]
    )
    assert (options.query_options().tolerance, options.open_dims) == (tolerance, dims)
