"""Query files as people export them: read where only one meaning is possible, else refused."""

from __future__ import annotations

import bz2
import decimal
import gzip
import io
import json
import logging
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.query.files import read_latents, read_queries

ROWS = [[1.0, -2.5, 0.0], [0.25, 4.0, -1e-3]]
FORMATS = "Parquet (.parquet), CSV (.csv), JSON lines (.jsonl, .ndjson, .json) or NumPy (.npy)"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_latents(path)
    return str(caught.value)


def check(latents, ids=("0", "1"), rows=ROWS):
    assert latents.ids == tuple(ids)
    assert latents.z.tolist() == rows


# ---- delimiters, decimal commas, encodings

TABLES = [
    "query_id,z0,z1,z2\na,1,-2.5,0\nb,0.25,4,-1e-3\n",
    "query_id, z0, z1, z2\na, 1, -2.5, 0\nb, 0.25, 4, -1e-3\n",
    "z0, z1, z2, query_id\n1, -2.5, 0, a\n0.25, 4, -1e-3, b",
    "query_id ,z0 ,z1 ,z2 \na,1 ,-2.5 ,0 \nb,0.25 ,4 ,-1e-3 \n",
    "query_id;z0;z1;z2\na;1;-2,5;0\nb;0,25;4;-1e-3\n",
    "query_id;z0;z1;z2;\na;1;-2.5;0;\nb;0.25;4;-0.001;\n",
    "query_id\tz0\tz1\tz2\na\t1\t-2.5\t0\nb\t0.25\t4\t-1e-3\n",
    "sep=;\nquery_id;z0;z1;z2\na;1;-2,5;0\nb;0,25;4;-1e-3\n",
    '"sep=^"\r\nquery_id^z0^z1^z2\r\na^1^-2.5^0\r\nb^0.25^4^-1e-3\r\n',
    "query_id,z0,z1,z2\ra,1,-2.5,0\rb,0.25,4,-1e-3\r",
    "query_id z0 z1 z2\na 1 -2.5 0\nb 0.25  4 -1e-3\n",
    "query_id\tz0\tz1\tz2\na\t1\t-2,5\t0\nb\t0,25\t4\t-1e-3\n",
    "query_id|z0|z1|z2\na|1|-2.5|0\nb|0.25|4|-.001\n",
    'query_id,z0,z1,z2\na,"1","-2,5","0"\nb,"0,25","4","-1e-3"\n',
    ",query_id,z0,z1,z2\n0,a,1,-2.5,0\n1,b,0.25,4,-1e-3\n",
    "\n\nquery_id,z0,z1,z2\n\na,1,-2.5,0\n   \nb,0.25,4,-1e-3\n\n",
    "# query_id,z0,z1,z2\na,1,-2.5,0\nb,0.25,4,-1e-3\n",
    # Names as Snowflake and Oracle write them; two files put behind each other; text for Excel.
    "QUERY_ID,Z0,Z1,Z2\na,1,-2.5,0\nb,0.25,4,-1e-3\n",
    "query_id,z0,z1,z2\na,1,-2.5,0\n\ufeffquery_id,z0,z1,z2\nb,0.25,4,-1e-3\n",
    "query_id,z0,z1,z2\na,1,-2.5,0\n\ufeffb,0.25,4,-1e-3\n",
    'query_id,z0,z1,z2\n="a",="1",-2.5,0\n"=""b""",0.25,4,-1e-3\n',
    'query_id,z\na,"1,-2.5,0"\nb,"0.25,4,-1e-3"\n',
    'query_id,z\na,"[1, -2.5, 0]"\nb,"[0.25, 4.0, -0.001]"\n',
    'query_id, z\na, "[1, -2.5, 0]"\nb, "[0.25, 4.0, -0.001]"\n',
    "query_id;z\na;[1, -2.5, 0]\nb;(0.25,4,-1e-3)\n",
    "query_id;z\na;1;-2\nb;0;4\n",
    'query_id,z\na,[ 1.   -2.5   0. ]\nb,"[ 2.5e-01  4.0e+00\n -1.0e-03]"\n',
    'query_id,z\na,"array([1., -2.5, 0.], dtype=float32)"\nb,"tensor([0.25, 4, -1e-3])"\n',
    'query_id,z\na,"{1,-2.5,0}"\nb,"{0.25,4,-0.001}"\n',
    'query_id,z\na,"(3,[0,1],[1.0,-2.5])"\nb,"[0.25,4.0,-0.001]"\n',
    "query_id,z\na,1;-2.5;0\nb,0.25;4;-0.001\n",
    'query_id,z\na,"1;-2,5;0"\nb,"0,25;4;-0,001"\n',
    'query_id;z\na;"1;-2,5;0"\nb;"0,25;4;-0,001"\n',
]


