"""Which paths and URIs name one place."""

from __future__ import annotations

import itertools

import pytest

from vaeudf.errors import InputError
from vaeudf.storage.outputs import RESULTS_MARK, check_output
from vaeudf.storage.places import overlap, path_inside, same_place
from vaeudf.table.delta import path_in_table

CORE = {
    "fs.defaultFS": "hdfs://night",
    "fs.viewfs.mounttable.shop.link./data": "hdfs:///stock",
    "fs.viewfs.mounttable.shop.link./data/old": "hdfs://attic:8020/o",
    "fs.viewfs.mounttable.shop.linkFallback": "hdfs://night/",
}
HDFS = {
    "dfs.nameservices": "night",
    "dfs.namenode.rpc-address.night.first": "nn1:8020",
    "dfs.namenode.rpc-address.night.second": "nn2:8020",
}


@pytest.fixture(autouse=True)
def configured(monkeypatch, tmp_path):
    conf = tmp_path / "conf"
    conf.mkdir()
    for name, settings in (("core", CORE), ("hdfs", HDFS)):
        rows = "".join(
            f"<property><name>{key}</name><value>{value}</value></property>"
            for key, value in settings.items()
        )
        (conf / f"{name}-site.xml").write_text(f"<configuration>{rows}</configuration>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(conf))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
    return conf


# Each line is one place, and another than the other lines are.
PLACES = (
    (
        *("hdfs:///stock/a", "hdfs:/stock/a", "hdfs://night/stock/a", "HDFS://Night//stock/./a/"),
        *("hdfs://nn1:8020/stock/a", "hdfs://NN2:8020/stock/b/../a", "viewfs://shop/data/a"),
    ),
    ("hdfs:///old", "viewfs://shop/old", "viewfs://shop//old/"),
    ("hdfs://attic:8020/o/x", "viewfs://shop/data/old/x"),
    ("hdfs://attic:8021/o/x",),
    ("viewfs://another/data/old/x",),
    ("s3://bucket/a/b", "s3a://bucket/a/b/", "s3n://bucket//a//b", "S3A://key:word@bucket/a/b"),
    ("s3://bucket/a/B",),
    ("s3://other/a/b",),
    (
        *("abfss://stock@shop.dfs.core.windows.net/a", "az://stock/a/", "abfss://stock//a"),
        "abfs://stock@shop.dfs.core.windows.net/a",
    ),
    ("abfss://stock@attic.dfs.core.windows.net/a",),
    ("gs://bucket/a", "gs://bucket//a/"),
)
TWO = list(itertools.combinations(PLACES, 2))


@pytest.mark.parametrize("names", PLACES, ids=lambda names: names[0])
def test_names_of_one_place(names):
    for one, other in itertools.product(names, repeat=2):
        assert same_place(one, other), (one, other)
        assert overlap(one, f"{other}/below") and overlap(f"{one}//below", other)
        assert not overlap(f"{one.rstrip('/')}2", other)


def test_names_of_others():
    for some, others in TWO:
        for one, other in itertools.product(some, others):
            assert not overlap(one, other), (one, other)


def test_a_default_file_system_that_is_not_known(monkeypatch):
    monkeypatch.delenv("HADOOP_CONF_DIR")
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    assert same_place("hdfs:///a//b/", "hdfs:///a/b")
    assert not overlap("hdfs:///a", "hdfs://night/a")


def test_local_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    for other in ("photos/", f"file://{tmp_path}/photos", "link", "link//../photos", "./photos"):
        assert same_place("photos", other), other
        with pytest.raises(InputError, match="are one, or one is inside the other"):
            check_output(f"{other}/hits", True, RESULTS_MARK, ["photos"])
    assert not overlap("photos", "photos2") and overlap("/", "photos")


def test_an_output_over_what_is_read():
    for output, read in (
        ("hdfs:///stock", "hdfs://nn1:8020/stock/photos"),
        ("hdfs://nn1:8020/stock/photos/hits", "hdfs:///stock/photos"),
        ("s3a://bucket//photos/", "s3://bucket/photos"),
    ):
        with pytest.raises(InputError) as caught:
            check_output(output, True, RESULTS_MARK, [read])
        assert str(caught.value) == (
            f"{output} and {read} are one, or one is inside the other, and this job uses both; "
            "name another folder."
        )


def test_the_files_of_a_folder(tmp_path):
    for folder, file in (
        ("hdfs:///stock/t", "hdfs://nn2:8020/stock/t/x=1/f.parquet"),
        ("hdfs://nn1:8020/stock/t/", "viewfs://shop/data/t/x=1/f.parquet"),
        ("s3://bucket/t", "s3a://bucket/t/x=1/f.parquet"),
    ):
        assert path_inside(folder, file) == path_in_table(folder, file) == "x=1/f.parquet"
    for file in (
        *("s3://bucket/t/../u/f", "s3://bucket/t//f", "s3a://key@bucket/t/./f", "s3://bucket/t"),
        *("s3://bucket/t2/f", "hdfs:///t/f"),
    ):
        assert path_inside("s3://bucket/t", file) is None, file
    (tmp_path / "link").symlink_to("conf")
    assert path_inside(f"{tmp_path}/link", f"{tmp_path}/conf/f") == "f"
    assert path_inside(f"{tmp_path}/link", f"{tmp_path}/link/f") == "f"
