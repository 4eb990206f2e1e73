"""How a driver on YARN has ended, told to the command that has sent it there.

The driver writes it to a small file on the default file system of the cluster, where Spark puts the
application's own files. It is there after the application has ended, whether YARN keeps logs or
not.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext

from vaeudf.errors import ClusterError, root_cause
from vaeudf.spark.yarn import TAG_PREFIX, hadoop_configuration

_STAGING = "spark.yarn.stagingDir"
_SUFFIX = ".json"
_BUFFER_BYTES = 4096
_FOLDER = ".sparkStaging"
# Of files that no command has taken, since it was killed, say. A longer job has written none yet.
_SECONDS_KEPT = 7 * 24 * 3600


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        exit_code: As of a process.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    exit_code: int
    out: str
    err: str


class EndingFile:
    """The file of one application, as the command that has sent it knows it.

    Attributes:
        uri: For :func:`record`.
    """

    def __init__(self, jvm: Any, given: SparkConf, tag: str) -> None:
        """Find out where it is to be, beside what Spark keeps of its applications.

        Args:
            jvm: py4j's view of a JVM with Hadoop's classes.
            given: The application's properties.
            tag: The application's own; the file's name.

        Raises:
            ClusterError: The file system does not answer, or is unknown.
        """
        try:
            self._path, self._files = _place(jvm, given, tag + _SUFFIX)
        except Py4JError as error:
            place = given.get(_STAGING) or "your home on the cluster's default file system"
            raise ClusterError(f"{place} cannot be opened: {root_cause(error)}.") from None
        self.uri = str(self._path.toString())

    def check(self) -> None:
        """Write it for a trial, and remove it: without it nobody will know how the job ends.

        Files of the same user's applications that nobody has taken within a week are removed, too.

        Raises:
            ClusterError: It cannot be written.
        """
        try:
            _write(self._files, self._path, b"")
            self._files.delete(self._path, False)
            self._remove_forgotten()
        except Py4JError as error:
            raise ClusterError(
                f"{self.uri} cannot be written: {root_cause(error)}. A driver on YARN tells there "
                f"how it ended. Name a folder that you can write to by {_STAGING}, in the "
                "properties file."
            ) from None

    def take(self) -> Ending | None:
        """Return what the driver has written, if it has, and remove the file.

        Raises:
            ClusterError: It cannot be read.
        """
        try:
            if not self._files.exists(self._path):
                return None
            stream = self._files.open(self._path)
            try:
                content = bytes(stream.readAllBytes())
            finally:
                stream.close()
            self._files.delete(self._path, False)
        except Py4JError as error:
            raise ClusterError(
                f"how the job ended could not be read from {self.uri}: {root_cause(error)}."
            ) from None
        return Ending(**json.loads(content))

    def remove(self) -> None:
        """Remove it where nobody wants to know any more; :meth:`check` removes what is left."""
        with suppress(Py4JError):
            self._files.delete(self._path, False)

    def _remove_forgotten(self) -> None:
        oldest = (time.time() - _SECONDS_KEPT) * 1000
        for status in self._files.listStatus(self._path.getParent()):
            name = str(status.getPath().getName())
            is_ours = name.startswith(TAG_PREFIX) and name.endswith(_SUFFIX)
            if is_ours and status.isFile() and status.getModificationTime() < oldest:
                self._files.delete(status.getPath(), False)


def record(work: Callable[[], None], result: str) -> None:
    """Do what a driver on YARN does, and write how it ended where :class:`EndingFile` looks.

    What is written to stdout and stderr goes to the container's log as well.

    Args:
        work: Ends the process if it fails.
        result: As the script has been given it.

    Raises:
        SystemExit: ``work`` has failed.
    """
    out, err = _Copy(sys.stdout), _Copy(sys.stderr)
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            work()
        except SystemExit as exit_:
            code = exit_.code or 0
    SparkContext._ensure_initialized()
    jvm: Any = SparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(result)
    ending = Ending(int(code), out.getvalue(), err.getvalue())
    files = path.getFileSystem(hadoop_configuration(jvm))
    _write(files, path, json.dumps(asdict(ending)).encode())
    if ending.exit_code:
        sys.exit(ending.exit_code)


class _Copy(io.StringIO):
    """Keeps what is written, and writes it to another stream, too."""

    def __init__(self, other: TextIO) -> None:
        super().__init__()
        self._other = other

    def write(self, text: str) -> int:
        self._other.write(text)
        self._other.flush()
        return super().write(text)


def _place(jvm: Any, given: SparkConf, name: str) -> tuple[Any, Any]:
    """Return a path in the folder where Spark keeps the files of this user's applications."""
    hadoop = jvm.org.apache.hadoop
    configuration = hadoop_configuration(jvm)
    staging = given.get(_STAGING)
    if staging is None:
        home = hadoop.fs.FileSystem.get(configuration).getHomeDirectory()
    else:
        # Spark keeps users apart there.
        user = hadoop.security.UserGroupInformation.getCurrentUser().getShortUserName()
        home = hadoop.fs.Path(staging, user)
    path = hadoop.fs.Path(hadoop.fs.Path(home, _FOLDER), name)
    files = path.getFileSystem(configuration)
    return files.makeQualified(path), files


def _write(files: Any, path: Any, content: bytes) -> None:
    """Write a file that its user alone may read: it tells what a job has printed."""
    stream = files.create(
        path,
        SparkContext._jvm.org.apache.hadoop.fs.permission.FsPermission("600"),  # type: ignore[union-attr]
        True,  # in place of an older one
        _BUFFER_BYTES,
        files.getDefaultReplication(path),
        files.getDefaultBlockSize(path),
        None,
    )
    stream.write(bytearray(content))
    stream.close()
