"""HDFS for pyarrow, by the client of hdfs-native, which needs neither Java nor libhdfs.

delta-rs has the same client inside. It finds its configuration where Hadoop's own tools do:
``core-site.xml`` and ``hdfs-site.xml`` in the folder HADOOP_CONF_DIR say what ``hdfs:///path`` and
the names of name services stand for.
"""

from __future__ import annotations

import builtins
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import InputError
from vaeudf.storage.unanswered import Unanswered

if TYPE_CHECKING:
    from hdfs_native import Client, FileStatus

TYPE_NAME = "hdfs"
# What a name node that cannot be reached costs: some seconds. By default the client tries for three
# minutes, which is right for a job that runs, and wrong for a name that somebody has mistyped.
ATTEMPTS = 3
_ATTEMPTS_KEY = "dfs.client.failover.max.attempts"
# An error that a name node has answered with: its class, and its message with a stack trace.
_ANSWER = re.compile(r'RPCError\("([\w.$]*)", "(.*)"\)', re.DOTALL)
_STANDBY = "org.apache.hadoop.ipc.StandbyException"
_DENIED = "org.apache.hadoop.security.AccessControlException"
# Other errors are names of the client's with a message.
_OWN = re.compile(r'(\w+)\("(.*)"\)', re.DOTALL)
# What the client says where Kerberos's library is not there, or has no ticket; its words are last.
_NO_LIBRARY = re.compile(r"Failed to load libgssapi")
_NO_TICKET = re.compile(r'(?:GSSAPIError|NoSASLMechanism)\b(?:.*"([^"]*)"\)?)?', re.DOTALL)
_NO_HOSTS = {
    "No NameNode hosts found": (
        "expected hdfs://HOST:PORT/…, or a name service that hdfs-site.xml in the folder "
        "HADOOP_CONF_DIR has"
    ),
    "No fs.defaultFS setting found": (
        "a URI without a host is on the default file system, fs.defaultFS of core-site.xml in the "
        "folder HADOOP_CONF_DIR; name that folder, or write hdfs://HOST:PORT/…"
    ),
}


def open_hdfs(uri: str) -> fs.PyFileSystem:
    """Return HDFS as a filesystem of pyarrow's; nothing is asked of it yet.

    Args:
        uri: The store alone, such as ``hdfs://host:8020``, ``hdfs://name-service``, ``hdfs://`` or
            ``viewfs://table``.

    Raises:
        InputError: hdfs-native is not installed.
        OSError: The configuration does not say where that is.
    """
    return fs.PyFileSystem(_Handler(_client(uri)))


def ask_hdfs(uri: str, patience: float) -> None:
    """Wait for any answer of a name node, an error too; not for as long as a job that runs does.

    Args:
        uri: As :func:`open_hdfs` takes it.
        patience: Seconds to wait for it.

    Raises:
        Unanswered: There was none; without a text if nothing at all has happened.
        InputError, OSError: As :func:`open_hdfs` does.
    """
    _package(uri)
    try:
        _ask(uri, patience)
    except (FileNotFoundError, PermissionError):
        pass
    except _Refusal as error:
        if error.kind == _STANDBY:
            raise Unanswered(str(error)) from None
    except _ClientError:
        raise
    except OSError as error:
        raise Unanswered(str(error)) from None


# Its words are the URI, seconds and attempts; what it writes is nothing, or an error and its words.
_QUESTION = """\
import json, signal, sys
uri, seconds, attempts, *sys.path[:] = sys.argv[1:]
signal.alarm(int(float(seconds)) + 2)  # should nobody wait for it any more
from hdfs_native import Client
try:
    Client(uri, {"%s": attempts}).get_file_info("/")
except Exception as error:
    words = [one for one in error.args if isinstance(one, (int, str))]
    sys.stdout.write(json.dumps([type(error).__name__, words]))
"""


