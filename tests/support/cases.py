"""Which cases of a test run by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def further_cases_slow(cases: Iterable[Any], by_default: Iterable[Any]) -> list[Any]:
    """Return the cases for parametrize: the others than those by default run among the slow tests.

    Args:
        cases: All cases.
        by_default: Some of them, which show of the test what the others show again.
    """
    chosen = list(by_default)
    assert all(case in list(cases) for case in chosen), "a case by default is none of the cases"
    slow = pytest.mark.slow
    return [case if case in chosen else pytest.param(case, marks=slow) for case in cases]
