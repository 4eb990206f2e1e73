"""Names that clusters are given."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from vaeudf.clustering.description.found import Telling
from vaeudf.clustering.description.names import suggested_names


def telling(value, column="category", share=0.5, g=100.0):
    return Telling(
        value=value, column=column, share=share, g=g, count=10, share_of_all=0.1, lift=share / 0.1
    )


DRESS, RED = telling("dress"), telling("red", "colour", share=0.4)


def names_of(*tellings, numbers=None):
    return suggested_names(tellings, range(len(tellings)) if numbers is None else numbers)


def test_one_or_two_values():
    skirt = telling("skirt", share=0.3)
    assert names_of([DRESS, skirt, RED], [RED], [skirt, DRESS], []) == [
        "dress, red",
        "red",
        "skirt",
        None,
    ]


def test_values_that_name_nothing():
    rare, chance = telling("sequins", share=0.24), telling("dress", g=10.0)
    assert names_of([rare, chance], [rare, RED]) == [None, "red"]


def test_numbers_and_truth_values_say_of_what():
    values = [
        telling(True, "sale"),
        telling(42, "size"),
        telling("", "note"),
        telling(False, "new"),
    ]
    assert names_of(*([value] for value in values)) == [
        "sale yes",
        "size 42",
        "note empty",
        "new no",
    ]


def test_clusters_of_the_same_values_get_more_of_them_or_their_numbers():
    wool = telling("wool", "cloth", share=0.3)
    assert names_of([DRESS, RED], [DRESS, RED, wool], [DRESS, RED]) == [
        "dress, red (0)",
        "dress, red, wool",
        "dress, red (2)",
    ]
    assert names_of([DRESS], [DRESS], numbers=[7, 12]) == ["dress (7)", "dress (12)"]


def test_a_value_that_looks_like_a_number_of_ours():
    names = names_of([telling("dress")], [telling("dress")], [telling("dress (0)")])
    assert names[:2] == ["dress (0)", "dress (1)"] and len({*names}) == 3


def test_long_values_and_lines():
    [name] = names_of([telling("x" * 90), telling("two\nlines", "text")])
    assert name == "x" * 39 + "…, two lines"


@given(st.lists(st.lists(st.sampled_from([*string.ascii_lowercase[:3], "a (1)"]), max_size=4)))
def test_no_two_are_the_same(values):
    tellings = [[telling(v, column=f"c{v}") for v in own] for own in values]
    names = [name for name in names_of(*tellings) if name is not None]
    assert len(set(names)) == len(names)
