"""Conditions on what an inspection finds, under which a job is to fail."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vaeudf.errors import InputError

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*")
_EXAMPLE = '"hubs.taus.0.shares.prior > 0.1"'
_NUM_SUGGESTIONS = 3


@dataclass(frozen=True)
class Condition:
    """A number of ``health.json`` compared with a limit.

    Attributes:
        path: Where it is: keys and places in lists, from 0, with dots between. A list that a path
            ends at stands for how many entries it has.
        comparison: One of > >= < <= == !=.
        limit: What it is compared with.
        option: Of a job, that states it.
    """

    path: str
    comparison: str
    limit: float
    option: str

    @classmethod
    def parse(cls, text: str, option: str, where: str | None = None) -> Condition:
        """Return the condition that a text states, such as ``quarantine.items > 100``.

        Args:
            text: The text.
            option: Of a job, that states it.
            where: What to call its place in a message; the option, if there is no more to say.

        Raises:
            InputError: It states none.
        """
        found = _CONDITION.fullmatch(text)
        if found is not None:
            path, comparison, number = found.groups()
            try:
                limit = float(number)
            except ValueError:
                limit = math.nan
            if math.isfinite(limit):
                return cls(path, comparison, limit, option)
        raise InputError(
            f"{where or option} is {text!r}; expected a number of health.json, one of "
            f"{' '.join(_COMPARISONS)}, and a limit, such as {_EXAMPLE}."
        )

    def reason_in(self, record: dict[str, Any]) -> str | None:
        """Return why the job is to fail, given what it has found; None if it is not to.

        A number that is null fails, too: nobody knows whether it is within the limit.

        Args:
            record: What ``health.json`` holds.

        Raises:
            InputError: There is no such number.
        """
        value = self._value_in(record)
        if value is None:
            return f"{self.path} is not known here (--{self.option} '{self}')."
        if _COMPARISONS[self.comparison](value, self.limit):
            return f"{self.path} is {value:g} (--{self.option} '{self}')."
        return None

    def __str__(self) -> str:
        return f"{self.path} {self.comparison} {self.limit:g}"

    def _value_in(self, record: dict[str, Any]) -> float | None:
        with suppress(KeyError):
            found = _at(record, self.path)
            if isinstance(found, list):
                return float(len(found))
            if found is None or isinstance(found, (int, float)):
                return found
        near = difflib.get_close_matches(self.path, _numbers(record), _NUM_SUGGESTIONS, cutoff=0.0)
        raise InputError(
            f"{self.option} names {self.path}, which is no number of this health.json. The most "
            f"alike are {', '.join(near)}."
        )


def _at(value: Any, path: str) -> Any:
    """Return what is at a path, or raise KeyError; keys may have dots, as quantiles have."""
    if isinstance(value, list):
        value = {str(place): entry for place, entry in enumerate(value)}
    if not isinstance(value, dict):
        raise KeyError(path)
    if path in value:
        return value[path]
    for key in value:
        if path.startswith(f"{key}."):
            return _at(value[key], path[len(key) + 1 :])
    raise KeyError(path)


def _numbers(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all numbers, and of all lists."""
    entries: list[tuple[str, Any]] = []
    if isinstance(value, list):
        entries = [(str(place), entry) for place, entry in enumerate(value)]
        if path:
            yield path
    elif isinstance(value, dict):
        entries = list(value.items())
    elif path and not isinstance(value, str):
        yield path
    for key, entry in entries:
        yield from _numbers(entry, f"{path}.{key}" if path else key)
