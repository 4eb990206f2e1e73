"""What is refused, and in which words."""

from __future__ import annotations

import re

import msgspec
import pytest

from tests.support.loaded import ask, load
from vaeudf.errors import InputError
from vaeudf.explore.queries import SearchRequest, as_command

Z = [0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def loaded(population):
    return load(population.table)


REFUSED = {
    "nothing": ({}, "expected one of z and like, and one only."),
    "both": ({"z": Z, "like": ["x"]}, "expected one of z and like, and one only."),
    "dims": ({"z": [0.0]}, "1 dimensions"),
    "open": ({"z": [None] * 3}, "query '0' leaves every dimension open"),
    "open mean": ({"z": [0, 0, None], "query_log_var": Z}, "has mu = nan in dimension 2"),
    "spread": ({"z": Z, "query_log_var": [0.0]}, "(1, 3) and their log_var (1, 1)"),
    "spread of like": ({"like": ["x"], "query_log_var": Z}, "query_log_var goes with z"),
    "no item": ({"like": ["nobody"]}, "there is no item 'nobody' in the table"),
    "no item to be unlike": ({"z": Z, "unlike": ["nobody"]}, "there is no item 'nobody'"),
    "twice": ({"like": ["x", "y", "x"]}, "like names 'x' more than once"),
    "self": ({"z": Z, "exclude_self": True}, "exclude_self is for like and unlike"),
    "weight": ({"z": Z, "unlike_weight": 0.2}, "unlike_weight goes with unlike; name that, too."),
    "negative": ({"z": Z, "unlike": ["x"], "unlike_weight": -1}, "unlike_weight is -1; expected"),
    "tolerance": ({"z": Z, "tolerance": -0.1}, "tolerance is -0.1; expected a finite number"),
    "tolerances": ({"z": Z, "tolerance": [0.1]}, "tolerance has 1 numbers, but there are 3"),
    "score": ({"z": Z, "score": "cosine"}, "score is 'cosine'; expected one of log_likelihood"),
    "kl": ({"z": Z, "score": "kl"}, "kl"),
    "per": ({"z": Z, "per": "brand:0"}, "per is 'brand:0'; expected COLUMN or COLUMN:N"),
    "no column": ({"z": Z, "per": "nosuch"}, "per names 'nosuch', which is no payload column"),
    "columns": ({"z": Z, "columns": ["mu"]}, "columns names 'mu', which is no payload column"),
    "rules": ({"z": Z, "per": "brand", "distinct": 0.1}, "exclude each other"),
    "distinct": ({"z": Z, "distinct": 0}, "distinct is 0.0; expected a number of nats above 0."),
    "candidates": ({"z": Z, "candidates": 50}, "candidates goes with rerank"),
    "few": ({"z": Z, "rerank": "picture", "candidates": 3}, "candidates is 3, and k is 12"),
    "rerank open": ({"z": [0, 0, None], "rerank": "picture"}, "leaves dimension 2 open"),
    "where": ({"z": Z, "where": "stock >"}, "where is 'stock >', which is not a condition"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(loaded, name):
    request, message = REFUSED[name]
    with pytest.raises(InputError, match=re.escape(message)):
        ask(loaded, **request)


def test_a_blend_has_no_pictures_of_one_z(loaded):
    names = loaded.ids.to_pylist()
    with pytest.raises(InputError, match="rerank needs one z, but the question is a blend"):
        ask(loaded, like=names[:2], rerank="picture")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"z": [0], "K": 3}', "unknown field `K`"),
        ('{"z": [0], "k": 0}', "Expected `int` >= 1"),
        ('{"z": [0], "k": 201}', "Expected `int` <= 200"),
        ('{"z": []}', "Expected `array` of length >= 1"),
        ('{"z": ["0"]}', "Expected `float | null`, got `str`"),
        ('{"z": [0], "rerank": "sum"}', "Invalid enum value 'sum'"),
        ('{"like": []}', "Expected `array` of length >= 1"),
    ],
)
def test_no_such_request(text, message):
    with pytest.raises(msgspec.ValidationError, match=re.escape(message)):
        msgspec.json.decode(text, type=SearchRequest)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"z": [0.1, None, -2]}, "'--z=0.1,*,-2' --k 12"),
        ({"z": [1e-7, 0, 1e300]}, "--z=1e-07,0,1e+300 --k 12"),
        ({"z": [0], "tolerance": 0.25, "k": 3}, "--z=0 --k 3 --tolerance 0.25"),
        ({"z": [0], "tolerance": [0, 0.5]}, "--z=0 --k 12 --tolerance 0,0.5"),
        ({"like": ["a b", "--c"]}, "'--like=a b' --like=--c --blend --k 12"),
        (
            {"like": ["a"], "unlike": ["b"], "unlike_weight": 1, "exclude_self": True},
            "--like=a --unlike=b --unlike-weight 1 --exclude-self --k 12",
        ),
        (
            {"z": [0], "where": "a = 'x'", "per": "b:2", "columns": ["c d"]},
            """--z=0 --k 12 '--where=a = '"'"'x'"'"'' --per=b:2 '--columns=c d'""",
        ),
        (
            {"z": [0], "rerank": "picture", "candidates": 99, "distinct": 0.1},
            "--z=0 --k 12 --distinct=0.1 --rerank=picture --candidates=99",
        ),
    ],
)
def test_commands(request_, words):
    request = msgspec.convert(request_, SearchRequest)
    assert as_command(request, "t") == f"vaeudf query_topk --table t {words}"


def test_a_photos_command_writes_its_query_first():
    request = msgspec.convert({"z": [0.5, -1], "query_log_var": [-2, 0]}, SearchRequest)
    assert as_command(request, "t") == (
        """echo '{"mu": [0.5, -1.0], "log_var": [-2.0, 0.0]}' > query.jsonl && """
        "vaeudf query_topk --table t --queries query.jsonl --k 12"
    )