def _ask(uri: str, patience: float) -> None:
    """Ask in a process of its own, which can be ended.

    A thread that waits in the client cannot: if it came out while Python ends, Python (before 3.14)
    would end the thread, and the client, which is Rust's, would then abort the process. The
    package's asynchronous client panics (0.14.7) where nobody is at an address.
    """
    words = [uri, str(patience), str(ATTEMPTS), *sys.path]
    code = _QUESTION % _ATTEMPTS_KEY
    try:
        asked = subprocess.run(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise Unanswered from None
    if asked.returncode:
        raise _ClientError(f"hdfs-native has failed: {(asked.stderr.splitlines() or [''])[-1]}")
    if asked.stdout:
        name, words = json.loads(asked.stdout)
        kind = getattr(builtins, name, RuntimeError)
        with _as_os_errors():
            raise kind(*words)


def _client(uri: str) -> Client:
    package = _package(uri)
    with _as_os_errors():
        client: Client = package.Client(uri)
        return client


def _package(uri: str) -> Any:
    try:
        import hdfs_native
    except ImportError:
        raise InputError(
            f"{uri} needs hdfs-native, which is not installed here; install it on every machine "
            'that reads or writes there: pip install "vaeudf[hdfs]".'
        ) from None
    return hdfs_native


class _Refusal(OSError):
    """What a name node has answered, when pyarrow has no error of its own for that."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _ClientError(OSError):
    """What the client itself cannot do, whoever answers: its configuration, a lack of a ticket."""


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Give errors of the client's as pyarrow's own file systems would, in a line each."""
    try:
        yield
    except OSError as error:
        # Python's class is right; the message may have a stack trace of the name node's.
        if error.errno is None:
            raise type(error)(_first_line(str(error))) from None
        raise
    except RuntimeError as error:
        text = str(error)
        if (answer := _ANSWER.fullmatch(text)) is not None:
            message = _first_line(answer[2].replace("\\n", "\n").replace('\\"', '"'))
            if answer[1] == _DENIED:
                raise PermissionError(message) from None
            raise _Refusal(answer[1], message) from None
        if _NO_LIBRARY.search(text):
            raise _ClientError(
                "the name node wants Kerberos, whose library libgssapi_krb5 is not on this "
                "machine; install it (Debian: libgssapi-krb5-2, Red Hat: krb5-libs)"
            ) from None
        if (kerberos := _NO_TICKET.match(text)) is not None:
            raise _ClientError(
                "the name node wants Kerberos, and there is no ticket that it takes "
                f"({kerberos[1] or 'nor a delegation token'}); get one by kinit, or name a file "
                "with a delegation token in HADOOP_TOKEN_FILE_LOCATION"
            ) from None
        own = _OWN.fullmatch(text)
        message = text if own is None else own[2].replace('\\"', '"')
        what_to_do = _NO_HOSTS.get(message)
        raise _ClientError(f"{message}; {what_to_do}" if what_to_do else message) from None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message"


class _Handler(fs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """What pyarrow asks of a file system.

    Not fsspec's, which pyarrow could take as well: that knows no modification times, and takes what
    follows a # or a ? in a name for another part of a URI.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handler) and other._client is self._client

    __hash__ = None  # type: ignore[assignment]

    def get_type_name(self) -> str:
        return TYPE_NAME

    def normalize_path(self, path: str) -> str:
        return path

    # ---- looking

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return _info_of(path, self._status(path))
        except FileNotFoundError:
            return fs.FileInfo(path, fs.FileType.NotFound)

    def _status(self, path: str) -> FileStatus:
        with _as_os_errors():
            return self._client.get_file_info(path)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        folder = selector.base_dir
        try:
            # The client lists a file as if it were a folder with that file in it.
            if not self._status(folder).isdir:
                raise NotADirectoryError(f"{folder} is a file, not a folder")
            with _as_os_errors():
                found = list(self._client.list_status(folder, selector.recursive))
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise
        return [_info_of(status.path, status) for status in found]

    # ---- folders

    def create_dir(self, path: str, recursive: bool) -> None:
        with _as_os_errors():
            self._client.mkdirs(path, create_parent=recursive)

    def delete_dir(self, path: str) -> None:
        if not self._status(path).isdir:
            raise NotADirectoryError(f"{path} is a file, not a folder")
        self._delete(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        selector = fs.FileSelector(path, allow_not_found=missing_dir_ok)
        for info in self.get_file_info_selector(selector):
            self._delete(info.path)

    def delete_root_dir_contents(self) -> None:
        self.delete_dir_contents("/")

    # ---- files

    def delete_file(self, path: str) -> None:
        if self._status(path).isdir:
            raise IsADirectoryError(f"{path} is a folder, not a file")
        self._delete(path)

    def _delete(self, path: str) -> None:
        with _as_os_errors():
            if not self._client.delete(path, recursive=True):
                raise FileNotFoundError(path)

    def move(self, src: str, dest: str) -> None:
        # In one step, as on a local disk: what is at the goal is replaced, but for a full folder.
        with _as_os_errors():
            self._client.rename(src, dest, overwrite=True)

    def copy_file(self, src: str, dest: str) -> None:
        with (
            _as_os_errors(),
            self._client.read(src) as source,
            self._client.create(dest, _replacing()) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 22)

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.PythonFile:
        with _as_os_errors():
            return pa.PythonFile(_File(self._client.read(path)), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        with _as_os_errors():
            return pa.PythonFile(_File(self._client.create(path, _replacing())), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        with _as_os_errors():
            return pa.PythonFile(_File(self._client.append(path)), mode="w")


class _File:
    """A file of the client's, with errors as pyarrow's own files have them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        with _as_os_errors():
            return bytes(self._file.read(size))

    def write(self, data: Any) -> int:
        with _as_os_errors():
            return int(self._file.write(data))

    def seek(self, offset: int, whence: int = 0) -> None:
        with _as_os_errors():
            self._file.seek(offset, whence)

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return bool(self._file.readable())

    def writable(self) -> bool:
        return bool(self._file.writable())

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def flush(self) -> None:
        """Nothing: what is written is there when the file is closed."""

    def close(self) -> None:
        self.closed = True
        with _as_os_errors():
            self._file.close()


def _replacing() -> Any:
    from hdfs_native import WriteOptions

    return WriteOptions(overwrite=True)


def _info_of(path: str, status: FileStatus) -> fs.FileInfo:
    kind = fs.FileType.Directory if status.isdir else fs.FileType.File
    size = None if status.isdir else status.length
    # HDFS has them in milliseconds.
    return fs.FileInfo(path, kind, size=size, mtime_ns=status.modification_time * 1_000_000)
