"""Tables that others have changed: read and written as the protocol demands, or refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from tests.support.deletion_vectors import commit, commits, delete_items
from tests.support.scene import tree
from tests.support.versions import PAYLOAD, age, put, rows, write_file
from vaeudf.errors import PublishConflict, TableError
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.evolution import changed_by_others
from vaeudf.table.footers import read_row_groups
from vaeudf.table.maintenance import Vacuumed, list_versions, roll_back, vacuum
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.publish import publish
from vaeudf.table.rows import read_posteriors
from vaeudf.table.splits import SplitReader, join

CHANGED = Path(__file__).parents[1] / "fixtures" / "changed_by_delta_spark"


@pytest.fixture
def changed(tmp_path):
    """Gives a copy of a table that delta-spark has changed."""

    def copy(name: str) -> str:
        return str(shutil.copytree(CHANGED / name, tmp_path / name))

    return copy


@pytest.fixture
def uri(tmp_path) -> str:
    """A table of our own, with two versions."""
    path = str(tmp_path / "table")
    put(path, "r1", ["a"])
    put(path, "r2", ["a", "b"])
    return path


def amend(uri: str, reader=(), writer=(), **metadata) -> None:
    """Commit, as another engine does, that the table uses features and has other metadata."""
    old = [a["metaData"] for _, actions in commits(uri) for a in actions if "metaData" in a][-1]
    protocol = {
        "minReaderVersion": 3 if reader else 1,
        "minWriterVersion": 7,
        "writerFeatures": sorted({*reader, *writer}),
    }
    if reader:
        protocol["readerFeatures"] = sorted(reader)
    commit(uri, [{"protocol": protocol}, {"metaData": old | metadata}])


def schema_of(uri: str) -> dict:
    """The table's schema, as the log states it."""
    metadata = [a["metaData"] for _, actions in commits(uri) for a in actions if "metaData" in a]
    return json.loads(metadata[-1]["schemaString"])


def configured(uri: str, **properties) -> dict:
    return {"configuration": DeltaTable(uri).metadata().configuration | properties}


