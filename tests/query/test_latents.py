"""Query vectors in every format that is read, and what is said about those that are not."""

from __future__ import annotations

import io
import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.query.files import read_latents
from vaeudf.query.latents import Latents, from_rows, parse_z

ROWS = [[1.0, -2.5, 0.0], [0.25, 4.0, -1e-3]]


def lists(rows, size=-1, number=None):
    return pa.array(rows, pa.list_(number or pa.float64(), size))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
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
    assert latents.z.dtype == np.float64 and latents.z.tolist() == rows
    assert len(latents) == len(rows) and latents.latent_dim == len(rows[0])


# ---- formats


@pytest.mark.parametrize(
    "columns",
    [
        {"z": lists(ROWS)},
        {"z": lists(ROWS, 3)},
        {"z": pa.array(ROWS, pa.large_list(pa.float64()))},
        {"other": [1, 2], "z": lists(ROWS), "z0": [9.0, 9.0]},
        {"z0": [1.0, 0.25], "z1": [-2.5, 4.0], "z2": [0.0, -1e-3]},
        {"z_2": [0.0, -1e-3], "x": ["a", "b"], "z_0": [1.0, 0.25], "z_1": [-2.5, 4.0]},
        {"z1": [1.0, 0.25], "z3": [0.0, -1e-3], "z2": [-2.5, 4.0]},
    ],
)
def test_parquet(write, columns):
    check(read_latents(write("q.parquet", pa.table(columns))))
    check(read_latents(write("q.PARQ", pa.table(columns))))
    ids = {"query_id": ["é 1", "b"]}
    check(read_latents(write("named.parquet", pa.table({**ids, **columns}))), ["é 1", "b"])


def test_parquet_of_other_numbers(write):
    stored = np.float32(ROWS)
    single = pa.table({"z": lists(ROWS, number=pa.float32())})
    check(read_latents(write("f.parquet", single)), rows=stored.astype(float).tolist())
    whole = pa.table({"z": lists([[1, 2], [3, 4]], 2, pa.int16())})
    check(read_latents(write("i.parquet", whole)), rows=[[1, 2], [3, 4]])


def test_a_folder_of_parquet_as_spark_writes_it(tmp_path):
    (tmp_path / "q.parquet").mkdir()
    for place, row in enumerate(ROWS):
        table = pa.table({"query_id": [f"q{place}"], "z": lists([row])})
        pq.write_table(table, tmp_path / "q.parquet" / f"part-{place}.parquet")
    (tmp_path / "q.parquet" / "_SUCCESS").touch()
    check(read_latents(str(tmp_path / "q.parquet")), ["q0", "q1"])


@pytest.mark.parametrize("header", ["z0,z1,z2", "z_0,z_1,z_2", "z1,z2,z3", "z_1,z_2,z_3"])
def test_csv(write, header):
    body = "1,-2.5,0\n0.25,4,-1e-3\n"
    check(read_latents(write("q.csv", f"{header}\n{body}")))
    check(read_latents(write("q.CSV", f"\ufeff{header}\r\n" + body.replace("\n", "\r\n"))))


def test_csv_columns_in_any_order_and_more_than_ten(write):
    names = [f"z{i}" for i in range(12)]
    text = ",".join(reversed(names)) + "\n" + ",".join(str(i) for i in reversed(range(12)))
    check(read_latents(write("q.csv", text)), "0", [list(range(12))])


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json"])
def test_json_lines(write, suffix):
    lines = [json.dumps({"z": row}) for row in ROWS]
    check(read_latents(write(f"q.{suffix}", "\n".join(lines))))
    lines = [json.dumps({"query_id": f"q{i}", "z": row}) for i, row in enumerate(ROWS)]
    check(read_latents(write(f"n.{suffix}", "\n\n".join(lines) + "\n")), ["q0", "q1"])
    lines = [json.dumps({f"z{i}": value for i, value in enumerate(row)}) for row in ROWS]
    check(read_latents(write(f"c.{suffix}", "\n".join(lines))))


