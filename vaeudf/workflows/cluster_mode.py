"""Options of a job whose driver runs on the cluster, where the files of this machine are not."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from vaeudf.errors import InputError
from vaeudf.workflows.cli import flag_of, path_options

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def options_there(options: Any) -> dict[str, Any]:
    """Return a job's options as they are on the cluster, by name; JSON keeps them as they are.

    Args:
        options: A job's options.

    Raises:
        InputError: One names a path that only this machine may have.
    """
    values = dataclasses.asdict(options)
    for name in path_options(type(options)):
        value = values[name]
        if isinstance(value, list):
            values[name] = [_there(name, one) for one in value]
        elif value is not None:
            values[name] = _there(name, value)
    return values


def _there(name: str, value: str) -> str:
    if value.startswith("file:"):
        return re.sub(r"^file:(//)?(?=/)", "", value)
    # Another version of the table, and a factory in a module that the cluster's Python has.
    is_number = name == "compare" and value.lstrip("-").isdigit()
    is_module = name == "factory" and ".py:" not in value
    if is_number or is_module or _URI.match(value):
        return value
    raise InputError(
        f"{flag_of(name)} is {value}, a path on this machine, which the driver on the cluster does "
        "not see; name it by the URI of a store, such as hdfs:///path, or as file:///path where "
        "every machine has it at the same place."
    )