def refused(function, *arguments) -> str:
    with pytest.raises(TableError) as caught:
        function(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_rows_that_deletion_vectors_delete(changed):
    uri = changed("deletion-vectors")
    table = open_table(uri)
    assert table.num_items == 19
    assert {name[-1] for name in rows(table)} == set("01245689")
    assert len(rows(open_table(uri, 1))) == 24, "the version before the rows were deleted"


def test_deletion_vectors_that_delete_nothing(uri):
    amend(uri, reader=["deletionVectors"])
    assert rows(open_table(uri)) == ["a", "b"]
    assert rows(put(uri, "r3", ["b", "c"])) == ["b", "c"]
    assert rows(roll_back(uri, 1)) == ["a"]


def test_a_new_version_after_vectors_has_none_of_the_deleted_rows(uri):
    delete_items(uri, ["a"])
    assert rows(open_table(uri)) == ["b"]
    assert rows(put(uri, "r3", ["b", "c"])) == ["b", "c"]
    [removed] = [a["remove"] for _, actions in commits(uri)[-1:] for a in actions if "remove" in a]
    assert removed["deletionVector"]["cardinality"] == 1, "else the old rows stay for other engines"
    assert rows(roll_back(uri, 3)) == ["b"], "the version with the vector"
    assert rows(roll_back(uri, 2)) == ["a", "b"]


@pytest.mark.parametrize("seed", range(3))
def test_deleted_rows_of_many_row_groups_and_files(tmp_path, seed):
    rng = np.random.default_rng(seed)
    uri = str(tmp_path / "table")
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    names = [f"item-{number:04d}" for number in rng.permutation(1500)]
    files = []
    for place, some in enumerate((names[:700], names[700:701], names[701:])):
        file = write_file(uri, f"r{place}", some, schema)
        written = pq.read_table(Path(uri, file.path))
        mu = pa.array([[float(name[-4:]), 1.0] for name in some], schema.field("mu").type)
        written = written.set_column(1, schema.field("mu"), mu)
        pq.write_table(written, Path(uri, file.path), row_group_size=64)
        files.append(replace(file, size=Path(uri, file.path).stat().st_size))
    publish(uri, None, files, schema, 2, "r")
    deleted = set(rng.choice(names, 400, replace=False)) | {names[700]} | set(names[64:128])
    delete_items(uri, deleted)
    live = sorted(set(names) - deleted)

    table = open_table(uri)
    groups = read_row_groups(table.snapshot)
    assert table.num_items == sum(group.num_rows for group in groups) == len(live)
    assert groups[1].num_rows == 0, "all of its rows are deleted"
    ids, mu, _ = read_posteriors(table)
    assert sorted(ids.to_pylist()) == live
    assert [f"item-{int(first):04d}" for first in mu[:, 0]] == ids.to_pylist()
    for group in groups:
        stored = group.stored_places(np.arange(group.num_rows))
        assert not np.isin(stored, group.deleted).any()
        assert len(np.unique(stored)) == group.num_rows
        assert (stored < group.num_rows + len(group.deleted)).all()


def test_a_vacuum_leaves_the_vectors_alone(changed):
    uri = changed("deletion-vectors")
    vectors = sorted(Path(uri).glob("deletion_vector_*.bin"))
    assert len(vectors) == 2
    before = rows(open_table(uri))
    age(uri, days=40)
    assert vacuum(uri, 7) == Vacuumed([], left=2), "dead or not, who knows"
    dead = Path(uri, "20200101T000000-00000000", "part-0.parquet")
    dead.parent.mkdir()
    dead.write_bytes(b"of a run that was killed")
    other = Path(uri, "part-00000-of-another-engine.parquet")
    other.write_bytes(b"")
    stray = Path(uri, "deletion_vector_00000000-0000-0000-0000-000000000000.bin")
    stray.write_bytes(b"")
    age(uri, days=40)
    removed = ["20200101T000000-00000000/part-0.parquet"]
    assert vacuum(uri, 7, dry_run=True) == Vacuumed(removed, left=4)
    assert dead.exists()
    assert vacuum(uri, 7) == Vacuumed(removed, left=4)
    assert not dead.exists()
    assert other.exists()
    assert all(path.exists() for path in (*vectors, stray))
    assert rows(open_table(uri)) == before


def test_vectors_of_older_versions_are_left_alone(uri):
    """The feature may be dropped while a version within the retention still needs its vectors."""
    vector = Path(uri, "deletion_vector_0.bin")
    vector.write_bytes(b"rows")
    age(uri, days=40)
    assert vacuum(uri, 7) == Vacuumed([], left=2), "and r1/part-0.parquet, which no run names"
    assert vector.exists()


def test_renamed_columns(changed):
    uri = changed("renamed")
    table = open_table(uri)
    assert len(rows(table)) == 24
    assert table.snapshot.columns.names == {"Price (USD)": "price"}
    assert table.snapshot.columns.schema.names[4:] == ["Price (USD)", "stock"]
    before = tree(uri)
    assert refused(open_for_publishing, uri, 4) == (
        f"table {uri} has column mapping, which vaeudf cannot keep when it writes; in Spark SQL, "
        f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.columnMapping.mode' = 'none') takes "
        "it out, once no column has a blank or one of ,;{}()= in its name, or encode to another "
        "--table."
    )
    assert "has column mapping, which" in refused(roll_back, uri, 1)
    assert tree(uri) == before


def test_fields_of_a_struct_that_have_other_names(uri):
    kind = {
        "type": "struct",
        "fields": [
            {
                "name": "width",
                "type": "long",
                "nullable": True,
                "metadata": {"delta.columnMapping.physicalName": "breadth"},
            }
        ],
    }
    fields = schema_of(uri)["fields"]
    for field in fields:
        field["metadata"]["delta.columnMapping.physicalName"] = field["name"]
        field["metadata"]["delta.columnMapping.id"] = 1 + fields.index(field)
    metadata = {"delta.columnMapping.physicalName": "size", "delta.columnMapping.id": 9}
    kind["fields"][0]["metadata"]["delta.columnMapping.id"] = 10
    fields.append({"name": "size", "type": kind, "nullable": True, "metadata": metadata})
    text = json.dumps({"type": "struct", "fields": fields})
    mapped = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "10"}
    amend(uri, reader=["columnMapping"], schemaString=text, **configured(uri, **mapped))
    assert refused(open_table, uri) == (
        f"table {uri} has fields in size that its files name otherwise; vaeudf reads other names "
        "of whole columns only. Rename them back."
    )


