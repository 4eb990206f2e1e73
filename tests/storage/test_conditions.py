"""Stores that heed conditions of a write, ignore them, or refuse them."""

from __future__ import annotations

import logging
import re

import pytest
from pyarrow import fs

from tests.support.object_store import make_bucket, object_store
from vaeudf.encoding.single_writer import check_single_writer
from vaeudf.encoding.staging import open_run
from vaeudf.errors import InputError, PublishConflict
from vaeudf.storage.conditions import heeds_conditions
from vaeudf.storage.locations import filesystem
from vaeudf.table.runs import new_run_id


def names(uri: str) -> list[str]:
    files, inner = filesystem(uri)
    found = files.get_file_info(fs.FileSelector(inner, recursive=True, allow_not_found=True))
    return [info.base_name for info in found if info.is_file]


@pytest.fixture(params=["", "ignore-conditions", "refuse-conditions"])
def server(request):
    with object_store(*filter(None, [request.param])) as url:
        yield request.param, url


def test_what_a_store_does(server, monkeypatch, caplog, tmp_path):
    """The server that stands for S3, as it is and as others are."""
    caplog.set_level(logging.INFO, "vaeudf")
    kind, url = server
    table = f"{make_bucket(url, monkeypatch, 'x')}/a table é #"
    assert heeds_conditions(str(tmp_path)) is True
    if kind == "refuse-conditions":
        text = (
            " is in a store that refuses to write on condition that a file is not there "
            "(If-None-Match, 501 Not Implemented), by which Delta tables commit; name a table in "
            "a store that does."
        )
        with pytest.raises(InputError, match=re.escape(text)):
            heeds_conditions(table)
        return
    assert heeds_conditions(table) is (kind == "")
    assert names(table) == []
    first, second = sorted(new_run_id() for _ in range(2))
    with open_run(table, first, "key") as run:
        check_single_writer(run)
        assert bool(caplog.records) is (kind == "ignore-conditions")
        with open_run(table, second, "key") as other:
            if kind == "":
                check_single_writer(other)
                return
            # Whichever looks; it is not known which of them looked first.
            for one, rival in ((run, second), (other, first)):
                with pytest.raises(PublishConflict) as error:
                    check_single_writer(one)
                assert re.fullmatch(
                    re.escape(f"another run is writing to table {table}: {rival} (since ")
                    + r"[-0-9T:+]+\)\. Its store ignores conditions \(If-None-Match\), so that one "
                    r"of two versions would be lost\. Nothing was encoded; run again once that run "
                    r"has ended\. One that was killed on another machine counts as ended an hour "
                    r"after its last sign\.",
                    str(error.value),
                )
        check_single_writer(run)
    assert caplog.records[0].getMessage() == (
        f"the store of table {table} ignores conditions (If-None-Match), by which Delta tables "
        "tell two writers apart. Let only one program write to the table at a time; of other runs "
        "of encode_catalog this one takes care itself."
    )


def test_a_store_that_cannot_be_asked(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "vaeudf")
    with object_store() as url:
        table = f"{make_bucket(url, monkeypatch, 'x')}/posteriors"
        with open_run(table, new_run_id(), "key") as run:
            # As where AWS's files alone have the credentials: obstore is then sent away.
            monkeypatch.setattr("vaeudf.storage.conditions.s3_endpoint", lambda: f"{url}/nobody/at")
            check_single_writer(run)
    assert [record.getMessage() for record in caplog.records] == [
        f"it could not be found out whether the store of table {table} heeds conditions "
        "(If-None-Match), by which Delta tables tell two writers apart."
    ]
