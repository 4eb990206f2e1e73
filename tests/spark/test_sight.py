"""What a task is told of a path, to find out whether it sees the same."""

from __future__ import annotations

import pytest

from vaeudf.spark.sight import Sight


def test_a_file_is_known_by_its_size(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12")
    sight = Sight.of(str(path))
    assert sight.is_same_here()
    path.write_bytes(b"123")
    assert not sight.is_same_here()
    path.unlink()
    assert not sight.is_same_here()


def test_a_folder_is_known_by_names_in_it(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}").touch()
    sight = Sight.of(str(tmp_path))
    assert sight.is_same_here()
    for name in sight.names[: len(sight.names) // 2]:
        (tmp_path / name).unlink()
    assert sight.is_same_here()
    for name in sight.names[len(sight.names) // 2 :]:
        (tmp_path / name).unlink()
    assert not sight.is_same_here()


def test_what_is_not_there_yet_is_known_by_the_folder_above_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()
    sight = Sight.of(str(tmp_path / "a" / "new" / "table"))
    assert (sight.path, sight.names) == (str(tmp_path / "a"), ("b",))
    assert sight.is_same_here()


@pytest.mark.spark
def test_a_path_that_only_the_client_has(spark, monkeypatch, tmp_path):
    """Stands in for a client elsewhere: what it sees is none of what is here."""
    from vaeudf.errors import InputError
    from vaeudf.spark import connect
    from vaeudf.spark.cluster import Cluster, is_connect

    if not is_connect(spark):
        Cluster.of(spark).check_seen(str(tmp_path / "photos"))  # which no machine has
        return
    Cluster.of(spark).check_seen(str(tmp_path), "s3://nobody/looks")
    elsewhere = Sight(str(tmp_path / "photos"), None, ("a", "b"))
    monkeypatch.setattr(connect, "Sight", type("Elsewhere", (), {"of": lambda _: elsewhere}))
    with pytest.raises(InputError) as caught:
        Cluster.of(spark).check_seen(str(tmp_path / "photos"))
    assert str(caught.value) == (
        f"{tmp_path}/photos is a path of this machine, and the tasks of the Spark Connect server "
        "do not see the same there; expected the URI of a store, such as s3://…, or a folder that "
        "both have at the same place."
    )