def test_columns_by_their_field_ids(uri):
    fields = schema_of(uri)["fields"]
    for number, field in enumerate(fields):
        field["metadata"]["delta.columnMapping.physicalName"] = field["name"]
        field["metadata"]["delta.columnMapping.id"] = number + 1
    fields[-1]["name"] = "cost"
    text = json.dumps({"type": "struct", "fields": fields})
    mapped = {"delta.columnMapping.mode": "id", "delta.columnMapping.maxColumnId": "5"}
    amend(uri, reader=["columnMapping"], schemaString=text, **configured(uri, **mapped))
    table = open_table(uri)
    assert rows(table) == ["a", "b"], "files without ids go by their names"
    assert table.snapshot.columns.names == {"cost": "price"}
    # A file that calls the columns something else, by whose ids they could be found.
    [file] = table.files
    read = pq.read_table(file)
    names = [*read.schema.names[:-1], "col-5"]
    numbered = pa.schema(
        [
            f.with_name(name).with_metadata({"PARQUET:field_id": str(number + 1)})
            for number, (f, name) in enumerate(zip(read.schema, names, strict=True))
        ]
    )
    pq.write_table(pa.table(read.columns, schema=numbered), file)
    assert refused(open_table, uri) == (
        f"data file {file} calls the column 'cost', of field id 5, 'col-5'; the table's log says "
        "'price'."
    )


def test_a_wider_type(uri):
    narrow = pa.schema([("price", pa.int32())])
    put(uri, "r3", ["a", "b"], payload=narrow)
    fields = schema_of(uri)["fields"]
    fields[-1]["type"] = "long"
    text = json.dumps({"type": "struct", "fields": fields})
    amend(uri, reader=["typeWidening"], schemaString=text)
    table = open_table(uri)
    [split] = join(read_row_groups(table.snapshot), 10)
    reader = SplitReader(2, ("price",))
    reader.posteriors(split)
    assert reader.items(np.arange(2)).schema.field("price").type == pa.int64()
    assert "uses the Delta feature typeWidening, with which" in refused(open_for_publishing, uri, 2)
    fields[-1]["type"] = "binary"
    text = json.dumps({"type": "struct", "fields": fields})
    amend(uri, reader=["typeWidening"], schemaString=text)
    [split] = join(read_row_groups(open_table(uri).snapshot), 10)
    reader.posteriors(split)
    assert "column 'price' is declared as binary, and a data file has int32" in refused(
        reader.items, np.arange(2)
    )


def test_a_partitioned_table(uri):
    amend(uri, partitionColumns=["price"])
    assert "is partitioned by price" in refused(open_table, uri)


def test_row_tracking_is_refused_before_the_work(changed):
    uri = changed("row-tracking")
    assert open_table(uri).num_items == 24
    message = (
        f"table {uri} uses the Delta features domainMetadata, rowTracking, with which vaeudf "
        f"cannot write; in Spark SQL, ALTER TABLE delta.`{uri}` DROP FEATURE rowTracking, then "
        f"ALTER TABLE delta.`{uri}` DROP FEATURE domainMetadata; or encode to another --table."
    )
    assert refused(open_for_publishing, uri, 4) == message