@pytest.mark.parametrize("kind", ["<f8", "<f4", ">f8", "<f2"])
def test_npy(write, kind):
    array = np.array([[1, -2.5, 0], [0.25, 4, 8]], kind)
    check(read_latents(write("q.npy", npy(array))), rows=array.tolist())
    check(read_latents(write("t.npy", npy(np.asfortranarray(array)))), rows=array.tolist())
    whole = array.astype("<i4")
    check(read_latents(write("i.npy", npy(whole))), rows=whole.tolist())


def test_odd_names_of_files(write, tmp_path):
    for name in ("a b.csv", "50%25.csv", "[1]*.csv", "é#?.csv", "v1.parquet.csv"):
        check(read_latents(write(name, "z0\n1\n")), "0", [[1.0]])
    check(read_latents(f"file://{tmp_path}/a b.csv"), "0", [[1.0]])


# ---- ids


@pytest.mark.parametrize(
    "ids",
    [
        ["007", "7"],
        ["NA", "null"],
        ["1e3", "1000"],
        ["true", "nan"],
        ["2020-01-01", "2020-01-01 00:00:00"],
        ["2020-01-01T10:00:00Z", "2020-01-02T10:00:00Z"],
        ["日本", "👕"],
        ["a,b", 'say "z"'],
    ],
)
def test_ids_are_kept_letter_by_letter(write, ids):
    quoted = ['"' + name.replace('"', '""') + '"' for name in ids]
    check(
        read_latents(write("q.csv", f"z0,query_id\n1,{quoted[0]}\n2,{quoted[1]}")), ids, [[1], [2]]
    )
    if not any(letter in "".join(ids) for letter in ',"'):
        text = f"query_id,z0\n{ids[0]},1\n{ids[1]},2"
        check(read_latents(write("plain.csv", text)), ids, [[1], [2]])
    lines = [json.dumps({"query_id": name, "z": [i]}) for i, name in enumerate(ids)]
    check(read_latents(write("q.jsonl", "\n".join(lines))), ids, [[0], [1]])
    table = pa.table({"query_id": ids, "z": lists([[0], [1]])})
    check(read_latents(write("q.parquet", table)), ids, [[0], [1]])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7, 12]),
        pa.array(["7", "12"]).dictionary_encode(),
        pa.array(["7", "12"], pa.large_string()),
        pa.array([b"7", b"12"]),
    ],
)
def test_ids_of_other_types_become_text(write, column):
    table = pa.table({"query_id": column, "z": lists(ROWS)})
    check(read_latents(write("q.parquet", table)), ["7", "12"])


def test_whole_numbers_as_ids_in_json(write):
    lines = '{"query_id": 7, "z": [1]}\n{"query_id": 12, "z": [2]}'
    check(read_latents(write("q.jsonl", lines)), ["7", "12"], [[1], [2]])


def test_ids_that_stand_twice(write):
    path = write("q.csv", "query_id,z0\na,1\nb,2\na,3\n")
    assert refusal(path) == "query_id 'a' occurs more than once; expected unique ids."


def test_ids_that_are_missing(write):
    assert "query_id is null in 1 rows." in refusal(write("q.csv", "query_id,z0\n,1\nb,2\n"))
    lines = '{"query_id": "a", "z": [1]}\n{"z": [2]}\n{"z": [3]}'
    path = write("q.jsonl", lines)
    assert refusal(path) == f"queries {path}: query_id is null in 2 rows."


# ---- vectors that are none


@pytest.mark.parametrize(("value", "shown"), [(np.inf, "inf"), (-np.inf, "-inf")])
def test_numbers_that_are_not_finite(write, value, shown):
    message = f"query 'b' has {shown} in dimension 1; expected finite numbers only."
    rows = [[1.0, 2.0], [1.0, value]]
    ids = ["a", "b"]
    table = pa.table({"query_id": ids, "z": lists(rows)})
    assert refusal(write("q.parquet", table)) == message
    table = pa.table({"query_id": ids, "z0": [1.0, 1.0], "z1": pa.array([2.0, value])})
    assert refusal(write("n.parquet", table)) == message
    text = f"query_id,z0,z1\na,1,2\nb,1,{value}\n"
    assert refusal(write("q.csv", text)) == message
    found = refusal(write("q.npy", npy(np.array(rows))))
    assert found == message.replace("'b'", "'1'")


