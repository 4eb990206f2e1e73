"""Whether Google's Cloud Storage answers, which pyarrow's library asks again for minutes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import InputError
from vaeudf.storage.unanswered import Unanswered

SCHEMES = ("gs", "gcs")
# For which a request that fails is tried again.
_PATIENCE = timedelta(seconds=1)
# What the library says of a network that fails, and where it finds no proof of who somebody is.
_UNREACHABLE = "UNAVAILABLE"
_NOBODY = "Could not create a OAuth2 access token"


def ask_gcs(uri: str) -> None:
    """Wait for any answer of the store, an error too: whoever opens a file later gets the same.

    Args:
        uri: The bucket alone, such as ``gs://bucket`` or ``gs://anonymous@bucket``.

    Raises:
        Unanswered: There was none.
        InputError: Nothing says who one is.
    """
    user, _, bucket = uri.partition("://")[2].rpartition("@")
    files = fs.GcsFileSystem(anonymous=user == "anonymous", retry_time_limit=_PATIENCE)
    try:
        files.get_file_info(bucket)
    except (OSError, pa.ArrowException) as error:
        text = str(error).splitlines()[0]
        cause = _cause_of(text)
        # Without a file, the library asks the machine that all of Google's have.
        if _NOBODY in text and not (_UNREACHABLE in text and _has_file()):
            raise InputError(
                f"{uri} cannot be opened: Google's library finds nothing that says who you are "
                f"({cause}). Expected GOOGLE_APPLICATION_CREDENTIALS to name a file with "
                "credentials, those of gcloud auth application-default login, or a machine of "
                "Google's with a service account."
            ) from None
        if _UNREACHABLE in text:
            raise Unanswered(cause) from None


def _cause_of(text: str) -> str:
    """Return the end of the library's words, before its own codes."""
    words = text.partition(" error_info=")[0]
    for before in (" last message of ", " message was: "):
        words = words.rpartition(before)[2]
    return words


def _has_file() -> bool:
    """Whether the library finds credentials in a file."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    usual = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    return bool(named) or usual.exists()