@pytest.mark.parametrize("text", TABLES)
def test_delimited_text(write, text):
    if text.startswith("query_id;z\na;1;-2"):
        found = refusal(write("q.csv", text))
        assert "line 2 has 3 fields and the first line 2; expected as many in every line" in found
        return
    check(read_latents(write("q.csv", text)), ["a", "b"])
    check(read_latents(write("q.tsv", text.replace("\n", "\r\n"))), ["a", "b"])
    check(read_latents(write("part-00000", text)), ["a", "b"])


def test_one_column_of_lists_without_quotes(write):
    check(read_latents(write("q.csv", "z\n1,-2.5,0\n0.25,4,-1e-3\n")))
    check(read_latents(write("q.csv", "z\n1;-2.5;0\n0.25;4;-1e-3\n")))
    check(read_latents(write("q.csv", "z\n1\n2\n")), rows=[[1.0], [2.0]])


ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(write, encoding):
    text = "query_id;z0;z1;z2\nGröße;1;-2,5;0\n👕;0,25;4;-1e-3\n"
    check(read_latents(write("q.csv", text.encode(encoding))), ["Größe", "👕"])
    lines = [
        json.dumps({"query_id": name, "z": row}, ensure_ascii=False)
        for name, row in zip(["Größe", "👕"], ROWS, strict=True)
    ]
    check(read_latents(write("q.json", "\n".join(lines).encode(encoding))), ["Größe", "👕"])


@pytest.mark.parametrize("encoding", ["latin1", "cp1252", "shift_jis"])
def test_an_encoding_that_is_not_known_for_sure_is_refused(write, encoding):
    text = {"shift_jis": "日本"}.get(encoding, "Größe")
    path = write("q.csv", f"query_id,z0\na,1\n{text},1\n".encode(encoding))
    assert refusal(path) == (
        f"queries {path} cannot be read: line 3 is not UTF-8; expected text in UTF-8. Save it as "
        "UTF-8."
    )


def test_numbers_of_two_countries_in_one_file(write):
    path = write("q.csv", "z0;z1\n1,5;2.5\n")
    assert refusal(path) == (
        f"queries {path} have the numbers '1,5' and '2.5'; expected the same decimal point in all. "
        "Write them with points, such as 0.25, and no signs between thousands."
    )
    assert "have the numbers '1.234,5' and '1.234,5'" in refusal(write("t.csv", "z0\n1.234,5\n"))
    assert "have z0 = '1,234,567' in row 0" in refusal(write("t.csv", 'z0;z1\n"1,234,567";1\n'))


def test_a_list_that_could_be_two_is_refused(write):
    path = write("q.csv", 'z\n"0,1 0,2"\n')
    assert refusal(path) == (
        f"queries {path}: z is '0,1 0,2' in row 0; expected numbers with commas between, such as "
        "[0.1, -2, 0]."
    )
    assert "z is '[0. 1. ... 9.]'" in refusal(write("q.csv", "z\n[0. 1. ... 9.]\n"))


def test_names_are_expected_in_the_first_line(write):
    path = write("q.csv", "0.5,-1\n1,2\n")
    assert refusal(path) == (
        f"queries {path} have numbers in their first line; expected the names of the columns "
        "there: add the line z0,z1."
    )
    assert "add the line z0;z1;…;z63." in refusal(write("q.csv", ";".join(["0,5"] * 64)))
    path = write("q.csv", b"")
    assert refusal(path) == (
        f"queries {path} are empty; expected a first line with names of columns."
    )


@pytest.mark.parametrize("header", ["z,z", "query_id,query_id,z0", "z0,z0", "x,z0,x"])
def test_a_column_that_stands_twice(write, header):
    name = header.split(",")[0]
    path = write("q.csv", header + "\n" + ",".join("1" for _ in header.split(",")))
    assert refusal(path) == f"queries {path} have the column '{name}' 2 times; expected it once."