def check_open(latents, rows=((1.0, 2.0), (1.0, np.nan))):
    np.testing.assert_array_equal(latents.z, rows)
    assert latents.has_open == bool(np.isnan(rows).any())
    np.testing.assert_array_equal(latents.is_open, np.isnan(rows))


@pytest.mark.parametrize("value", [np.nan, None])
def test_dimensions_that_are_left_open(write, value):
    rows = [[1.0, 2.0], [1.0, value]]
    check_open(read_latents(write("q.parquet", pa.table({"z": lists(rows)}))))
    table = pa.table({"z0": [1.0, 1.0], "z1": pa.array([2.0, value])})
    check_open(read_latents(write("n.parquet", table)))
    for text in ("", "NaN", "nan") if value is not None else ("", " "):
        check_open(read_latents(write("q.csv", f"z0,z1\n1,2\n1,{text}\n")))
    lines = '{"z": [1, 2]}\n{"z": [1, ' + ("null" if value is None else "NaN") + "]}"
    check_open(read_latents(write("q.jsonl", lines)))
    for text in ("1,", "1,*", "[1, null]", "[1. nan]", "[1, None]"):
        check_open(read_latents(write("q.csv", f'z\n"1,2"\n"{text}"\n')))
    check_open(read_latents(write("q.npy", npy(np.array(rows, float)))))
    for text in ("1,", "1,*", " 1 , ", "[1,*]", "1,nan"):
        check_open(parse_z(["1,2", text]))
    check_open(parse_z(["1,2", "1,3"]).leaving_open([1]), ((1.0, np.nan), (1.0, np.nan)))


def test_dimensions_that_cannot_be_left_open():
    with pytest.raises(InputError, match=r"^query '0' leaves every dimension open; expected a fin"):
        parse_z(["*,"])
    points = parse_z(["1,2,3"])
    with pytest.raises(InputError, match=r"^there is no dimension 3; expected 0 to 2\.$"):
        points.leaving_open([0, 3])
    with pytest.raises(InputError, match=r"^there is no dimension -1; expected 0 to 2\.$"):
        points.leaving_open([-1])
    gaussian = from_rows([[0.0]], None, [[0.0]])
    with pytest.raises(InputError, match="these are Gaussians"):
        gaussian.leaving_open([0])
    points.check_closed()
    with pytest.raises(InputError, match=r"^query '0' leaves dimension 1 open; a picture needs"):
        points.leaving_open([1, 2]).check_closed()


def test_numbers_too_large_for_float64(write):
    assert "query '0' has inf in dimension 1" in refusal(write("q.csv", "z0,z1\n1,1e999\n"))
    with pytest.raises(InputError, match="query '0' has -inf in dimension 0"):
        parse_z(["-1e999"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [1.0]], "query '1' has 1 dimensions, but query '0' has 2; all need the same"),
        ([[1.0], [1.0], []], r"query '2' has shape (0,); expected (n,), a list of n numbers."),
        ([[1.0], None], "query '1' is null; expected a list of numbers."),
    ],
)
def test_ragged_empty_and_missing_vectors(write, rows, message):
    assert message in refusal(write("q.parquet", pa.table({"z": lists(rows)})))
    lines = "\n".join(json.dumps({"z": row}) for row in rows)
    assert message in refusal(write("q.jsonl", lines))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", "z0,z1\n1,x\n", "have z1 = 'x' in row 0; expected a number."),
        ("q.csv", "z0\n1\nNA\n", "have z0 = 'NA' in row 1; expected a number."),
        ("q.csv", "z0\n2020-01-01\n", "have z0 = '2020-01-01' in row 0; expected a number."),
        ("q.csv", "z\n1 a\n", "z is '1 a' in row 0; expected numbers with commas between"),
        ("q.jsonl", '{"z": [[1], [2]]}', "query '0' has shape (2, 1); expected (n,)"),
        ("q.jsonl", '{"z": {"a": 1}}', "query '0' is {'a': '1'}; expected a list of numbers."),
        ("q.jsonl", '{"z": ["a"]}', "query '0' is ['a']; expected a list of numbers."),
    ],
)
def test_vectors_that_are_no_numbers(write, name, content, message):
    assert message in refusal(write(name, content))