# The protocol's published list, and one that nobody has heard of.
READER = (
    *("catalogManaged", "columnMapping", "deletionVectors", "timestampNtz", "typeWidening"),
    *("v2Checkpoint", "vacuumProtocolCheck", "variantType", "variantType-preview"),
    *("variantShredding-preview", "typeWidening-preview", "inventedHere"),
)
WRITER = (
    *("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"),
    *("identityColumns", "rowTracking", "domainMetadata", "icebergCompatV1", "icebergCompatV2"),
    *("clustering", "inCommitTimestamp", "allowColumnDefaults", "collations-preview"),
    *("materializePartitionColumns", "inventedHere"),
)
READ = {
    *("columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview"),
    *("v2Checkpoint", "vacuumProtocolCheck"),
}
READ_ONLY = {"typeWidening", "typeWidening-preview", "vacuumProtocolCheck"}
WRITTEN = {*("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns")}


@pytest.mark.parametrize("interval", [1, 100])
def test_a_version_with_a_checkpoint_stays(changed, monkeypatch, interval):
    """Without its commit a reader would find the rows in the checkpoint all the same."""
    uri = changed("mapped")
    monkeypatch.setattr("vaeudf.table.open.check_writable", lambda *_: None)
    table = open_for_publishing(uri, 4)
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    file = write_file(uri, "r9", ["x"], schema)
    checkpoint = Path(uri, "_delta_log", f"{table.version + 1:020}.checkpoint.parquet")
    if interval == 1:
        checkpoint.write_bytes(b"")
    refused(publish, uri, table, [file], schema, 4, "r9")
    assert (len(commits(uri)) == table.version + 2) == (interval == 1)


