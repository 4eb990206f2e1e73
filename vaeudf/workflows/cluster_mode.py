"""Options of a job whose driver runs on the cluster, where the files of this machine are not."""

from __future__ import annotations

import dataclasses
from typing import Any

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute, is_local
from vaeudf.workflows.cli import flag_of, path_options

_EVERYWHERE = "as file:///path where every machine has it at the same place"


def options_there(options: Any) -> dict[str, Any]:
    """Return a job's options as they are on the cluster, by name; JSON keeps them as they are.

    Args:
        options: A job's options.

    Raises:
        InputError: One names a path that only this machine may have.
    """
    values = dataclasses.asdict(options)
    for name, local in path_options(type(options)).items():
        value = values[name]
        if isinstance(value, list):
            values[name] = [_there(name, one, local=local) for one in value]
        elif value is not None:
            values[name] = _there(name, value, local=local)
    return values


def _there(name: str, value: str, *, local: bool) -> str:
    # Another version of the table, and a factory in a module that the cluster's Python has.
    is_number = name == "compare" and value.lstrip("-").isdigit()
    is_module = name == "factory" and ".py:" not in value
    if is_number or is_module:
        return value
    if value.startswith("file:") and is_local(value):
        return absolute(value)
    in_store = not value.startswith("file:") and not is_local(value)
    if in_store and not local:
        return value
    found = f"{flag_of(name)} is {value}"
    if in_store:
        raise InputError(f"{found}, in a store; name it {_EVERYWHERE}.")
    by_uri = "" if local else "by the URI of a store, such as hdfs:///path, or "
    raise InputError(
        f"{found}, a path on this machine, which the driver on the cluster does not see; name it "
        f"{by_uri}{_EVERYWHERE}."
    )