def test_from_rows():
    check(from_rows(ROWS))
    check(from_rows(np.array(ROWS), ids=["a", "b"]), ["a", "b"])
    with pytest.raises(InputError, match=r"^there are no queries; expected at least one z vector"):
        from_rows([])


# ---- files that are none


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", "z0,z1\n"),
        ("q.parquet", pa.table({"z": lists([])})),
        ("q.parquet", pa.table({"z0": pa.array([], pa.float64())})),
        ("q.npy", npy(np.empty((0, 3)))),
    ],
)
def test_no_rows(write, name, content):
    assert refusal(write(name, content)) == (
        "there are no queries; expected at least one z vector."
    )


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("q.csv", b"z0,z1\n1\n", "line 2 has 1 fields and the first line 2; expected as many"),
        ("q.csv", b'z0,z1\n1,"2\n', "line 2: unexpected end of data"),
        ("q.csv", "query_id,z0\né,1\n".encode("latin1"), "line 2 is not UTF-8; expected text"),
        ("q.jsonl", b'{"z": [1, 2}\n', "line 1 is not JSON .*; expected objects such as"),
        ("q.jsonl", b'{"z": [1]}\n{"z": [2]\n', "line 2 is not JSON .*, one a line, or a list"),
        ("q.json", b'[\n{"z": [1]},\n{"z": [2}]\n', "line 3 is not JSON"),
        ("q.parquet", b"", "Parquet"),
        ("q.parquet", b"PAR1 and then something else", "Parquet"),
        ("q.npy", b"", "expected 8 bytes got 0"),
        ("q.npy", npy(np.eye(50))[:500], "Failed to read all data|bytes|cannot reshape"),
        ("q.npy", b"1,2\n3,4,5\n", "magic string is not correct"),
    ],
)
def test_damaged_files(write, name, content, why):
    path = write(name, content)
    found = refusal(path)
    assert found.startswith(f"queries {path} cannot be read: ") and re.search(why, found), found


class Hostile:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle was run')",)


def test_pickles_are_refused_unread(write):
    objects = npy(np.array([[Hostile()]], dtype=object))
    found = refusal(write("objects.npy", objects))
    assert "cannot be read: Object arrays cannot be loaded when allow_pickle=False" in found
    found = refusal(write("pickle.npy", pickle.dumps(Hostile())))
    assert "cannot be read: the magic string is not correct" in found


def test_an_npz_archive_is_not_an_array(write):
    stream = io.BytesIO()
    np.savez(stream, z=np.eye(3))
    assert "the magic string is not correct" in refusal(write("q.npy", stream.getvalue()))


def test_a_header_that_promises_petabytes(write):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    content = b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n"
    assert "cannot be read: Unable to allocate" in refusal(write("q.npy", content))


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.ones(3), "shape (3,) and type float64"),
        (np.ones((2, 3, 4)), "shape (2, 3, 4) and type float64"),
        (np.float64(1), "shape () and type float64"),
        (np.ones((2, 3), complex), "shape (2, 3) and type complex128"),
        (np.array([["1"]]), "shape (1, 1) and type <U1"),
        (np.ones((2, 3), bool), "shape (2, 3) and type bool"),
    ],
)
def test_arrays_of_another_kind(write, array, found):
    path = write("q.npy", npy(array))
    assert refusal(path) == (
        f"queries {path} hold an array of {found}; expected numbers of shape (Q, n)."
    )


def test_no_such_file(tmp_path):
    path = str(tmp_path / "none.csv")
    assert refusal(path) == (
        f"queries {path} do not exist; expected a file: Parquet (.parquet), CSV (.csv), "
        "JSON lines (.jsonl, .ndjson, .json) or NumPy (.npy)."
    )


