"""Tables that others have changed: read and written as the protocol demands, or refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from tests.support.scene import tree
from tests.support.versions import put, rows
from vaeudf.errors import TableError
from vaeudf.table.maintenance import roll_back, vacuum
from vaeudf.table.open import open_for_publishing, open_table

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
    log = Path(uri, "_delta_log")
    actions = [json.loads(line) for p in sorted(log.glob("*.json")) for line in open(p)]
    old = [action["metaData"] for action in actions if "metaData" in action][-1]
    protocol = {
        "minReaderVersion": 3 if reader else 1,
        "minWriterVersion": 7,
        "writerFeatures": sorted({*reader, *writer}),
    }
    if reader:
        protocol["readerFeatures"] = sorted(reader)
    commit = [{"protocol": protocol}, {"metaData": old | metadata}]
    number = len(list(log.glob("*.json")))
    (log / f"{number:020}.json").write_text("\n".join(map(json.dumps, commit)) + "\n")


def remove_commits(uri: str, first: int) -> None:
    """Take back the commits from one on, with their checksums."""
    for path in Path(uri, "_delta_log").iterdir():
        if int(path.name.lstrip(".").split(".")[0]) >= first:
            path.unlink()


def configured(uri: str, **properties) -> dict:
    return {"configuration": DeltaTable(uri).metadata().configuration | properties}


def refused(function, *arguments) -> str:
    with pytest.raises(TableError) as caught:
        function(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_rows_that_deletion_vectors_delete(changed):
    uri = changed("deletion-vectors")
    before = tree(uri)
    message = (
        f"table {uri} has rows that deletion vectors delete, in 1 of its data files; vaeudf does "
        f"not read these. In Spark SQL, REORG TABLE delta.`{uri}` APPLY (PURGE) writes the files "
        "without the rows."
    )
    assert refused(open_table, uri) == message
    assert refused(open_for_publishing, uri, 10) == message
    assert open_table(uri, 1).num_items == 60, "the version before the rows were deleted"
    assert tree(uri) == before


def test_deletion_vectors_that_delete_nothing(uri):
    amend(uri, reader=["deletionVectors"])
    assert rows(open_table(uri)) == ["a", "b"]
    assert rows(put(uri, "r3", ["b", "c"])) == ["b", "c"]
    assert rows(roll_back(uri, 1)) == ["a"]


def test_the_files_of_vectors_are_left_alone(changed):
    uri = changed("deletion-vectors")
    [vector] = Path(uri).glob("deletion_vector_*.bin")
    # Without its rows it can be opened, and vacuumed too, were it not for the vectors.
    remove_commits(uri, 3)
    assert open_table(uri).num_items == 60
    assert refused(vacuum, uri, 7) == (
        f"table {uri} has deletion vectors, whose files vaeudf cannot tell from "
        f"dead ones; in Spark SQL, VACUUM delta.`{uri}` RETAIN 168 HOURS removes the dead ones."
    )
    assert vector.exists()


def test_renamed_columns(changed):
    uri = changed("renamed")
    before = tree(uri)
    message = (
        f"table {uri} has columns that its files name otherwise (Price (USD) is price); vaeudf "
        "does not read these. Rename them back, or turn the table's property "
        "delta.columnMapping.mode off."
    )
    assert refused(open_table, uri) == message
    assert refused(open_for_publishing, uri, 10) == message
    assert tree(uri) == before


def test_column_mapping_without_renamed_columns(changed):
    uri = changed("renamed")
    # The commits that rename and drop come after the one that switches the mapping on.
    remove_commits(uri, 3)
    assert open_table(uri).num_items == 60
    assert refused(open_for_publishing, uri, 10) == (
        f"table {uri} has column mapping, which vaeudf cannot keep when it writes; turn its "
        "property delta.columnMapping.mode off, or encode to another --table."
    )


def test_row_tracking_is_refused_before_the_work(changed):
    uri = changed("row-tracking")
    assert open_table(uri).num_items == 60
    message = (
        f"table {uri} uses the Delta feature domainMetadata, with which vaeudf cannot write; in "
        f"Spark SQL, ALTER TABLE delta.`{uri}` DROP FEATURE domainMetadata takes it out. Or encode "
        "to another --table."
    )
    assert refused(open_for_publishing, uri, 10) == message


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
READ = {"columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
WRITTEN = {*("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns")}


@pytest.mark.parametrize("feature", READER)
def test_every_reader_feature_is_known_or_refused(uri, feature):
    amend(uri, reader=[feature])
    if feature in READ:
        assert rows(open_table(uri)) == ["a", "b"]
        if feature == "vacuumProtocolCheck":
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
        assert f"DROP FEATURE {feature} takes it out" in message


@pytest.mark.parametrize(
    "properties, message",
    [
        ({"delta.appendOnly": "true"}, "has the property delta.appendOnly, which"),
        (
            {"delta.constraints.positive": "price > 0"},
            "has the constraint positive, which vaeudf cannot keep when it writes; drop it (ALTER "
            "TABLE … DROP CONSTRAINT positive), or encode to another --table.",
        ),
    ],
)
def test_what_a_commit_would_break(uri, properties, message):
    amend(uri, writer=["appendOnly", "checkConstraints"], **configured(uri, **properties))
    assert rows(open_table(uri)) == ["a", "b"]
    assert message in refused(open_for_publishing, uri, 2)
    assert message in refused(roll_back, uri, 1)


def test_rules_of_columns(uri):
    [text] = re.findall(
        r'"schemaString":("(?:[^"\\]|\\.)*")',
        Path(uri, "_delta_log").joinpath(f"{0:020}.json").read_text(),
    )
    schema = json.loads(json.loads(text))
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


def test_vectors_of_older_versions_are_left_alone(uri):
    """The feature may be dropped while a version within the retention still needs its vectors."""
    vector = Path(uri, "deletion_vector_0.bin")
    vector.write_bytes(b"rows")
    os.utime(vector, (1_600_000_000, 1_600_000_000))
    assert "has deletion vectors, whose files" in refused(vacuum, uri, 7)
    assert vector.exists()