def insert(uri: str, run: str, ids: list[str]) -> None:
    """Add rows, as another engine's INSERT does."""
    file = write_file(uri, run, ids, posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"}))
    add = {"path": file.path, "size": file.size, "partitionValues": {}, "dataChange": True}
    add |= {"modificationTime": 0, "stats": json.dumps({"numRecords": len(ids)})}
    info = {"timestamp": 1_790_000_000_000, "operation": "WRITE", "engineInfo": "Another-Engine/1"}
    commit(uri, [{"commitInfo": info}, {"add": add}])


def test_rows_that_others_insert_meanwhile(uri, monkeypatch):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    previous = open_for_publishing(uri, 2)
    insert(uri, "o1", ["o"])
    file = write_file(uri, "r3", ["c"], schema)
    with pytest.raises(PublishConflict) as caught:
        publish(uri, previous, [file], schema, 2, "r3")
    assert str(caught.value) == (
        f"another engine changed {uri} while this one was encoding (version 3 (WRITE) by "
        "Another-Engine/1). Nothing of this run is visible; start it again to build on the new "
        "version."
    )
    assert rows(open_table(uri)) == ["a", "b", "o"]

    # In the last moment: delta-rs lets both through.
    previous = open_for_publishing(uri, 2)
    write = DeltaTable.create_write_transaction

    def insert_first(*arguments, **others):
        insert(uri, "o2", ["p"])
        write(*arguments, **others)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", insert_first)
    file = write_file(uri, "r4", ["c"], schema)
    with pytest.raises(PublishConflict, match=r"version 4 \(WRITE\) by Another-Engine/1"):
        publish(uri, previous, [file], schema, 2, "r4")
    assert rows(open_table(uri)) == ["a", "b", "o", "p"]


def test_what_others_do_right_after_is_not_ours(uri, monkeypatch):
    write = DeltaTable.create_write_transaction

    def delete_afterwards(*arguments, **others):
        write(*arguments, **others)
        delete_items(uri, ["c"])

    monkeypatch.setattr(DeltaTable, "create_write_transaction", delete_afterwards)
    table = put(uri, "r3", ["c", "d"])
    assert (table.version, table.num_items) == (3, 2)
    assert rows(open_table(uri)) == ["d"]


def test_rolling_back_what_others_did(changed):
    uri = changed("deletion-vectors")
    assert roll_back(uri, 1).num_items == 24
    assert len(rows(open_table(uri))) == 24
    found = [(version.version, version.num_items) for version in list_versions(uri)]
    assert found == [(1, 24), (2, 24), (3, 21), (4, 19), (5, 24)]


def test_whether_others_have_changed_a_table(uri):
    def changed() -> bool:
        return changed_by_others(open_table(uri))

    age(uri, days=40)
    put(uri, "r3", ["a", "b", "c"])
    assert not changed()
    assert vacuum(uri, 7).removed
    assert open_table(uri).version == 5 and not changed(), "vacuum's notes change nothing"
    delete_items(uri, ["a"])
    assert changed() and not changed_by_others(open_table(uri, 3))
    put(uri, "r4", ["b"])
    assert not changed()
    amend(uri)
    assert changed()


def test_columns_that_are_gone(uri):
    fields = schema_of(uri)["fields"]
    text = json.dumps({"type": "struct", "fields": [f for f in fields if f["name"] != "mu"]})
    amend(uri, schemaString=text)
    assert refused(open_table, uri) == (
        f"table {uri} has no column mu any more; found item_id, log_var, source_version, price. "
        "Open a version that has it, or roll back to one."
    )
    for field in fields:
        field["metadata"] = {}
    amend(uri, schemaString=json.dumps({"type": "struct", "fields": fields}))
    assert "does not say any more which model its posteriors are from" in refused(open_table, uri)


def test_a_file_that_is_there_twice(uri):
    """A DELETE whose commit does not remove what it replaces."""
    delete_items(uri, ["a"])
    path = Path(uri, "_delta_log", f"{3:020}.json")
    lines = [line for line in path.read_text().splitlines() if '"remove"' not in line]
    path.write_text("\n".join(lines) + "\n")
    assert f"version 3 of table {uri} has a data file twice" in refused(open_table, uri)


def test_vectors_that_are_gone(changed):
    uri = changed("deletion-vectors")
    for path in Path(uri).glob("deletion_vector_*.bin"):
        path.unlink()
    assert f"the deletion vectors of table {uri} cannot be read" in refused(open_table, uri)
    assert open_table(uri, 1).num_items == 24


@pytest.mark.parametrize("feature", READER)
def test_every_reader_feature_is_known_or_refused(uri, feature):
    amend(uri, reader=[feature])
    if feature in READ:
        assert rows(open_table(uri)) == ["a", "b"]
        if feature in READ_ONLY:
            assert f"uses the Delta feature {feature}" in refused(open_for_publishing, uri, 2)
        else:
            assert rows(put(uri, "r3", ["c"])) == ["c"]
    else:
        named = "catalog-managed" if feature == "catalogManaged" else feature
        assert named in refused(open_table, uri)
        assert named in refused(open_for_publishing, uri, 2)
        assert rows(open_table(uri, 2)) == ["a", "b"], "an older version is without it"


@pytest.mark.parametrize("feature", WRITER)
def test_every_writer_feature_is_known_or_refused(uri, feature):
    amend(uri, writer=[feature])
    assert rows(open_table(uri)) == ["a", "b"]
    if feature in WRITTEN:
        assert rows(put(uri, "r3", ["c"])) == ["c"]
    else:
        message = refused(open_for_publishing, uri, 2)
        assert f"uses the Delta feature {feature}, with which" in message
        if feature in ("rowTracking", "domainMetadata", "inCommitTimestamp"):
            assert f"in Spark SQL, ALTER TABLE delta.`{uri}` DROP FEATURE {feature}; or" in message
        else:
            assert message.endswith(
                "with which vaeudf cannot write; Delta has no way to take that out, so encode to "
                "another --table."
            )


def test_a_table_that_only_grows(uri):
    amend(uri, writer=["appendOnly"], **configured(uri, **{"delta.appendOnly": "True"}))
    assert rows(open_table(uri)) == ["a", "b"]
    message = (
        "has the property delta.appendOnly, which vaeudf cannot keep when it writes; set it to "
        "false, or encode to another --table."
    )
    assert message in refused(open_for_publishing, uri, 2)
    assert message in refused(roll_back, uri, 1)


def test_rules_of_columns(uri):
    schema = schema_of(uri)
    [price] = [field for field in schema["fields"] if field["name"] == "price"]
    price["metadata"]["delta.generationExpression"] = "1.0"
    amend(uri, writer=["generatedColumns"], schemaString=json.dumps(schema))
    message = "has the rule delta.generationExpression on column price, which"
    assert message in refused(open_for_publishing, uri, 2)


def test_a_commit_that_fails_is_no_conflict_without_a_newer_version(uri, monkeypatch):
    def fail(*_, **__):
        raise CommitFailedError("Unsupported table features required: [Invented]")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", fail)
    assert refused(put, uri, "r3", ["c"]) == (
        f"table {uri} took no new version (Unsupported table features required: [Invented]). "
        "Nothing of this run is visible."
    )


def test_a_version_that_cannot_be_opened_is_taken_back(changed, monkeypatch):
    """What would happen if a feature were overlooked: delta-rs accepts the commit."""
    uri = changed("mapped")
    monkeypatch.setattr("vaeudf.table.open.check_writable", lambda *_: None)
    before = tree(uri)
    table = open_for_publishing(uri, 4)
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    file = write_file(uri, "r9", ["x"], schema)
    message = refused(publish, uri, table, [file], schema, 4, "r9")
    assert re.fullmatch(
        rf"version 3, which was published to {uri}, cannot be opened \(.*physicalName.*\)\. "
        "The table is back at version 2, and nothing of this run is visible.",
        message,
    )
    assert {name: size for name, size in tree(uri).items() if "r9" not in name} == before
    assert open_table(uri).version == table.version


def test_a_version_without_its_rows_is_taken_back(uri, monkeypatch):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    wrong = replace(write_file(uri, "r3", ["c"], schema), num_rows=2)
    monkeypatch.setattr("vaeudf.table.publish._check_files", lambda *_: None)
    monkeypatch.setattr("vaeudf.table.publish._stats", lambda *_: '{"numRecords": 1}')
    message = refused(publish, uri, open_for_publishing(uri, 2), [wrong], schema, 2, "r3")
    assert message == (
        f"version 3 of table {uri} has 1 items, and 2 were written. The rows of version 2 are "
        "back; maintain_table --action describe shows who wrote what."
    )
    assert rows(open_table(uri)) == ["a", "b"]
    assert open_table(uri).version == 4
    assert rows(put(uri, "r5", ["d"])) == ["d"]


def test_a_store_that_fails_takes_nothing_back(uri, monkeypatch):
    version = open_table(uri).version
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    previous = open_for_publishing(uri, 2)
    file = write_file(uri, "r3", ["c"], schema)
    write = DeltaTable.create_write_transaction

    def write_and_lose_the_store(*arguments, **others):
        write(*arguments, **others)

        def fail(*_):
            raise OSError("the store is away")

        monkeypatch.setattr("vaeudf.table.open.open_delta", fail)
        monkeypatch.setattr("vaeudf.table.publish.open_delta", fail)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", write_and_lose_the_store)
    with pytest.raises((TableError, OSError), match="the store is away"):
        publish(uri, previous, [file], schema, 2, "r3")
    monkeypatch.undo()
    assert open_table(uri).version == version + 1, "it is published, and stays so"
    assert rows(open_table(uri)) == ["c"]