@pytest.mark.parametrize(
    "header",
    ["x,y", "z1,z2,z4", "z0,z_0", "z-0,z-1", "zz0", "query_id,x"],
)
def test_columns_of_other_names_are_listed(write, header):
    path = write("q.csv", header + "\n" + ",".join("1" for _ in header.split(",")))
    assert refusal(path) == (
        f"queries {path} have the columns {', '.join(header.split(','))}; expected z, a list of "
        "numbers, or z0, z1, …, one column per dimension; or mu and log_var in the same way, for "
        "Gaussians."
    )


# ---- Gaussians

LOG_VARS = [[-1.0, 0.5, -27.5], [0.0, 2.0, 13.0]]


def check_gaussians(latents, ids=("0", "1"), rows=ROWS, log_vars=LOG_VARS):
    check(latents, ids, rows)
    assert latents.is_gaussian
    assert latents.log_var.dtype == np.float64 and latents.log_var.tolist() == log_vars


def spread(stem, rows):
    return {f"{stem}{dim}": list(column) for dim, column in enumerate(zip(*rows, strict=True))}


@pytest.mark.parametrize(
    "columns",
    [
        {"mu": lists(ROWS), "log_var": lists(LOG_VARS)},
        {"log_var": lists(LOG_VARS, 3), "other": [1, 2], "mu": lists(ROWS, 3)},
        {"item_id": ["x", "y"], "mu": lists(ROWS), "log_var": lists(LOG_VARS)},  # posteriors
        {**spread("mu", ROWS), **spread("log_var", LOG_VARS)},
        dict(reversed([*spread("mu_", ROWS).items(), *spread("log_var_", LOG_VARS).items()])),
        {"mu": lists(ROWS), **spread("log_var", LOG_VARS)},
        {"mu": lists(ROWS), "log_var": lists(LOG_VARS), "log_sigma": lists(ROWS), "mu0": [9, 9]},
        {
            f"{stem}{dim + 1}": [row[dim] for row in rows]
            for dim in range(3)
            for stem, rows in (("mu", ROWS), ("log_var", LOG_VARS))
        },
    ],
)
def test_gaussians_in_parquet(write, columns):
    check_gaussians(read_latents(write("q.parquet", pa.table(columns))))
    table = pa.table({"query_id": ["é 1", "b"], **columns})
    check_gaussians(read_latents(write("named.parquet", table)), ["é 1", "b"])


def test_gaussians_in_csv_and_json_lines(write):
    header = "query_id,mu0,mu1,mu2,log_var0,log_var1,log_var2"
    body = "a,1,-2.5,0,-1,0.5,-27.5\nb,0.25,4,-1e-3,0,2,13\n"
    check_gaussians(read_latents(write("q.csv", f"{header}\n{body}")), ["a", "b"])
    records = [{"mu": m, "log_var": lv} for m, lv in zip(ROWS, LOG_VARS, strict=True)]
    lines = "\n".join(map(json.dumps, records))
    check_gaussians(read_latents(write("q.jsonl", lines)))


def test_gaussians_in_float32_are_taken_as_stored(write):
    stored = np.float32(np.array(LOG_VARS) / 3)
    single = {"mu": lists(ROWS), "log_var": lists(stored.tolist(), number=pa.float32())}
    found = read_latents(write("q.parquet", pa.table(single)))
    check_gaussians(found, log_vars=stored.astype(float).tolist())


