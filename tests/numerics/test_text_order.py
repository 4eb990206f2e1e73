"""The order of texts by code point, against Python's own sort of their UTF-8."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeudf.numerics.text_order import text_order

TEXTS = st.lists(
    st.text(st.sampled_from("ab\0é\ud7ff\ue000\uffff😀"), max_size=20).map(lambda t: t * 3)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
)


def by_python(texts: list[str]) -> list[int]:
    return sorted(range(len(texts)), key=lambda row: texts[row].encode())


@given(TEXTS, st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_any_texts(texts, kind, cut):
    every = pa.array([*["x"] * cut, *texts, "y"], kind)
    assert text_order(every.slice(cut, len(texts))).tolist() == by_python(texts)


def test_texts_that_differ_behind_a_long_beginning():
    texts = [f"catalog/of/many/photos/{number:012d}.jpg" for number in (3, 10**11, 2, 2, 999, 0)]
    assert text_order(pa.array(texts)).tolist() == [5, 2, 3, 0, 4, 1]


def test_one_that_goes_on_with_zeros_comes_after_one_that_ends():
    texts = ["a\0\0", "a", "a\0", "a\0\0", "a"]
    assert text_order(pa.array(texts)).tolist() == [1, 4, 2, 0, 3]


def test_no_texts():
    assert text_order(pa.array([], pa.string())).tolist() == []


def test_null_has_no_place():
    with pytest.raises(ValueError, match="a text is null"):
        text_order(pa.array(["a", None]))
