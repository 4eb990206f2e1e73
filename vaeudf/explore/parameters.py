"""Reads what a request asks for from its address and its body."""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec
from starlette.requests import Request

from vaeudf.errors import InputError

Asked = TypeVar("Asked", bound=msgspec.Struct)
Value = TypeVar("Value", bound=str)

# Of what was given, in a message.
_MOST_SHOWN = 200


async def body(request: Request, kind: type[Asked]) -> Asked:
    """Return the body as a struct.

    Raises:
        InputError: It is not JSON, or does not fit.
    """
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(
            f"the request's body does not fit: {error}; see /api/openapi.json for what may be "
            "asked."
        ) from None


def text(request: Request, name: str) -> str:
    """Return a parameter of the address.

    Raises:
        InputError: It is not there, or not UTF-8.
    """
    found = request.query_params.get(name)
    if found is None:
        raise InputError(f"the address has no {name}; expected ?{name}=…")
    try:
        found.encode()
    except UnicodeError:
        raise InputError(f"{name} is not text in UTF-8.") from None
    return found


def numbers(request: Request, name: str, count: int) -> list[float]:
    """Return so many finite numbers, which stand in the address with commas between.

    Raises:
        InputError: There are others.
    """
    given = text(request, name)
    try:
        found = [float(part) for part in given.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        expected = "a finite number" if count == 1 else f"{count} finite numbers, with commas"
        raise InputError(f"{name} is {_shown(given)}; expected {expected}.")
    return found


def whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number of the address, or the default.

    Raises:
        InputError: It is none from ``least`` to ``most``.
    """
    given = request.query_params.get(name, str(default))
    is_number = given.isdecimal() and given.isascii() and len(given) < 10
    if not (is_number and least <= int(given) <= most):
        raise InputError(f"{name} is {_shown(given)}; expected a whole number, {least} to {most}.")
    return int(given)


def choice(request: Request, name: str, values: tuple[Value, ...]) -> Value:
    """Return the one of some values that the address names; without a name, the first.

    Raises:
        InputError: It names another one.
    """
    given = request.query_params.get(name, values[0])
    for value in values:
        if given == value:
            return value
    raise InputError(f"{name} is {_shown(given)}; expected {' or '.join(values)}.")


def is_of(request: Request, name: str, current: object) -> bool:
    """Whether the address names what it is of, so that it always means the same."""
    return current is not None and request.query_params.get(name) == str(current)


def _shown(given: str) -> str:
    return repr(given[:_MOST_SHOWN])