def test_points_are_no_gaussians(write):
    for latents in (
        read_latents(write("q.csv", "z0\n1\n2\n")),
        read_latents(write("q.npy", npy(np.array([[1.0], [2.0]])))),
        parse_z(["1", "2"]),
        from_rows([[1.0], [2.0]]),
        # Columns of other names do not make them Gaussians.
        read_latents(
            write("q.parquet", pa.table({"z0": [1.0, 2.0], "mu_x": [1, 2], "mux": [1, 2]}))
        ),
    ):
        check(latents, rows=[[1.0], [2.0]])
        assert latents.log_var is None and not latents.is_gaussian


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "z0,mu0,log_var0",
            "have both z and mu; expected z alone for points, or mu and log_var alone for "
            "Gaussians: take out or rename the rest.",
        ),
        ("z0,mu0", "have both z and mu; expected z alone for points"),
        ("mu,z", "have both z and mu; expected z alone for points"),
        ("z0,log_var0", "have both z and log_var; expected z alone for points"),
        (
            "mu0,mu1",
            "have mu but no log_var; expected both for Gaussian queries: add log_var = log sigma², "
            "or name the column z if points are meant.",
        ),
        ("mu", "have mu but no log_var; expected both for Gaussian queries"),
        (
            "log_var0,x",
            "have log_var but no mu; expected both for Gaussian queries: add the means as mu.",
        ),
        ("log_var,log_sigma", "have log_var but no mu; expected both"),
        (
            "mu0,log_sigma0",
            "have mu and log_sigma but no log_var; expected log_var = 2·log_sigma: write that "
            "instead.",
        ),
        ("mu,log_sigma", "have mu and log_sigma but no log_var; expected log_var = 2·log_sigma"),
        (
            "mu0,mu1,log_var0,log_var2",
            "have the columns mu0, mu1, log_var0, log_var2; expected log_var, a list of numbers, "
            "or log_var0, log_var1, …, one column per dimension.",
        ),
        ("mu0,mu2,log_var0", "have the columns mu0, mu2, log_var0; expected mu, a list of numbers"),
    ],
)
def test_columns_that_are_not_those_of_gaussians(write, header, message):
    path = write("q.csv", header + "\n" + ",".join("1" for _ in header.split(",")))
    found = refusal(path)
    assert found.startswith(f"queries {path} {message}")
    assert found.endswith(".") and len(found.split(". ")) == 1


@pytest.mark.parametrize(
    ("mu", "log_var", "message"),
    [
        (
            [[1.0, 2.0]] * 2,
            [[1.0]] * 2,
            "the queries' mu have shape (2, 2) and their log_var (2, 1); expected the same shape "
            "(Q, n) for both.",
        ),
        (
            [[1.0, 2.0], [1.0]],
            [[1.0, 2.0], [1.0]],
            "mu of query 'b' has 1 dimensions, but mu of query 'a' has 2; all need the same "
            "number.",
        ),
        (
            [[1.0]] * 2,
            [[1.0], [1.0, 2.0]],
            "log_var of query 'b' has 2 dimensions, but log_var of query 'a' has 1; all need the "
            "same number.",
        ),
        (
            [[1.0]] * 2,
            [[1.0], None],
            "log_var of query 'b' is null; expected a list of numbers.",
        ),
        (
            [[], [1.0]],
            [[1.0]] * 2,
            "mu of query 'a' has shape (0,); expected (n,), a list of n numbers.",
        ),
        (
            [[1.0, 2.0], [1.0, None]],
            [[1.0, 2.0]] * 2,
            "query 'b' has mu = nan in dimension 1; expected finite numbers only.",
        ),
        (
            [[1.0, 2.0]] * 2,
            [[1.0, -np.inf], [1.0, 2.0]],
            "query 'a' has log_var = -inf in dimension 1; expected finite numbers only.",
        ),
    ],
)
def test_gaussians_that_are_none(write, mu, log_var, message):
    table = pa.table({"query_id": ["a", "b"], "mu": lists(mu), "log_var": lists(log_var)})
    assert refusal(write("q.parquet", table)) == message


def test_gaussians_that_are_no_numbers(write):
    text = "mu0,log_var0\n1,2\n1,x\n"
    path = write("q.csv", text)
    assert refusal(path) == f"queries {path} have log_var0 = 'x' in row 1; expected a number."


def test_from_rows_of_gaussians():
    check_gaussians(from_rows(ROWS, log_vars=LOG_VARS))
    check_gaussians(from_rows(np.array(ROWS), ["a", "b"], np.array(LOG_VARS)), ["a", "b"])
    message = "there are 2 mu and 1 log_var; expected one of each per query."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        from_rows(ROWS, log_vars=LOG_VARS[:1])
    with pytest.raises(InputError, match=r"^there are no queries"):
        from_rows([], log_vars=[])