# ---- ids

LONG = ["9007199254740993", "9007199254740992", "123456789012345678901234567890"]


def test_ids_of_many_digits_are_not_rounded(write):
    rows = [[float(i)] for i in range(len(LONG))]
    lines = [f'{{"query_id": {name}, "z": {row}}}' for name, row in zip(LONG, rows, strict=True)]
    check(read_latents(write("q.jsonl", "\n".join(lines))), LONG, rows)
    check(read_latents(write("q.json", f"[{','.join(lines)}]")), LONG, rows)
    text = "query_id,z\n" + "\n".join(
        f"{name},{row[0]}" for name, row in zip(LONG, rows, strict=True)
    )
    check(read_latents(write("q.csv", text)), LONG, rows)
    table = pa.table({"query_id": pa.array(map(int, LONG[:2])), "z": rows[:2]})
    check(read_latents(write("q.parquet", table)), LONG[:2], rows[:2])
    exact = pa.array([decimal.Decimal(name) for name in LONG])
    check(read_latents(write("d.parquet", pa.table({"query_id": exact, "z": rows}))), LONG, rows)


@pytest.mark.parametrize(
    ("kind", "bits"), [(pa.float16(), 11), (pa.float32(), 24), (pa.float64(), 53)]
)
def test_ids_that_were_rounded_before_are_refused(write, kind, bits):
    def queries(*ids):
        column = pa.array(np.array(ids, kind.to_pandas_dtype()))
        return write("q.parquet", pa.table({"query_id": column, "z": [[1.0], [2.0]]}))

    path = queries(1, -(2**bits))
    assert refusal(path) == (
        f"queries {path} have query_id of type {kind}, and some of 2^{bits} or more, where that "
        "type can no longer represent every whole number; expected text or int64. Write them again "
        "from where they are still exact."
    )
    check(read_latents(queries(7, 1 - 2**bits)), ["7", f"{1 - 2**bits}"], [[1.0], [2.0]])
    check(read_latents(queries(0.5, -0.0)), ["0.5", "0"], [[1.0], [2.0]])


def test_json_ids_of_several_kinds_come_back_as_they_are_written(write):
    ids = ["7", "007", "1.0", "1e3", "x", "-0", "2020-01-01"]
    literals = ["7", '"007"', "1.0", "1e3", '"x"', "-0", '"2020-01-01"']
    lines = [f'{{"query_id": {one}, "z": [{i}]}}' for i, one in enumerate(literals)]
    rows = [[float(i)] for i in range(len(ids))]
    check(read_latents(write("q.jsonl", "\n".join(lines))), ids, rows)
    path = write("b.jsonl", '{"query_id": true, "z": [1]}\n{"query_id": 1, "z": [1]}')
    assert refusal(path) == (
        f"queries {path} have 'query_id' of different kinds, such as true and \"1\"; expected one "
        "kind."
    )


def test_blanks_of_ids_are_kept_unless_they_stand_after_every_delimiter(write):
    check(read_latents(write("q.csv", "z0,query_id\n1, a\n2,b \n")), [" a", "b "], [[1.0], [2.0]])
    check(read_latents(write("q.csv", "z0, query_id\n1, a\n2, b\n")), ["a", "b"], [[1.0], [2.0]])
    text = 'z0, query_id\n1, "a, b"\n2, "say ""z"""\n'
    check(read_latents(write("q.csv", text)), ["a, b", 'say "z"'], [[1.0], [2.0]])


def test_uuids(write):
    ids = [uuid.uuid4() for _ in ROWS]
    stored = pa.array([one.bytes for one in ids], pa.binary(16)).cast(pa.uuid())
    table = pa.table({"query_id": stored, "z": ROWS})
    check(read_latents(write("q.parquet", table)), list(map(str, ids)))


@pytest.mark.parametrize(
    ("ids", "kind"), [([[1], [2]], "list<"), ([b"\xff", b"\xfe"], "binary"), ([{"a": 1}] * 2, "s")]
)
def test_ids_that_are_not_text(write, ids, kind):
    path = write("q.parquet", pa.table({"query_id": ids, "z": ROWS}))
    found = refusal(path)
    assert found.startswith(f"queries {path} have query_id of type {kind}")
    assert found.endswith(", which is not text; expected text or whole numbers.")


