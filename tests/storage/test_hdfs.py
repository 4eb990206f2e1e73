"""hdfs:// where there is no HDFS; tests/hadoop has what one does."""

from __future__ import annotations

import errno
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.name_node import asks_for_kerberos
from vaeudf.errors import InputError, StoreError
from vaeudf.storage import hdfs, opening
from vaeudf.storage.locations import delta_uri, exists, filesystem
from vaeudf.table.open import open_for_publishing, open_table


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch) -> None:
    for name in ("HADOOP_CONF_DIR", "HADOOP_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent() -> Iterator[str]:
    """An address at which somebody listens who never answers."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(10)
    address = f"127.0.0.1:{server.getsockname()[1]}"
    yield address
    server.close()


def refused(*asked, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as found:
        exists(*asked)
    return str(found.value)


def test_the_package_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "hdfs_native", None)
    for uri in ("hdfs://name:8020", "viewfs://shop"):
        assert refused(f"{uri}/photos") == (
            f"{uri} needs hdfs-native, which is not installed here; install it on every machine "
            'that reads or writes there: pip install "vaeudf[hdfs]".'
        )
    assert InputError.exit_code == 2


def test_a_job_without_the_package(tmp_path):
    """It ends at once, with one message."""
    code = """if True:
        import sys
        from vaeudf.workflows.cli import main
        from vaeudf.workflows.jobs import find_job

        sys.modules["hdfs_native"] = None
        main(*find_job("maintain_table"), ["--table", "hdfs://name:8020/table"])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: hdfs://name:8020 needs hdfs-native")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_what_a_uri_without_configuration_cannot_say():
    assert refused("hdfs:///photos") == (
        "cannot open hdfs:///photos: No fs.defaultFS setting found; a URI without a host is on the "
        "default file system, fs.defaultFS of core-site.xml in the folder HADOOP_CONF_DIR; name "
        "that folder, or write hdfs://HOST:PORT/…."
    )
    assert refused("hdfs://night/photos") == (
        "cannot open hdfs://night/photos: No NameNode hosts found; expected hdfs://HOST:PORT/…, or "
        "a name service that hdfs-site.xml in the folder HADOOP_CONF_DIR has."
    )
    assert refused("viewfs://shop/x").startswith("cannot open viewfs://shop/x: No viewfs ")


def test_nobody_is_at_the_address(monkeypatch):
    monkeypatch.setattr(hdfs, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # which is another store's
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        name = f"hdfs://127.0.0.1:{unused.getsockname()[1]}"
        found = refused(f"{name}/photos", kind=StoreError)
    assert re.fullmatch(
        re.escape(name)
        # The system's own words are those of the locale.
        + rf" has not answered for \d+ seconds \({re.escape(os.strerror(errno.ECONNREFUSED))} "
        r".*\)\. Check its name and address, and whether this machine reaches it: .*\. Run again "
        r"once it answers\.",
        found,
    )
    assert StoreError.exit_code == 1


def test_a_name_node_that_does_not_answer(silent, monkeypatch):
    monkeypatch.setattr(opening, "_LONGEST_WAIT", 0.4)
    start = time.monotonic()
    for ask in (exists, filesystem, open_table):
        with pytest.raises(StoreError, match=f"^hdfs://{silent} has not answered for 0.4 seconds"):
            ask(f"hdfs://{silent}/posteriors")
    assert time.monotonic() - start < 4


def test_threads_that_want_one_store_at_the_same_moment(monkeypatch):
    """One of them asks, for asking takes a process: a task has 32 threads that read."""
    monkeypatch.setattr(hdfs, "ATTEMPTS", 1)
    threads = 16
    with hangs_up() as (address, seen), ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(exists, f"hdfs://{address}/photos") for _ in range(threads)]
        assert all(isinstance(found.exception(), StoreError) for found in asked)
    assert 0 < len(seen) < threads  # the client tries again, a few times


@contextmanager
def hangs_up() -> Iterator[tuple[str, list[None]]]:
    """Give the address of a server that ends each connection at once, and a list of them."""
    seen: list[None] = []

    class Ends(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            seen.append(None)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ends) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()


@pytest.mark.slow
def test_a_process_that_ends_after_such_a_wait():
    """Its exit code is its own, also if the name node goes while Python ends."""
    code = """if True:
        import builtins, socket, sys, time
        from vaeudf.errors import StoreError
        from vaeudf.storage import hdfs, opening
        from vaeudf.storage.locations import exists

        opening._LONGEST_WAIT, hdfs.ATTEMPTS = 0.4, 1
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(10)

        class Late:
            close, sleep = server.close, staticmethod(time.sleep)

            def __del__(self):
                self.close()
                self.sleep(2)  # enough for the client to see it

        builtins.late = Late()
        try:
            exists(f"hdfs://127.0.0.1:{server.getsockname()[1]}/photos")
        except StoreError as error:
            sys.exit(f"error: {error}")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "has not answered for 0.4 seconds. " in done.stderr and done.stderr.count("\n") == 1


def test_a_name_node_that_wants_kerberos(monkeypatch, tmp_path):
    """Without a ticket a job ends at once, and says so."""
    (tmp_path / "core-site.xml").write_text(
        "<configuration><property><name>hadoop.security.authentication</name>"
        "<value>kerberos</value></property></configuration>"
    )
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")
    monkeypatch.delenv("HADOOP_TOKEN_FILE_LOCATION", raising=False)
    monkeypatch.setattr(hdfs, "ATTEMPTS", 1)
    with asks_for_kerberos() as address:
        found = refused(f"hdfs://{address}/photos")
    assert found.startswith(f"cannot open hdfs://{address}/photos: the name node wants Kerberos, ")
    assert found.endswith(
        "; install it (Debian: libgssapi-krb5-2, Red Hat: krb5-libs)."
        if "libgssapi" in found
        else "); get one by kinit, or name a file with a delegation token in "
        "HADOOP_TOKEN_FILE_LOCATION."
    )
    assert found.count("\n") == 0


def test_names_of_tables(silent):
    """Nobody is asked: what delta-rs cannot write is refused before."""
    for name in ("a/b-c_1.d~", "x!$&'()*+,;=@y", ""):
        assert delta_uri(f"hdfs://{silent}/{name}") == f"hdfs://{silent}/{name}"
    for name, odd in {
        "a b/posteriors": "' '",
        "café": "'é'",
        "50%": "'%'",
        "a#b?c": "'#?'",
        "a:[b]": "':[]'",
    }.items():
        for scheme in ("hdfs", "viewfs", "HDFS"):
            uri = f"{scheme}://{silent}/{name}"
            message = (
                f"table {uri} has {odd} in its path, which delta-rs writes as something else on "
                "HDFS; expected letters without accents, digits and .-_~!$&'()*+,;=@. Name another "
                "folder."
            )
            with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
                delta_uri(uri)
    with pytest.raises(InputError, match=r"has ' ' in its path, which delta-rs writes as"):
        open_for_publishing(f"hdfs://{silent}/a table", 4)


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (
            RuntimeError(
                'RPCError("java.io.IOException", "no \\"room\\" left\\n\\tat a.b(C:1)\\n")'
            ),
            OSError,
            'no "room" left',
        ),
        (
            RuntimeError(
                'RPCError("org.apache.hadoop.security.AccessControlException", "Permission denied: '
                'user=kim\\n\\tat a.b(C:1)")'
            ),
            PermissionError,
            "Permission denied: user=kim",
        ),
        (
            RuntimeError('OperationFailed("Failed to load libgssapi_krb5")'),
            OSError,
            "the name node wants Kerberos, whose library libgssapi_krb5 is not on this machine; "
            "install it (Debian: libgssapi-krb5-2, Red Hat: krb5-libs)",
        ),
        (
            RuntimeError("NoSASLMechanism"),
            OSError,
            "the name node wants Kerberos, and there is no ticket that it takes (nor a delegation "
            "token); get one by kinit, or name a file with a delegation token in "
            "HADOOP_TOKEN_FILE_LOCATION",
        ),
        (RuntimeError("something else"), OSError, "something else"),
        (FileNotFoundError("/x is gone\n\tat a.b(C:1)"), FileNotFoundError, "/x is gone"),
        (ConnectionRefusedError(111, "refused"), ConnectionRefusedError, "[Errno 111] refused"),
    ],
)
def test_errors_are_in_a_line_each(raised, kind, message):
    class Broken:
        def read(self, size: int) -> bytes:
            raise raised

    with pytest.raises(kind) as found:
        hdfs._File(Broken()).read(1)
    assert str(found.value) == message and found.value.__cause__ is None
