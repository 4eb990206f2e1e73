"""What a store that refuses says, and finding out before any work whether it takes what is written.

A store may be read and not written, or be there and hold no such bucket. To write a byte tells, and
takes some 100 ms; to hear of it after hours of work costs these hours.
"""

from __future__ import annotations

import logging
import os
import posixpath
import uuid
from collections.abc import Iterable

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import InputError, StoreError, VaeUdfError, root_cause
from vaeudf.storage.locations import filesystem, has_folders, remove

log = logging.getLogger(__name__)

STORE_ERRORS = (OSError, pa.ArrowException)
"""What pyarrow raises where a store refuses, or does not answer any more."""

# Of AWS's and Azure's answers, those that are the same at another try.
_FOR_GOOD = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH"),
    *("ContainerNotFound", "AuthenticationFailed", "AuthorizationFailure"),
    *("AuthorizationPermissionMismatch", "AccountIsDisabled"),
)
_PERMANENT = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


def cause_of(error: BaseException) -> str:
    """Return in a line what a store has said, without a full stop."""
    return root_cause(error).rstrip(".")


def is_for_good(error: BaseException) -> bool:
    """Whether a store that has said this says it again at another try."""
    return isinstance(error, _PERMANENT) or any(code in str(error) for code in _FOR_GOOD)


def check_writable(path: str) -> None:
    """Refuse a file or folder that cannot be made, or replaced, where it is.

    Its parent's folders are made later, where files need them: in a file system it is the nearest
    folder above that is asked. A store is asked by writing an empty file, which is removed.

    Args:
        path: What is to be written; it need not be there.

    Raises:
        InputError: It cannot be made.
        StoreError: The store does not say.
    """
    files, inner = filesystem(path)
    parent = posixpath.dirname(inner.rstrip("/"))
    try:
        if has_folders(files):
            parent = _nearest_folder(files, parent, path)
        if files.type_name == "local":
            if not os.access(parent, os.W_OK | os.X_OK):
                raise InputError(
                    f"{path} cannot be made, for this user may not write to {parent}; name "
                    "another folder."
                )
            return
        trial = posixpath.join(parent, f".{uuid.uuid4().hex}.trial")
        with files.open_output_stream(trial):
            pass
        files.delete_file(trial)
    except STORE_ERRORS as error:
        raise refused(path, error, "written") from None


def _nearest_folder(files: fs.FileSystem, parent: str, path: str) -> str:
    """Return the nearest folder that is there, at a place or above it."""
    while (kind := files.get_file_info(parent).type) == fs.FileType.NotFound:
        if parent == posixpath.dirname(parent):
            raise FileNotFoundError(f"{parent} does not exist")
        parent = posixpath.dirname(parent)
    if kind == fs.FileType.File:
        raise InputError(f"{path} cannot be made, for {parent} is a file; name another folder.")
    return parent


def remove_or_tell(paths: Iterable[str]) -> None:
    """Remove what is not needed any more; what cannot be removed is named in a warning."""
    for path in paths:
        try:
            remove(path)
        except (*STORE_ERRORS, StoreError) as error:
            log.warning(
                "%s is not needed any more, and cannot be removed: %s.", path, cause_of(error)
            )


def refused(path: str, error: BaseException, done: str) -> VaeUdfError:
    """Return the error that says that a store has refused.

    Args:
        path: What was to be read or written.
        error: What pyarrow has raised.
        done: ``read`` or ``written``.
    """
    found = f"{path} cannot be {done} ({cause_of(error)})"
    if is_for_good(error):
        return InputError(
            f"{found}; expected a place that this user may use. Check its name, and the "
            "credentials in the environment."
        )
    return StoreError(f"{found}; run again once the store takes it.")