def test_queries_whose_ids_have_another_name_are_told(write, caplog):
    caplog.set_level(logging.INFO, "vaeudf")
    path = write("q.csv", "name,z0,mood\nx,1,good\ny,2,bad\n")
    check(read_latents(path), rows=[[1.0], [2.0]])
    assert caplog.messages == [
        f"queries {path} have no column query_id and are named 0, 1, 2, …; not used: 'name', "
        "'mood'."
    ]
    caplog.clear()
    read_latents(write("q.csv", "query_id,z0,mood\nx,1,good\n"))
    read_latents(write("q.parquet", pa.table({"z": ROWS})))
    read_latents(write("q.jsonl", '{"z": [1], "z0": 4}'))
    assert caplog.messages == []


# ---- JSON


@pytest.mark.parametrize(
    "text",
    [
        '[{"query_id": "a", "z": [1, -2.5, 0]}, {"query_id": "b", "z": [0.25, 4, -1e-3]}]',
        json.dumps([{"query_id": n, "z": r} for n, r in zip("ab", ROWS, strict=True)], indent=2),
        '{"query_id": "a", "z": "[1, -2.5, 0]"}\n{"query_id": "b", "z": "0.25 4 -1e-3"}',
        '{"query_id": "a", "z": {"type": 1, "values": [1, -2.5, 0]}}\n'
        '{"query_id": "b", "z": {"type": 1, "values": [0.25, 4, -1e-3]}}',
        '{"query_id": "a", "z": {"type": 0, "size": 3, "indices": [0, 1], "values": [1, -2.5]}}\n'
        '{"query_id": "b", "z": {"type": 1, "values": [0.25, 4, -1e-3]}}',
        # A Float32Array of JavaScript.
        '{"query_id": "a", "z": {"0": 1, "1": -2.5, "2": 0}}\n'
        '{"query_id": "b", "z": {"2": -1e-3, "1": 4, "0": 0.25}}',
        '{"QUERY_ID": "a", "Z": [1, -2.5, 0]}\n{"QUERY_ID": "b", "Z": [0.25, 4, -1e-3]}',
        '{"query_id": "a", "z0": 1, "z1": "-2.5", "z2": 0}\n'
        '{"query_id": "b", "z0": 0.25, "z1": 4, "z2": -1e-3}',
    ],
)
def test_json(write, text):
    check(read_latents(write("q.json", text)), ["a", "b"])
    check(read_latents(write("part-00000-of-00001", text)), ["a", "b"])


def test_json_of_bare_vectors(write):
    check(read_latents(write("q.json", "[[1, -2.5, 0], [0.25, 4, -1e-3]]")))
    check(read_latents(write("q.jsonl", "[1, -2.5, 0]\n[0.25, 4, -1e-3]\n")))
    check(read_latents(write("q.json", "[0.25, 4, -1e-3]")), "0", ROWS[1:])


def test_text_in_json_may_hold_any_sign(write):
    names = ["a\u2028b", "c\x85d"]
    lines = [
        json.dumps({"query_id": name, "z": [1]}, ensure_ascii=False).replace("\\u0085", "\x85")
        for name in names
    ]
    check(read_latents(write("q.jsonl", "\n".join(lines))), names, [[1.0], [1.0]])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "are empty; expected objects such as"),
        (
            '{"z": [1]}\n7\n',
            'hold "7" in place 1; expected objects such as {"query_id": "a", "z": ',
        ),
        (
            '{"z": {"0": 1, "1": 2}}\n{"z": {"0": 1, "1": 2, "2": 3}}\n',
            "query '1' has 3 dimensions, but query '0' has 2; all need the same number",
        ),
        ('{"z": {"0": 1, "2": 2}}\n{"z": {"0": 1, "1": 2}}\n', "have 'z' of different kinds"),
        ('{"z": [1]}\n{"z": 7}\n', 'have \'z\' of different kinds, such as ["1"] and "7";'),
        ('{"z": {"type": 0, "size": 1, "indices": [4], "values": [1]}}', "a sparse vector in row"),
        (
            '{"z": [1]}\n{"z": [1], "z": [2]}',
            "line 2 is not JSON (an object has the key 'z' 2 times)",
        ),
        ('{"z": [1]}\n{"z": null}', "query '1' is null; expected a list of numbers."),
        ('{"z": [NaN]}', "query '0' leaves every dimension open; expected a finite number in at"),
        ("[" * 50_000, "line 1 is not JSON (too many brackets within brackets); expected obj"),
        ('{"query_id": "\\ud83d", "z": [1]}', "have 'query_id' with half of a character"),
    ],
)
def test_json_that_is_refused(write, text, why):
    assert why in refusal(write("q.json", text))


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
def test_a_whole_table_in_one_object(write, orient):
    frame = pd.DataFrame({"query_id": ["a", "b"], "z": ROWS})
    path = write("q.json", frame.to_json(orient=orient))
    assert refusal(path).startswith(f"queries {path} hold one object with a whole table, of the k")
    assert refusal(path).endswith("From pandas: to_json(…, orient='records', lines=True).")
    check(read_latents(write("q.json", frame.to_json(orient="records", lines=True))), ["a", "b"])


