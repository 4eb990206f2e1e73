"""Files of blends: the columns group and weight, in every format."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.query.blends import Blends
from vaeudf.query.files import read_latents, read_queries

ROWS = [[0.0, 2.0], [4.0, 0.0], [1.0, 1.0]]
GROUPS = ["007", "b", "007"]
WEIGHTS = [1.0, 2.0, -0.5]


@pytest.fixture
def write(tmp_path):
    def write_(name, content):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
        return str(path)

    return write_


def check(found, names=("0", "1", "2")):
    assert isinstance(found, Blends)
    assert found.ids == ("007", "b") and found.names == tuple(names)
    assert found.members.z.tolist() == ROWS
    assert found.members.places.tolist() == [0, 1, 0]
    assert found.members.weights.tolist() == WEIGHTS


@pytest.mark.parametrize("blend", [False, True])
def test_both_columns_make_blends(write, blend):
    columns = {"group": GROUPS, "weight": WEIGHTS, "z": ROWS}
    check(read_queries(write("q.parquet", pa.table(columns)), blend=blend))
    lines = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    check(read_queries(write("q.jsonl", "\n".join(map(json.dumps, lines))), blend=blend))
    text = "z0;z1;weight;group\n0;2,0;1;007\n4;0;2;b\n1;1;-0,5;007\n"
    check(read_queries(write("q.csv", text), blend=blend))
    frame = pd.DataFrame({**columns, "z": [str(row) for row in ROWS]})
    check(read_queries(write("p.csv", frame.to_csv()), blend=blend))


def test_members_have_names_of_their_own(write):
    # The same item may be in two groups.
    columns = {"group": GROUPS, "weight": WEIGHTS, "z": ROWS, "query_id": ["shirt", "shirt", "hat"]}
    found = read_queries(write("q.parquet", pa.table(columns)))
    check(found, ["shirt", "shirt", "hat"])
    assert found.pairs() == [("007", "shirt"), ("b", "shirt"), ("007", "hat")]


def test_one_column_or_none_with_blend(write, caplog):
    caplog.set_level("INFO")
    grouped = write("g.parquet", pa.table({"group": GROUPS, "z": ROWS, "weigh": WEIGHTS}))
    found = read_queries(grouped, blend=True)
    assert found.ids == ("007", "b") and found.members.weights.tolist() == [1, 1, 1]
    assert f"queries {grouped}: 3 rows are asked as 2 blends." in caplog.messages
    weighted = write("w.parquet", pa.table({"weight": WEIGHTS, "z": ROWS}))
    found = read_queries(weighted, blend=True)
    assert found.ids == ("blend",) and found.members.weights.tolist() == WEIGHTS
    assert f"queries {weighted}: 3 rows are asked as 1 blend." in caplog.messages
    single = write("s.parquet", pa.table({"weight": [1.0], "z": ROWS[:1]}))
    read_queries(single, blend=True)
    assert f"queries {single}: 1 row is asked as 1 blend." in caplog.messages
    stream = io.BytesIO()
    np.save(stream, np.array(ROWS))
    assert read_queries(write("q.npy", stream.getvalue()), blend=True).ids == ("blend",)
    caplog.clear()
    for path, column in ((grouped, "group"), (weighted, "weight")):
        assert not isinstance(read_queries(path), Blends)
        assert (
            f"queries {path} have a column {column}, which is not used; with --blend, the queries "
            "of each group are one, weighted by weight." in caplog.messages
        )


def test_gaussians_and_open_dimensions(write):
    columns = {"group": GROUPS, "weight": WEIGHTS}
    gaussian = columns | {"mu": ROWS, "log_var": [[-1.0, -2.0]] * 3}
    found = read_queries(write("q.parquet", pa.table(gaussian)))
    assert found.members.log_var.tolist() == [[-1.0, -2.0]] * 3
    found = read_queries(write("q.csv", "group,weight,z0,z1\na,1,,2\nb,1,3,4\na,2,,5\n"))
    assert np.isnan(found.members.z[:, 0]).tolist() == [True, False, True]


def test_other_jobs_read_each_row(write):
    path = write("q.parquet", pa.table({"group": GROUPS, "weight": WEIGHTS, "z": ROWS}))
    found = read_latents(path)
    assert not isinstance(found, Blends) and found.z.tolist() == ROWS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group,weight,z\na,1,1\n,1,2\n", "queries {}: group is null in 1 rows."),
        (
            'group,weight,z0,z1\na,"1,5",0.5,1\n',
            "queries {} have the numbers '1,5' and '0.5'; expected the same decimal point in all. "
            "Write them with points, such as 0.25, and no signs between thousands.",
        ),
        (
            "group,weight,z\na,1,1\nb,heavy,2\n",
            "queries {} have weight = 'heavy' in row 1; expected a number.",
        ),
        (
            "group,weight,z\na,1,1\nb,,2\n",
            "queries {} have weight = None in row 1; expected a finite number.",
        ),
        (
            "group,weight,z\na,1,1\nb,inf,2\n",
            "queries {} have weight = 'inf' in row 1; expected a finite number.",
        ),
        (
            "group,weight,z\na,1,1\nb,0,2\n",
            "all weights of the blend of member 'b/1' are 0; expected a member that counts.",
        ),
        (
            "group,weight,z0,z1,query_id\na,1,1,2,shirt\na,1,,2,hat\n",
            "members 'a/shirt' and 'a/hat' of a blend leave different dimensions open, such as 0; "
            "expected the same ones in all members.",
        ),
        (
            "group,weight,z,tolerance\na,1,1,0.1\na,1,2,0.1\n",
            "the queries have tolerances of their own, which is not for blends, whose members are "
            "one query; leave them out, and name one tolerance for all.",
        ),
        (
            "group,weight,z,query_id\na,1,1,hat\na,1,2,hat\n",
            "queries {}: query_id 'hat' occurs more than once in the group 'a'; expected unique "
            "ids of a group's members.",
        ),
    ],
)
def test_what_is_refused(write, text, message):
    path = write("q.csv", text)
    with pytest.raises(InputError) as caught:
        read_queries(path)
    assert str(caught.value) == message.format(path)


def test_names_with_slashes(write):
    blends = read_queries(write("q.csv", "group,weight,z,query_id\na,1,1,b/c\na/b,1,2,c\n"))
    assert (blends.ids, blends.names) == (("a", "a/b"), ("b/c", "c"))
    assert blends.pairs() == [("a", "b/c"), ("a/b", "c")]


def test_members_without_names_are_no_items(write):
    blends = read_queries(write("q.csv", "group,weight,z\na,1,1\na,1,2\n"))
    assert blends.names == ("0", "1") and blends.pairs() == []


def test_a_group_that_is_no_number(write):
    path = write(
        "q.parquet", pa.table({"group": [1.0, np.nan], "weight": [1, 1], "z": [[1.0]] * 2})
    )
    with pytest.raises(InputError, match="group is null in 1 rows"):
        read_queries(path)
