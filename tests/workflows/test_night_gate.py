"""A night whose version is not published, since its health is beyond a limit."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from tests.support.nights import Shop
from tests.support.run_records import run_records
from tests.support.tables import read
from vaeudf.errors import GateFailed, InputError
from vaeudf.health.gate import Condition
from vaeudf.table.open import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.night_gate import NightGate

KEPT = (
    "Nothing was published. What was encoded is kept for the next run: change the gate, or leave "
    "it out to publish."
)


@pytest.fixture
def gate(tmp_path):
    def write(*lines: str) -> str:
        path = tmp_path / "a gate.txt"
        path.write_text("\n".join(lines))
        return str(path)

    return write


@pytest.fixture
def shop(garments, tmp_path) -> Shop:
    made = Shop(tmp_path, "images", garments)
    for i in range(12):
        made.put(f"{i}", i)
    return made


LIMITS = ("# of each night", "", "items < 12", "comparison.changed > 2", "comparison.new > 0")


@pytest.mark.spark
def test_what_is_beyond_a_limit_is_not_published(spark, shop, bundle_path, tmp_path, gate, caplog):
    """Here of a first night; what it has encoded is taken by the next one."""
    table = str(tmp_path / "posteriors")
    night = EncodeCatalog(shop.open(), bundle_path, table)
    with pytest.raises(GateFailed) as failed:
        encode_catalog(replace(night, gate=gate("items > 1")))
    assert str(failed.value) == f"items is 12 (--gate 'items > 1').\n{KEPT}"
    assert failed.value.exit_code == 5
    assert os.listdir(table) == ["_staging"]
    first = encode_catalog(replace(night, gate=gate(*LIMITS)))
    assert (first["outcome"], first["encoded"], first["resumed"]) == ("published", 12, 12)
    assert "gate: there is no last version of this model to compare with" in caplog.text
    assert "passed over: comparison.changed > 2, comparison.new > 0." in caplog.text


@pytest.mark.slow
@pytest.mark.spark
def test_a_later_night_is_held_back(spark, shop, bundle_path, tmp_path, gate):
    table = str(tmp_path / "posteriors")
    night = EncodeCatalog(shop.open(), bundle_path, table)
    first = encode_catalog(night)
    for i in range(3):
        shop.put(f"{i}", 20 + i)
    shop.remove("11")
    with pytest.raises(GateFailed) as failed:
        encode_catalog(replace(night, gate=gate(*LIMITS)))
    one, other, unknown, last = str(failed.value).splitlines()
    assert one == "items is 11 (--gate 'items < 12')."
    assert other == "comparison.changed is 3 (--gate 'comparison.changed > 2')."
    assert unknown.startswith("gate names comparison.new, which is no number of this health.json")
    assert last == KEPT
    assert open_table(table).version == first["version"]
    assert read(table).num_rows == 12
    # Nothing is left of the version but its chunks.
    assert len([one for one in os.listdir(table) if one[:2] == "20"]) == 1
    record = run_records(table).to_pylist()[-1]
    assert (record["outcome"], record["message"]) == ("held back", str(failed.value))

    second = encode_catalog(EncodeCatalog(shop.path, bundle_path, table))
    assert (second["outcome"], second["encoded"], second["resumed"]) == ("published", 3, 3)
    assert read(table).num_rows == 11


@pytest.mark.slow
@pytest.mark.spark
def test_numbers_are_those_of_an_inspection(spark, shop, bundle_path, tmp_path, gate, monkeypatch):
    """Of the version, before it is published and after it."""
    table, health = str(tmp_path / "posteriors"), tmp_path / "health"
    first = encode_catalog(EncodeCatalog(shop.open(), bundle_path, table))
    for i in range(3):
        shop.put(f"{i}", 20 + i)
    shop.put("damaged", -1)
    asked = []

    def note(condition, record):
        asked.append(json.loads(json.dumps(record)))

    monkeypatch.setattr(Condition, "reason_in", note)
    night = EncodeCatalog(
        shop.open(), bundle_path, table, max_error_fraction=0.5, gate=gate("items > 0")
    )
    assert encode_catalog(night)["outcome"] == "published"
    inspect_table(InspectTable(table, str(health), page=False, compare=str(first["version"])))
    (before,), after = asked, json.loads((health / "health.json").read_text())
    del after["seconds"]
    for record in (before, after):
        for name in ("version", "model_id"):
            record.pop(name)
        # What it says of the version is said of its name, too; messages are not looked at.
        record.pop("in_short")
        for one in record["quarantine"]["reasons"]:
            one.pop("examples")
    assert before == after


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "gate is {path!r}, which is not there; expected a file with a condition "),
        (b"", "gate is {path!r}, which states no condition; expected one on a line, such as "),
        (b"# items > 3\n \n", "gate is {path!r}, which states no condition; expected one on a "),
        (b"items > 3\nitems = 3\n", "line 2 of gate {path} is 'items = 3'; expected a number of "),
        (b"\xff > 3", "gate is {path!r}, which cannot be read ("),
    ],
)
def test_what_is_no_gate(tmp_path, bundle_path, parquet_catalog, text, expected):
    path, table = tmp_path / "gate", tmp_path / "posteriors"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError) as refused:
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, str(table), gate=str(path)))
    assert str(refused.value).startswith(expected.format(path=str(path)))
    assert not table.exists()


def test_conditions_of_a_file(tmp_path):
    path = tmp_path / "gate"
    path.write_text("\n# comment\r\n items > 3 \n\nrate<=2.5")
    assert [str(one) for one in NightGate.read(str(path)).conditions] == [
        "items > 3",
        "rate <= 2.5",
    ]
