"""Which cases run by default, and that none is lost."""

from __future__ import annotations

import itertools

import pytest

from tests.support.cases import each_value_once, further_cases_slow


def test_each_value_is_in_a_case_by_default_and_no_combination_is_lost():
    axes = ("a", "xyz"), ("b,c", [(1, 2), (3, 4)]), ("d", [None])
    names, cases = each_value_once(*axes).args
    assert names == "a,b,c,d"
    every = [(a, *pair, None) for a, pair in itertools.product("xyz", [(1, 2), (3, 4)])]
    assert [case.values for case in cases] == every
    by_default = [case.values for case in cases if not case.marks]
    assert by_default == [("x", 1, 2, None), ("y", 3, 4, None), ("z", 1, 2, None)]


def test_further_cases_are_slow_and_those_by_default_are_among_them():
    cases = further_cases_slow([(1, 2), (3, 4)], [(3, 4)], several=True)
    assert [(case.values, bool(case.marks)) for case in cases] == [((1, 2), True), ((3, 4), False)]
    assert [case.values for case in further_cases_slow([(1, 2)], [(1, 2)])] == [((1, 2),)]
    for by_default in ([5], []):
        with pytest.raises(AssertionError, match="none of them"):
            further_cases_slow([1, 2], by_default)
