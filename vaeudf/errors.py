"""The errors a person can meet, one small tree.

Every message says what was found, what was expected, and what to do next; the jobs print it
as it is and exit with the class's ``exit_code``.
"""

from __future__ import annotations

import re


class VaeUdfError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(VaeUdfError, ValueError):
    """An argument, a query file or a catalog is not what the job needs."""

    exit_code = 2


class BundleError(VaeUdfError, ValueError):
    """A model bundle is missing something, damaged, or of an unknown kind."""

    exit_code = 2


class TableError(VaeUdfError, ValueError):
    """A path does not hold a posterior table that fits the request."""

    exit_code = 2


class ClusterError(VaeUdfError, RuntimeError):
    """Spark did not start, or its cluster has ended what a job needs to run."""

    exit_code = 1


class StoreError(VaeUdfError, RuntimeError):
    """A store, such as S3 or HDFS, does not answer."""

    exit_code = 1


class DeviceError(VaeUdfError, RuntimeError):
    """A GPU was asked for, or given, where torch has none."""

    exit_code = 2


class TooManyFailures(VaeUdfError, RuntimeError):
    """More items failed to encode than ``--max-error-fraction`` allows."""

    exit_code = 3


class PublishConflict(VaeUdfError, RuntimeError):
    """Another run published to the table first; nothing of this run is visible."""

    exit_code = 4


class GateFailed(VaeUdfError, RuntimeError):
    """What was found is beyond a limit that ``--fail-on`` or ``--gate`` sets."""

    exit_code = 5


class DriverInterrupted(VaeUdfError, RuntimeError):
    """Ctrl-C has come while the driver runs on the cluster."""

    exit_code = 130


def raised_in_task(error: BaseException) -> VaeUdfError | None:
    """Return the error of ours that reached us through Spark's own exception, if there is one."""
    # The last one: those before it are what it was raised in the handling of.
    found = re.findall(r"^vaeudf\.errors\.(\w+): (.*)$", str(error), re.MULTILINE)[-1:]
    for name, message in found:
        kind = globals().get(name)
        if isinstance(kind, type) and issubclass(kind, VaeUdfError):
            return kind(message)
    return None


def damaged_file(error: BaseException) -> TableError | None:
    """Return what to say of an error of Spark's that a damaged or lost Parquet file has caused.

    Other errors of reading, such as a store that does not answer, may be gone at another try.
    """
    text = str(error)
    lost = re.search(r"\[PATH_NOT_FOUND\] Path does not exist: (\S+?)\.? SQLSTATE", text)
    if lost is not None:
        return TableError(f"{_plain_path(lost[1])} does not exist any more; {_PUT_BACK}")
    read = re.search(
        r"\[FAILED_READ_FILE\S*\] Encountered error while reading file (\S+?)\.?\s", text
    )
    if read is None or not re.search(_DAMAGE, text):
        return None
    cause = root_cause(error).rstrip(".")
    # Of bytes that are no Parquet page, Spark says which of its classes they do not fit.
    found = "" if "org.apache" in cause else f" ({cause})"
    return TableError(f"{_plain_path(read[1])} is damaged{found}; {_PUT_BACK}")


# Such as Azure's tokens (SAS), which pyarrow tells with the URL.
_QUERY = re.compile(r"""(https?://[^\s'"?]+)\?[^\s'"]+""")
# What a message from the JVM begins with, such as "java.io.IOException: ".
_JAVA_CLASS = re.compile(r"^(?:[a-z]\w*\.)+[\w$]+(?:Exception|Error): ")
_PUT_BACK = (
    "expected a Parquet file that can be read. Put it back; of a posterior table, maintain_table "
    "can also roll back to a version before it."
)
_DAMAGE = (
    r"is not a Parquet file|ChecksumException|can not read class org\.apache\.parquet|"
    r"serialized data! Struct: org\.apache\.parquet|TProtocolException|"
    r"ParquetDecodingException|FAILED_READ_FILE\.FILE_NOT_EXIST|Snappy|ZstdException"
)


def _plain_path(uri: str) -> str:
    return re.sub(r"^file:/+", "/", uri)


def was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C caused an error; py4j raises one of its own when it is interrupted."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__cause__ or found.__context__
    return found is not None


def redacted(text: str) -> str:
    """Return a text without what follows the ? of URLs, which may be a token that signs them."""
    return _QUERY.sub(r"\1?…", text)


def root_cause(error: BaseException) -> str:
    """Return the one line of an exception's text that says what happened, without secrets of URLs.

    An exception out of the JVM or a Spark task carries stack traces in its text: the cause is what
    a Python traceback ends with, else the last "Caused by: ", else the line after py4j's own.
    """
    return redacted(_root_cause(error))


def _root_cause(error: BaseException) -> str:
    lines = str(error).splitlines()
    traces = [i for i, line in enumerate(lines) if "Traceback (most recent call last):" in line]
    if traces:
        ends = (line for line in lines[traces[-1] + 1 :] if line.strip() and line[0] != " ")
        return next(ends, "no message").strip()
    lines = [line.strip() for line in lines if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    if causes:
        return causes[-1].split(": ", 1)[-1]
    if len(lines) > 1 and lines[0].startswith("An error occurred while calling"):
        return _JAVA_CLASS.sub("", lines[1].removeprefix(": "))
    if not lines:
        return "no message"
    # What pyarrow says of bytes that are no metadata of Parquet's.
    return "its metadata are damaged" if "deserialize thrift" in lines[0] else lines[0]