# ---- Parquet and arrays


def text_of(*values):
    """Text as some writers leave it: bytes that nobody has checked."""
    ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
    buffers = [pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(values))]
    return pa.StringArray.from_buffers(len(values), *buffers)


@pytest.mark.parametrize("name", ["query_id", "z", "group"])
def test_text_that_is_not_utf_8(write, name):
    columns = {"query_id": ["a", "b"], "z": ["1,2", "3,4"], "weight": [1.0, 2.0]}
    path = write("q.parquet", pa.table(columns | {name: text_of(b"caf\xe9", b"3,4")}))
    for read in (read_latents, read_queries):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(
            f"queries {path} have {name} with text that is not UTF-8 ("
        )
        assert "expected UTF-8, as Parquet's text is. Write it again from" in str(caught.value)
    others = pa.table({"z": ROWS, "title": text_of(b"caf\xe9", b"x")})
    check(read_latents(write("q.parquet", others)))


def test_an_array_behind_the_first(write):
    file = io.BytesIO()
    np.save(file, np.array(ROWS))
    check(read_latents(write("q.npy", file.getvalue())))
    np.save(file, np.zeros((2, 3)))
    path = write("q.npy", file.getvalue())
    assert refusal(path) == (
        f"queries {path} have 176 bytes behind their array of shape (2, 3); expected one array. "
        "Stack the arrays, and save them as one."
    )


def test_vectors_of_spark_ml(write):
    kind = pa.struct(
        [
            pa.field("type", pa.int8(), nullable=False),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    dense = {"type": 1, "size": None, "indices": None, "values": ROWS[1]}
    sparse = {"type": 0, "size": 3, "indices": [0, 1], "values": ROWS[0][:2]}
    column = pa.array([sparse, dense], kind)
    check(read_latents(write("q.parquet", pa.table({"z": column}))))
    table = pa.table({"mu": column, "log_var": ROWS})
    found = read_latents(write("g.parquet", table))
    check(found)
    assert found.log_var.tolist() == ROWS
    bad = pa.array([{**sparse, "size": 1}], kind)
    path = write("b.parquet", pa.table({"z": bad}))
    assert refusal(path) == (
        f"queries {path}: z has a sparse vector in row 0 with size 1, indices [0, 1] and values "
        "[1.0, -2.5]; expected as many indices as values, each from 0 below the size."
    )


@pytest.mark.parametrize("vector", ["(3,[-1],[5])", "(3,[0,1],[5])", "(3,[3],[5])"])
def test_sparse_vectors_with_places_that_there_are_not(write, vector):
    assert "expected as many indices as values, each from 0 below the size." in refusal(
        write("q.csv", f'z\n"{vector}"\n')
    )


def test_other_columns_need_not_be_readable(write):
    times = pa.array([0, 1], pa.time64("ns"))
    half = pa.array(np.float16([1, 2]))
    table = pa.table({"when": times, "half": half, "z": ROWS, "a.b": ["x", "y"]})
    check(read_latents(write("q.parquet", table)))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2]], pa.list_(pa.decimal128(5, 2))),
        # As databases name the parts of a list, and not as Parquet prescribes.
        pa.array([{"list": [{"element": 1.0}, {"element": 2.0}]}]),
        pa.array([[{"item": 1}, {"item": 2}]]),
        pa.array([[1.0, 2.0]], pa.list_view(pa.float32())),
        pa.array(["[1, 2]"]).dictionary_encode(),
        pa.array(["1;2"], pa.large_string()),
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1, 2]], pa.list_(pa.float32(), 2))
        ),
        pa.array(np.float16([1, 2]).reshape(1, 2).tolist(), pa.list_(pa.float32())),
    ],
)
def test_lists_of_other_kinds(write, column):
    check(read_latents(write("q.parquet", pa.table({"z": column}))), "0", [[1.0, 2.0]])


