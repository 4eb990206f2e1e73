"""The README's commands and code do what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.jobs import ROOT, submit, summary
from tests.support.scene import LATENT_DIM
from vaeudf.catalog.garments import draw_garment, sample_garment

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_commands_are_those_tested_here():
    assert [" ".join(command[:2]) for command in commands()] == [
        "./spark-submit.sh demo",
        "./spark-submit.sh test",
        "./spark-submit.sh train_vae",
        "./spark-submit.sh encode_catalog",
        "./spark-submit.sh query_topk",
        "./spark-submit.sh query_topk",
        "./spark-submit.sh query_topk",
        "./spark-submit.sh query_topk",
        "./spark-submit.sh query_topk",
        "./spark-submit.sh inspect_table",
        "./spark-submit.sh cluster_catalog",
        "./spark-submit.sh find_copies",
        "./spark-submit.sh decode_latents",
    ]


@pytest.mark.slow
def test_demo(tmp_path):
    (command,) = (c for c in commands() if c[1] == "demo")
    small = ["--items", "120", "--epochs", "1"]
    done = submit(*command[1:], *small, cwd=tmp_path)
    page = tmp_path / "demo" / "report" / "index.html"
    assert summary(done)["report"] == str(page)
    assert f"Done. Open {page} in a browser." in done.stderr
    assert page.stat().st_size > 100_000


@pytest.mark.slow
def test_your_own_catalog_and_model(tmp_path):
    (tmp_path / "photos" / "dress").mkdir(parents=True)
    for index in range(60):
        picture = draw_garment(sample_garment(0, index), 48)
        picture.save(tmp_path / "photos" / "dress" / f"{index:04d}.jpg")
    header = ",".join(f"z{i}" for i in range(10))
    np.savetxt(
        tmp_path / "z.csv", np.eye(10)[:3], delimiter=",", header=header, comments="", fmt="%g"
    )
    quick = {"train_vae": ["--epochs", "1"], "inspect_table": ["--hub-queries", "20"]}
    outputs = []
    for command in commands()[2:]:
        done = submit(*command[1:], *quick.get(command[1], []), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "\r" not in done.stderr  # no bar where nobody watches
        outputs.append(done.stdout)
    assert outputs[2].splitlines()[0].split() == ["query_id", "rank", "item_id", "log_likelihood"]
    assert len(outputs[2].splitlines()) == 1 + 5 + 1
    assert pq.read_table(tmp_path / "results").num_rows == 30
    assert (tmp_path / "page" / "index.html").is_file()
    told = json.loads(outputs[4].splitlines()[-1])
    assert (told["pictures_read"], told["pictures_unreadable"]) == (60, 0)
    assert outputs[5].splitlines()[0].split() == ["query_id", "rank", "item_id", "kl"]
    assert len(outputs[5].splitlines()) == 1 + 10 + 1
    assert outputs[5].count("dress/0042.jpg") == 10
    photo, rank, nearest, divergence = outputs[6].splitlines()[1].split()
    assert (photo, rank, nearest) == ("photos/dress/0042.jpg", "1", "dress/0042.jpg")
    assert divergence == "0.0000"
    assert json.loads((tmp_path / "health" / "health.json").read_text())["items"] == 60
    assert pq.read_table(tmp_path / "clusters" / "items").num_rows == 60
    for folder in ("like-decode-z", "health", "clusters-page", "traversal"):
        assert (tmp_path / folder / "index.html").is_file()


def test_library_without_spark():
    code = blocks("python")[0] + "print(indices.shape, log_likelihoods.shape)\n"
    code += "import sys; print('torch' in sys.modules, 'pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(100,", "5)", "(100,", "5)", "False", "False"]


@pytest.mark.spark
def test_library_with_spark(spark, bundle_path, garments):
    code = blocks("python")[1].replace('"model"', repr(bundle_path))
    names = {
        "catalog_df": spark.createDataFrame(garments.to_pandas()),
        "z": np.zeros((2, LATENT_DIM)),
    }
    exec("import vaeudf\n" + code, names)
    assert names["hits"].count() == 20


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
