"""Names of files for any id."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeudf.decoding.file_names import file_name

AWKWARD = [
    *("../x", "a/b", "a-b", "a b", "A", "a", "", " ", ".", "..", ".hidden", "x.", "-rf"),
    *(
        "é",
        "e\u0301",
        "衣服",
        "😀",
        "x" * 300,
        "x" * 299,
        "x" * 100,
        "con",
        "CON",
        "nul.txt",
        "a\nb",
    ),
    *("a\x00b", "a\\b", "C:\\x", "~", "$HOME", "#1", "%2e", "a?b", "\ud800", "image.png", "index"),
]


def check(names):
    found = [file_name(name) for name in names]
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) and len(name) <= 117
        assert not name.startswith("-") and not name.endswith(".")


def test_awkward_ids():
    check(AWKWARD)
    # What could be taken for the name of another.
    check(["A", file_name("A"), file_name(file_name("A")), "a"])


@pytest.mark.parametrize("name", ["0", "z3-00", "dress_0042.jpg", "a-b", "x" * 100])
def test_plain_ids_stay(name):
    assert file_name(name) == name


def test_what_is_plain_is_kept():
    assert re.fullmatch(r"dress-0042.jpg-[0-9a-f]{16}", file_name("dress/0042.jpg"))
    assert re.fullmatch(r"x-[0-9a-f]{16}", file_name("../x"))
    assert re.fullmatch(r"id-[0-9a-f]{16}", file_name(""))
    assert file_name("é") == file_name("é")


@given(st.lists(st.text(max_size=130), unique=True, max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_ids(names):
    check(names)
