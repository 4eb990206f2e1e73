"""Whether a store writes a file only on condition that it is not there yet (If-None-Match).

delta-rs commits by such a write. A store that takes it and ignores the condition, as some older
ones and proxies do, lets two writers commit one version, of which the first is lost.
"""

from __future__ import annotations

import posixpath
import re
import uuid
from datetime import timedelta

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute, filesystem, s3_endpoint

_S3 = "s3://"
# Whoever cannot be asked in this time is not asked: the answer is not worth a long wait.
_PATIENCE = timedelta(seconds=5)
_NOT_IMPLEMENTED = re.compile(r"status code: 501\b")


def heeds_conditions(folder: str) -> bool | None:
    """Ask a store by writing one key twice, on condition that it is not there; it is removed.

    Only stores of S3's kind are asked. File systems make new files by themselves, and the protocols
    of Azure and Google have had conditions from the start.

    Args:
        folder: Its path or URI; where the key is.

    Returns:
        None if it cannot be told: obstore finds no credentials in files of AWS's, for example.

    Raises:
        InputError: The store refuses such writes altogether.
    """
    location = absolute(folder)
    if not location.startswith(_S3):
        return True
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError
    from obstore.store import S3Store

    bucket = location.removeprefix(_S3).partition("/")[0]
    endpoint = s3_endpoint()
    store = S3Store.from_url(
        f"{_S3}{bucket}",
        config={} if endpoint is None else {"endpoint": endpoint},
        client_options={
            "allow_http": (endpoint or "").lower().startswith("http://"),
            "connect_timeout": _PATIENCE,
            "timeout": _PATIENCE,
        },
        retry_config={"max_retries": 1, "retry_timeout": _PATIENCE},
    )
    files, inner = filesystem(folder)
    trial = posixpath.join(inner, f".{uuid.uuid4().hex}.trial")
    key = trial.removeprefix(f"{bucket}/")
    try:
        obstore.put(store, key, b"", mode="create")
        try:
            obstore.put(store, key, b"", mode="create")
        except AlreadyExistsError:
            return True
        finally:
            files.delete_file(trial)
    except (BaseError, OSError) as error:
        if _NOT_IMPLEMENTED.search(str(error)) is None:
            return None
        raise InputError(
            f"{folder} is in a store that refuses to write on condition that a file is not there "
            "(If-None-Match, 501 Not Implemented), by which Delta tables commit; name a table in a "
            "store that does."
        ) from None
    return False