@pytest.mark.parametrize("kind", [pa.bool_(), pa.time64("ns"), pa.timestamp("ns")])
def test_columns_that_are_no_numbers(write, kind):
    path = write("q.parquet", pa.table({"z0": pa.array([1], pa.int64()).cast(kind)}))
    assert f"queries {path} have z0 = " in refusal(path)


def test_what_pandas_writes(write):
    frame = pd.DataFrame({"query_id": ["a", "b"], "z": ROWS})
    check(read_latents(write("q.csv", frame.to_csv())), ["a", "b"])
    check(read_latents(write("q.csv", frame.to_csv(index=False, sep=";"))), ["a", "b"])
    check(read_latents(write("q.json", frame.to_json(orient="records"))), ["a", "b"])
    check(read_latents(write("q.json", frame.to_json(orient="records", lines=True))), ["a", "b"])
    wide = pd.DataFrame(ROWS, columns=["z0", "z1", "z2"])
    check(read_latents(write("q.csv", wide.to_csv(sep=";", decimal=","))))
    check(read_latents(write("q.csv", wide.to_csv(decimal=","))))
    check(read_latents(write("q.csv", wide.to_csv(sep="\t").encode("utf-16"))))


def test_what_numpy_writes(write):
    stream = io.StringIO()
    np.savetxt(stream, ROWS, delimiter=",", header="z0,z1,z2")
    check(read_latents(write("q.csv", stream.getvalue())))
    stream = io.StringIO()
    np.savetxt(stream, ROWS, header="z0 z1 z2")
    check(read_latents(write("q.csv", stream.getvalue())))
    stream = io.StringIO()
    np.savetxt(stream, ROWS)
    assert refusal(write("q.txt", stream.getvalue())).endswith("there: add the line z0 z1 z2.")


@pytest.mark.parametrize("shown", ["np.float32({})", "np.float64({})", "tensor({})"])
def test_lists_of_printed_numbers(write, shown):
    texts = ["[" + ", ".join(shown.format(number) for number in row) + "]" for row in ROWS]
    check(read_latents(write("q.csv", pd.DataFrame({"z": texts}).to_csv())))


def test_fields_beyond_the_limit_of_the_csv_module(write):
    embedding = ",".join(["0.5"] * 50_000)
    path = write("q.csv", f'query_id,z,embedding\na,"{ROWS[0]}","{embedding}"\n')
    check(read_latents(path), "a", ROWS[:1])