def test_gaussians_made_directly_are_checked():
    message = "the queries' mu have shape (1, 2) and their log_var (1, 3); expected the same shape"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Latents(("a",), np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(InputError, match=r"^query 'a' has log_var = nan in dimension 1; expected"):
        Latents(("a",), np.zeros((1, 2)), np.array([[0.0, np.nan]]))


# ---- some of the queries


@pytest.mark.parametrize(
    ("indices", "places"),
    [
        ([2, 0], [2, 0]),
        (slice(1, None), [1, 2]),
        (slice(0, 100), [0, 1, 2]),
        (np.array([1]), [1]),
        (range(1, 3), [1, 2]),
        ([-1], [2]),
        (np.array([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
    ],
)
def test_subset(indices, places):
    z, log_var = np.arange(6.0).reshape(3, 2), -np.arange(6.0).reshape(3, 2)
    ids = [["a", "b", "c"][place] for place in places]
    points = Latents(("a", "b", "c"), z).subset(indices)
    check(points, ids, z[places].tolist())
    assert not points.is_gaussian
    gaussians = Latents(("a", "b", "c"), z, log_var).subset(indices)
    check_gaussians(gaussians, ids, z[places].tolist(), log_var[places].tolist())


def test_subsets_that_are_none():
    latents = Latents(("a", "b"), np.zeros((2, 3)))
    for nothing in ([], slice(2, None)):
        with pytest.raises(InputError, match=r"^there are no queries; expected at least one"):
            latents.subset(nothing)
    with pytest.raises(InputError, match=r"^query_id 'b' occurs more than once; expected unique"):
        latents.subset([1, 1])
    with pytest.raises(IndexError):
        latents.subset([2])


# ---- typed by a person


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("0.1,-2,0", [0.1, -2, 0]),
        (" 0.1 , -2 ,0 ", [0.1, -2, 0]),
        ("[0.1, -2, 0]", [0.1, -2, 0]),
        ("(0.1,-2,0)", [0.1, -2, 0]),
        ("-1", [-1]),
        ("+.5,1e-3,-.5", [0.5, 1e-3, -0.5]),
    ],
)
def test_parse_z(text, row):
    check(parse_z([text]), "0", [row])
    check(parse_z([text, text]), rows=[row, row])


@pytest.mark.parametrize("text", ["a", "1_0,2", "1 2", "1;2", "1,2e", "0.1,-2,zero"])
def test_parse_z_says_what_it_could_not_read(text):
    message = f"z is {text!r}; expected numbers with commas between, such as 0.1,-2,0, and "
    message += "nothing or * for a dimension that is left open."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        parse_z(["1,2", text])


def test_parse_z_of_different_lengths_and_of_nothing():
    with pytest.raises(InputError, match=r"^query '1' has 1 dimensions, but query '0' has 2;"):
        parse_z(["1,2", "3"])
    with pytest.raises(InputError, match=r"^there are no queries"):
        parse_z([])


# ---- checks


def test_latent_dim_is_checked_against_the_posteriors():
    latents = Latents(("first", "second"), np.zeros((2, 3)))
    latents.check_latent_dim(3)
    message = "query 'first' has 3 dimensions, but the posteriors have latent_dim 10."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        latents.check_latent_dim(10)


def test_the_bound_is_inclusive_and_names_the_first_outside():
    latents = Latents(("a", "b", "c"), np.array([[5.0, -5.0], [0.0, -5.25], [6.0, 7.0]]))
    latents.check_bound(7.0)
    message = (
        "query 'b' has z = -5.25 in dimension 1, outside [-5, 5] (2 such queries of 3); "
        "mend them, or raise --z-bound."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        latents.check_bound(5)


def test_the_bound_is_on_the_means_of_gaussians():
    latents = Latents(("a", "b"), np.array([[5.0], [-5.25]]), np.array([[-27.0], [12.0]]))
    latents.check_bound(6.0)
    message = (
        "query 'b' has mu = -5.25 in dimension 0, outside [-5, 5] (1 such queries of 2); "
        "mend them, or raise --z-bound."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        latents.check_bound(5)


@pytest.mark.parametrize("bound", [0, -1.5, np.nan])
def test_a_bound_that_is_none(bound):
    with pytest.raises(InputError, match=rf"^z-bound is {bound}; expected more than 0\.$"):
        Latents(("a",), np.zeros((1, 2))).check_bound(bound)
