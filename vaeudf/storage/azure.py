"""Azure's stores for pyarrow, with what the environment tells delta-rs.

By itself pyarrow takes neither a key nor a SAS token from the environment, and has no emulator.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import InputError
from vaeudf.storage.unanswered import Unanswered

SCHEMES = ("abfss", "abfs", "az", "azure")
_SUFFIX = "core.windows.net"
_SERVICES = ("blob", "dfs")
# abfss://container@account.dfs.core.windows.net, or the container alone.
_PLACE = re.compile(r"\w+://(?:([^@/]+)@([^./]+)\.(?:dfs|blob)\.([^/]+)|([^@/]+))")
# What Azure's library says of a network that fails, of an environment without credentials, and of
# credentials that nobody takes.
_UNANSWERED = "Fail to get a new connection"
_NOBODY = "DefaultAzureCredential"
_NO_TOKEN = "AuthenticationExceptionE: "
# The names of one setting, as delta-rs knows them.
_NAMES = {
    "account": ("AZURE_STORAGE_ACCOUNT_NAME",),
    "key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"),
    "sas": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    "client": ("AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID"),
    "secret": ("AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET"),
    "tenant": (
        *("AZURE_STORAGE_TENANT_ID", "AZURE_STORAGE_AUTHORITY_ID"),
        *("AZURE_TENANT_ID", "AZURE_AUTHORITY_ID"),
    ),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "emulator": ("AZURE_STORAGE_USE_EMULATOR",),
    "emulator_url": ("AZURITE_BLOB_STORAGE_URL",),
}
# What pyarrow takes as of a version that is newer than the oldest that vaeudf runs with.
_NEWER = {
    "sas_token": ("a SAS token", 20),
    "client_id": ("a client, its secret and tenant", 21),
}
# The account that every emulator has, with its key, which is no secret: Azurite's documentation.
_EMULATED = "devstoreaccount1"
_EMULATED_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def open_azure(uri: str) -> tuple[fs.AzureFileSystem, str]:
    """Return an account as a filesystem of pyarrow's, and the container; nothing is asked yet.

    Whoever one is comes from the first of these that the environment has: an account's key, a
    client with its secret and tenant, a SAS token; else from what Azure's library looks for itself
    (a managed identity, a workload's, that of the command az).

    Args:
        uri: The container alone, ``abfss://container@account.dfs.core.windows.net``, or
            ``abfss://container`` and ``az://container``, whose account the environment names.

    Raises:
        InputError: It names no account, or what the environment has is for delta-rs alone, or for
            a newer pyarrow.
    """
    place = _place(uri)
    emulated = _is_emulated()
    address = _emulator() if emulated else _address(uri, place)
    credentials = _credentials(uri, emulated)
    try:
        files = fs.AzureFileSystem(place.account, **address, **credentials)
    except TypeError:
        newer = next((_NEWER[name] for name in credentials if name in _NEWER), None)
        if newer is None:
            raise
        what, version = newer
        raise InputError(
            f"{uri} cannot be opened with {what}, which pyarrow {pa.__version__} does not take; "
            f"expected pyarrow {version} or newer. Install it, or name AZURE_STORAGE_ACCOUNT_KEY."
        ) from None
    return files, place.container


def for_hadoop(uri: str) -> str:
    """Return a container's URI as Hadoop's connector takes it, which wants the account to be in it.

    Args:
        uri: As :func:`open_azure` takes it.

    Raises:
        InputError: It names no account.
    """
    if "@" in uri:
        return uri
    place = _place(uri)
    return f"abfss://{place.container}@{place.account}.dfs.{place.suffix}"


class _Place(NamedTuple):
    container: str
    account: str
    suffix: str


def _place(uri: str) -> _Place:
    found = _PLACE.fullmatch(uri)
    if found is None:
        raise InputError(
            f"{uri} names no container of Azure's; expected "
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…"
        )
    account = found[2] or _setting("account") or (_EMULATED if _is_emulated() else None)
    if account is None:
        raise InputError(
            f"{uri} names no account of Azure's; expected "
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…, or AZURE_STORAGE_ACCOUNT_NAME in "
            "the environment."
        )
    return _Place(found[1] or found[4], account, found[3] or _SUFFIX)


def _is_emulated() -> bool:
    return (_setting("emulator") or "").lower() in ("1", "true", "on", "yes", "y", "t")


def ask_azure(uri: str) -> None:
    """Wait for any answer of the store, an error too: whoever opens a file later gets the same.

    Raises:
        Unanswered: There was none.
        InputError: Nobody says who one is, or as :func:`open_azure` does.
    """
    files, container = open_azure(uri)
    try:
        # Not the container itself: pyarrow ends the process where that is refused for want of a
        # token, as seen with version 26.
        files.get_file_info(f"{container}/vaeudf")
    except (OSError, pa.ArrowException) as error:
        cause = str(error).splitlines()[0]
        if _UNANSWERED in cause:
            raise Unanswered(cause[cause.index(_UNANSWERED) :]) from None
        if _NOBODY in cause:
            raise InputError(
                f"{uri} cannot be opened: Azure's library finds nothing that says who you are. "
                "Expected AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID with "
                "AZURE_CLIENT_SECRET and AZURE_TENANT_ID, or a managed identity."
            ) from None
        if _NO_TOKEN in cause:
            raise InputError(
                f"{uri} cannot be opened: Azure gives no token ({cause.rpartition(_NO_TOKEN)[2]}). "
                "Check AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID."
            ) from None


def _setting(name: str) -> str | None:
    values = (os.environ.get(variable) for variable in _NAMES[name])
    return next((value for value in values if value), None)


def _emulator() -> dict[str, str]:
    url = _setting("emulator_url") or "http://127.0.0.1:10000"
    scheme, _, authority = url.rstrip("/").rpartition("://")
    return {
        f"{service}_storage_{part}": value
        for service in _SERVICES
        for part, value in (("scheme", scheme), ("authority", authority))
    }


def _address(uri: str, place: _Place) -> dict[str, str]:
    """Return where both services of an account are; other clouds, and Fabric, have other ends."""
    url, account, suffix = _setting("endpoint"), place.account, place.suffix
    if url is not None:
        found = re.fullmatch(rf"https://{re.escape(account)}\.(?:blob|dfs)\.([^/]+)/*", url)
        if found is None:
            raise InputError(
                f"{uri} cannot be opened with AZURE_STORAGE_ENDPOINT {url}: delta-rs and pyarrow "
                f"take it for different addresses; expected https://{account}.blob.SUFFIX, or "
                "that the URI has the suffix and the environment no endpoint."
            )
        suffix = found[1]
    return {f"{service}_storage_authority": f".{service}.{suffix}" for service in _SERVICES}


def _credentials(uri: str, emulated: bool) -> dict[str, str]:
    key = _setting("key") or (_EMULATED_KEY if emulated else None)
    if key is not None:
        return {"account_key": key}
    client = {
        "client_id": _setting("client"),
        "client_secret": _setting("secret"),
        "tenant_id": _setting("tenant"),
    }
    known = {name: value for name, value in client.items() if value is not None}
    if len(known) == len(client):
        return known
    sas = _setting("sas")
    if sas is not None:
        return {"sas_token": "?" + sas.lstrip("?")}
    if os.environ.get("AZURE_STORAGE_TOKEN"):
        raise InputError(
            f"{uri} cannot be opened with AZURE_STORAGE_TOKEN, which pyarrow does not take; "
            "expected AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with "
            "AZURE_CLIENT_SECRET and AZURE_TENANT_ID."
        )
    return {}
