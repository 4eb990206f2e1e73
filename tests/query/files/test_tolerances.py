"""Columns of query files that say how precisely each z is meant."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.query.files import read_latents

NONE = np.nan


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_text(content)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z0,z1,tolerance\n1,2,0.2\n3,4,\n5,6,0\n", [[0.2] * 2, [NONE] * 2, [0, 0]]),
        ("z0;z1;tolerance\n1,5;2;0,2\n3;4;1e-3\n", [[0.2] * 2, [1e-3] * 2]),
        # Without decimals in z, a comma is one all the same: the file has no points.
        ("z0;z1;tolerance\n1;2;0,2\n", [[0.2] * 2]),
        ("z0,z1,tolerance0,tolerance1\n1,2,0.2,0.5\n3,4,,1\n", [[0.2, 0.5], [NONE, 1]]),
        ('z0,z1,tolerance\n1,2,"0.2,0.5"\n3,4,0.1\n5,6,\n', [[0.2, 0.5], [0.1] * 2, [NONE] * 2]),
        ('z,tolerance\n"1,2",0.2\n"3,4","0.5,*"\n', [[0.2] * 2, [0.5, NONE]]),
        ('z;tolerance\n"1,5;2";0,2\n"3;4";0,5\n', [[0.2] * 2, [0.5] * 2]),
        ('z;tolerance\n"1,5;2";"0,2;0,5"\n', [[0.2, 0.5]]),
        ("z,tolerance\n[1 2],[0.2 0.5]\n", [[0.2, 0.5]]),
    ],
)
def test_text(write, text, expected):
    np.testing.assert_array_equal(read_latents(write("q.csv", text)).tolerance, expected)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0.2, None], [[0.2] * 2, [NONE] * 2]),
        ([1, 0], [[1] * 2, [0] * 2]),
        (pa.array([[0.2, 0.5], None]), [[0.2, 0.5], [NONE] * 2]),
        (pa.array([[0.2, None], [0.1]]), [[0.2, NONE], [0.1] * 2]),
        (["0.2", "0.2, 0.5"], [[0.2] * 2, [0.2, 0.5]]),
    ],
)
def test_parquet(write, column, expected):
    table = pa.table({"z": [[1.0, 2.0], [3.0, None]], "tolerance": column, "other": ["a", "b"]})
    found = read_latents(write("q.parquet", table))
    np.testing.assert_array_equal(found.tolerance, expected)
    np.testing.assert_array_equal(found.z, [[1, 2], [3, NONE]])


def test_without_such_a_column_there_are_none(write):
    assert read_latents(write("q.csv", "z0,z1\n1,2\n")).tolerance is None


def test_json(write):
    text = '{"z": [1, 2], "tolerance": [0.5]}\n{"z": [3, 4], "tolerance": [0.1, 0.2]}\n'
    found = read_latents(write("q.jsonl", text)).tolerance
    np.testing.assert_array_equal(found, [[0.5, 0.5], [0.1, 0.2]])
    text = '{"z": [1, 2], "tolerance": 0.5}\n{"z": [3, 4]}\n'
    found = read_latents(write("p.jsonl", text)).tolerance
    np.testing.assert_array_equal(found, [[0.5, 0.5], [NONE, NONE]])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("z0,z1,tolerance\n1,2,-1\n", "query '0' has tolerance = -1; expected a finite number of "),
        ("z0,z1,tolerance\n1,2,inf\n", "query '0' has tolerance = inf; expected a finite number "),
        (
            "z0,z1,tolerance\n1,2,wide\n",
            "tolerance is 'wide' in row 0; expected numbers with commas",
        ),
        (
            'z0,z1,tolerance\n1,2,"1,2,3"\n',
            ": tolerance of query '0' has 3 numbers, but z has 2; expected one number, or one for "
            "each dimension.",
        ),
        (
            "mu0,log_var0,tolerance\n1,2,0.1\n",
            "have mu and tolerance; expected tolerance with points z alone: leave it out, and name "
            "one with --tolerance for all Gaussians.",
        ),
        (
            "z0,z1,tolerance0,tolerance1,tolerance2\n1,2,1,1,1\n",
            "have the columns tolerance0, tolerance1, tolerance2, but z has 2 dimensions; expected "
            "a column tolerance for all of them, or one for each.",
        ),
        ("z0,z1,tolerance0\n1,2,1\n", "have the columns tolerance0, but z has 2 dimensions;"),
        (
            "z0,z1,tolerance0,tolerance1,tolerance\n1,2,1,1,1\n",
            "have both tolerance and tolerance0; expected one column for all dimensions, or one",
        ),
    ],
)
def test_what_is_refused(write, text, why):
    with pytest.raises(InputError) as caught:
        read_latents(write("q.csv", text))
    assert why in str(caught.value)
