"""Which cases of a test run by default."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def further_cases_slow(
    cases: Iterable[Any], by_default: Iterable[Any], *, several: bool = False
) -> list[Any]:
    """Return the cases for parametrize: the others than those by default run among the slow tests.

    Args:
        cases: All cases.
        by_default: Some of them, which show of the test what the others show again.
        several: Whether a case is a tuple of the values of several arguments.
    """
    cases, chosen = list(cases), list(by_default)
    assert chosen and all(case in cases for case in chosen), "a case by default is none of them"
    return [
        pytest.param(
            *(case if several else (case,)), marks=() if case in chosen else pytest.mark.slow
        )
        for case in cases
    ]


def each_value_once(*axes: tuple[str, Iterable[Any]]) -> pytest.MarkDecorator:
    """Parametrize a test with all combinations, most of them among the slow tests.

    By default as few run as there are values of the longest axis, and each value of each axis is
    in one of them.

    Args:
        axes: The name of an argument, and its values; or several names with commas, and tuples.
    """
    names = [name.split(",") for name, _ in axes]
    values = [
        [tuple(value) if len(own) > 1 else (value,) for value in axis]
        for own, (_, axis) in zip(names, axes, strict=True)
    ]
    assert not any(hasattr(one, "marks") for axis in values for case in axis for one in case)
    longest = max(map(len, values))
    by_default = {tuple(place % len(axis) for axis in values) for place in range(longest)}
    cases = []
    for places in itertools.product(*(range(len(axis)) for axis in values)):
        case: list[Any] = []
        words: list[str] = []
        for own, axis, place in zip(names, values, places, strict=True):
            case += axis[place]
            words += (_word(name, place, one) for name, one in zip(own, axis[place], strict=True))
        marks = () if places in by_default else pytest.mark.slow
        cases.append(pytest.param(*case, marks=marks, id="-".join(words)))
    return pytest.mark.parametrize(",".join(itertools.chain(*names)), cases)


def _word(name: str, place: int, value: Any) -> str:
    """What stands for a value in a test's name, as where pytest chooses it."""
    if value is None or isinstance(value, str | int | float):
        return str(value)
    return getattr(value, "__name__", f"{name}{place}")
