"""Points, and the means and samples of Gaussians."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.drawings import check_files, pixels, refused
from tests.support.scene import LATENT_DIM
from vaeudf.decoding.udf import samples_of
from vaeudf.errors import InputError
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.drawings.points import Points


def test_samples_in_range():
    for samples in (-1, 10_001):
        with pytest.raises(InputError, match=f"^samples is {samples}; expected 0 to 10,000"):
            Points(queries="q.csv", samples=samples)


def refusal(bundle, **asked) -> str:
    with pytest.raises(InputError) as caught:
        Points(**asked).check(bundle)
    return str(caught.value)


def test_what_does_not_fit_the_model(bundle, tmp_path):
    Points(z=["0,0,0,0", "1,2,3,4"]).check(bundle)
    wrong = "query '0' has 3 dimensions, but the model has latent_dim 4."
    assert refusal(bundle, z=["0,0,0"]).startswith(wrong)
    assert refusal(bundle, queries="none.csv").startswith("queries none.csv do not exist")
    points = tmp_path / "z.npy"
    np.save(points, np.zeros((2, LATENT_DIM)))
    Points(queries=str(points)).check(bundle)
    assert refusal(bundle, queries=str(points), samples=2) == (
        "samples is 2, but the queries are points z; expected mu and log_var to draw from."
    )


def test_a_folder_is_left_to_spark(bundle, tmp_path):
    Points(queries=str(tmp_path), samples=3).check(bundle)


@pytest.mark.spark
def test_points_to_files_and_a_page(bundle, bundle_path, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    z = ["0,0,0,0", "-1,0.5,2,-3"]
    summary = decode_latents(
        DecodeLatents(model=bundle_path, z=z, output=str(out), report=str(page))
    )
    assert summary["pictures"] == summary["queries"] == 2
    assert "table" not in summary
    assert (summary["output"], summary["report"]) == (str(out), str(page / "index.html"))
    check_files(out, bundle, {"0": np.zeros(4), "1": np.array([-1, 0.5, 2, -3])})
    assert sorted(p.name for p in out.iterdir()) == ["_vaeudf_pictures", "images", "index.parquet"]
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 2 and "2 pictures, each decoded from a point." in text


@pytest.mark.spark
def test_points_to_parquet_and_awkward_names(bundle, bundle_path, tmp_path):
    names = ["../x", "a/b", "A", "a", "é", "x" * 300]
    z = np.random.default_rng(0).normal(size=(len(names), LATENT_DIM))
    queries = tmp_path / "q.parquet"
    pq.write_table(pa.table({"query_id": names, "z": z.tolist()}), queries)
    for form in ("png", "parquet"):
        options = {"queries": str(queries), "format": form, "output": str(tmp_path / form)}
        assert decode_latents(DecodeLatents(model=bundle_path, **options))["pictures"] == 6
    check_files(tmp_path / "png", bundle, dict(zip(names, z, strict=True)))
    assert len(list((tmp_path / "png" / "images").iterdir())) == 6
    rows = pq.read_table(tmp_path / "parquet" / "pictures.parquet").to_pylist()
    assert list(rows[0]) == ["query_id", "z", "image"]
    for row in rows:
        expected = bundle.decode([row["z"]])[0]
        assert row["z"] == z[names.index(row["query_id"])].tolist()
        assert np.abs(pixels(row["image"]) - expected).max() <= 1


@pytest.mark.spark
@pytest.mark.parametrize("where", further_cases_slow(["file", "folder"], ["file"]))
def test_gaussians_and_samples(spark, bundle, bundle_path, tmp_path, where):
    rng = np.random.default_rng(1)
    mu, log_var = rng.normal(size=(3, LATENT_DIM)), rng.normal(size=(3, LATENT_DIM))
    rows = [(f"g{i}", mu[i].tolist(), log_var[i].tolist()) for i in range(3)]
    queries = tmp_path / ("q.parquet" if where == "file" else "queries [1]")
    columns = ("query_id", "mu", "log_var")
    data = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    if where == "file":
        pq.write_table(data, queries)
    else:
        queries.mkdir()
        pq.write_table(data.slice(0, 2), queries / "a.parquet")
        pq.write_table(data.slice(2), queries / "b.parquet")
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            model=bundle_path,
            queries=str(queries),
            samples=2,
            seed=5,
            output=str(out),
            report=str(page),
        )
    )
    assert (summary["pictures"], summary["queries"], summary["samples"]) == (9, 3, 2)
    expected = {}
    for name, mean, log_variance in rows:
        expected[name] = np.array(mean)
        for k, z in enumerate(samples_of(name, mean, log_variance, 2, 5)):
            expected[f"{name}-sample-{k + 1}"] = z
    check_files(out, bundle, expected)
    text = (page / "index.html").read_text()
    assert "the mean of a Gaussian or from one of 2 draws from it" in text
    names = re.findall(r'<div class="name">(.*?)</div>', text)
    assert names[:4] == ["g0", "g0-sample-1", "g0-sample-2", "g1"] and text.count("<img ") == 9


@pytest.mark.spark
def test_a_page_shows_so_many(bundle_path, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(230, LATENT_DIM)))
    page = tmp_path / "page"
    options = {"queries": str(tmp_path / "z.npy"), "report": str(page)}
    assert decode_latents(DecodeLatents(model=bundle_path, **options))["pictures"] == 230
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 200 and "30 further pictures are not shown." in text


@pytest.mark.spark
@pytest.mark.parametrize(
    "value", further_cases_slow([None, float("nan"), float("inf"), 1e39], [1e39])
)
def test_a_folder_with_numbers_that_are_not_finite(spark, bundle_path, tmp_path, value):
    folder = tmp_path / "queries"
    folder.mkdir()
    rows = {"query_id": ["a", "b"], "z": [[0.0] * 4, [0.0, value, 0.0, 0.0]]}
    pq.write_table(pa.table(rows), folder / "a.parquet")
    message = (
        "query 'b' has a number in z that is null, NaN, infinite or beyond float32; "
        "expected finite numbers only."
    )
    for where in ({"report": str(tmp_path / "page")}, {"output": str(tmp_path / "out")}):
        with pytest.raises(InputError) as error:
            decode_latents(DecodeLatents(model=bundle_path, queries=str(folder), **where))
        assert str(error.value) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("columns", "message"),
    further_cases_slow(
        [
            ({"z": [[0.0] * 4]}, "with the columns z; expected query_id, and z, or mu and log_var"),
            ({"query_id": ["a"], "z": [1.0]}, "z must be lists of numbers"),
            (
                {"query_id": ["a", "a"], "z": [[0.0] * 4] * 2},
                "query_id 'a' stands 2 times; expected",
            ),
            (
                {"query_id": ["a"], "z": [[0.0] * 3]},
                "'a' has 3 dimensions in z, but the model has lat",
            ),
            ({"query_id": ["a"], "mu": [[0.0] * 4]}, "expected query_id, and z, or mu and log_var"),
            (
                {"query_id": ["a"], "mu": [[0.0] * 4], "log_var": [[0.0]]},
                "'a' has 1 dimensions in log_var",
            ),
            (
                {"query_id": pa.array([], pa.string()), "z": pa.array([], pa.list_(pa.float32()))},
                "there are no queries",
            ),
        ],
        [
            ({"z": [[0.0] * 4]}, "with the columns z; expected query_id, and z, or mu and log_var"),
            (
                {"query_id": ["a", "a"], "z": [[0.0] * 4] * 2},
                "query_id 'a' stands 2 times; expected",
            ),
        ],
        several=True,
    ),
)
def test_folders_that_are_no_queries(spark, bundle_path, tmp_path, columns, message):
    (tmp_path / "q").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "q" / "a.parquet")
    refused(message, model=bundle_path, queries=str(tmp_path / "q"), output=str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


@pytest.mark.spark
def test_a_sample_that_would_take_anothers_name(bundle_path, tmp_path):
    names = ["a", "a-sample-1"]
    data = {"query_id": names, "mu": [[0.0] * 4] * 2, "log_var": [[0.0] * 4] * 2}
    pq.write_table(pa.table(data), tmp_path / "q.parquet")
    (tmp_path / "q").mkdir()
    pq.write_table(pa.table(data), tmp_path / "q" / "a.parquet")
    for queries in ("q.parquet", "q"):
        refused(
            "query_id 'a-sample-1' holds '-sample-', which tells samples from their Gaussians",
            model=bundle_path,
            queries=str(tmp_path / queries),
            samples=1,
            output=str(tmp_path / "out"),
        )