TEXTS = [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", TEXTS)
def test_text_of_any_type(write, kind):
    """Polars and DuckDB write large strings and views, pandas dictionaries."""
    columns = {f"z{i}": pa.array(map(str, column)) for i, column in enumerate(np.array(ROWS).T)}
    columns = {name: column.cast(kind) for name, column in columns.items()}
    check(read_latents(write("q.parquet", pa.table(columns))))
    lists = pa.array(map(str, ROWS)).cast(kind)
    check(read_latents(write("q.parquet", pa.table({"z": lists}))))


def test_signs_between_thousands_are_refused(write):
    assert "z is '1_0;2' in row 0; expected numbers" in refusal(write("q.csv", "z\n1_0;2\n"))


# ---- files and folders


def test_compressed_files(write):
    text = b"query_id,z0,z1,z2\na,1,-2.5,0\nb,0.25,4,-1e-3\n"
    check(read_latents(write("q.csv.gz", gzip.compress(text))), ["a", "b"])
    check(read_latents(write("q.csv.bz2", bz2.compress(text))), ["a", "b"])
    # What a file is follows from its bytes: browsers unpack, and keep the name.
    check(read_latents(write("q.csv", gzip.compress(text))), ["a", "b"])
    check(read_latents(write("q.csv.gz", text)), ["a", "b"])
    assert "cannot be read: " in refusal(write("q.csv.gz", gzip.compress(text)[:-9]))


@pytest.mark.parametrize("name", ["queries", "q.parquet", "q.csv", "a b"])
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_folder_of_part_files(write, tmp_path, name, kind):
    for place, (query_id, row) in enumerate(zip("ab", ROWS, strict=True)):
        content = {
            "csv": f'query_id,z\n{query_id},"{row}"\n',
            "json": json.dumps({"query_id": query_id, "z": row}),
            "parquet": pa.table({"query_id": [query_id], "z": [row]}),
        }[kind]
        write(f"{name}/part-0000{place}-c000.{kind}", content)
    write(f"{name}/part-00002-c000.csv", b"")
    write(f"{name}/_SUCCESS", b"")
    write(f"{name}/.part-00000.crc", b"crc")
    check(read_latents(str(tmp_path / name)), ["a", "b"])


def test_files_of_one_folder_that_differ(write, tmp_path):
    write("q/1.csv", "query_id,z0\na,1\n")
    write("q/2.csv", "z0\n1\n")
    folder = tmp_path / "q"
    assert refusal(str(folder)) == (
        f"queries {folder}: 1.csv and 2.csv have different columns; only one of them has "
        "'query_id'. Name one of the files, or give all the same columns."
    )
    (folder / "2.csv").unlink()
    write("q/2.parquet", pa.table({"query_id": [["a"]], "z0": [2.0]}))
    assert refusal(str(folder)) == (
        f"queries {folder} have files that differ: Unable to merge: Field query_id has "
        "incompatible types: string vs list<element: string>. Write all of them alike, or name one."
    )
    (folder / "2.parquet").unlink()
    write("q/2.csv", "query_id,z0\na,2\n")
    assert refusal(str(folder)) == "query_id 'a' occurs more than once; expected unique ids."


def test_a_folder_without_files(tmp_path):
    (tmp_path / "q.csv").mkdir()
    assert refusal(str(tmp_path / "q.csv")) == (
        f"queries {tmp_path / 'q.csv'} are a folder without files; expected {FORMATS}."
    )


def test_a_delta_table_is_not_read_file_by_file(write, tmp_path):
    write("q/part-0.parquet", pa.table({"z": ROWS}))
    write("q/_delta_log/00000000000000000000.json", b"{}")
    assert refusal(str(tmp_path / "q")).startswith(
        f"queries {tmp_path / 'q'} are a Delta table, whose files may hold deleted rows; write its "
    )


def workbook():
    stream = io.BytesIO()
    np.savez(stream, z=np.eye(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (workbook(), "are an archive, such as .npz or an Excel workbook;"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "are an Excel workbook;"),
        (b"<!doctype html><p>404", "are HTML or XML;"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "are a Git LFS pointer"),
        (b"\x80\x04\x95", "are a pickle;"),
        (b"\x00\x01\x02", "have an unknown format;"),
    ],
)
def test_files_of_other_formats_are_named(write, content, what):
    path = write("q.bin", content)
    found = refusal(path)
    assert found.startswith(f"queries {path} {what}") and found.endswith(f"; expected {FORMATS}.")


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("metadata/v2.metadata.json", "an Iceberg"),
        ("metadata/00001-0b5a.metadata.json", "an Iceberg"),
        (".hoodie/hoodie.properties", "a Hudi"),
    ],
)
def test_tables_of_other_formats_are_not_read_file_by_file(write, tmp_path, file, what):
    write("t/data/0.parquet", pa.table({"z": ROWS}))
    check(read_latents(str(tmp_path / "t")))
    write(f"t/{file}", "{}")
    assert refusal(str(tmp_path / "t")).startswith(
        f"queries {tmp_path}/t are {what} table, whose files may hold rows that were deleted or "
        "replaced; write its rows as Parquet, such as with spark.read.format("
    )


def test_formats_by_the_first_bytes(write):
    check(read_latents(write("queries", pa.table({"z": ROWS}))))
    stream = io.BytesIO()
    np.save(stream, np.array(ROWS))
    check(read_latents(write("queries.bin", stream.getvalue())))
