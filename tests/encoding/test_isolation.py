"""Functions that bring their process down, and what is left of it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from vaeudf.encoding.isolation import Isolated, watchdog
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure


def make(offset: int):
    """A function of odd behaviour."""

    def behave(what: object) -> object:
        if what == "segfault":
            ctypes.string_at(0)
        if what == "exit":
            os._exit(3)
        if what == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
            time.sleep(1000)
        if what == "memory":
            return bytes(16 * 2**30)
        if what == "ours":
            raise InputError("this is nobody's image's fault")
        if what == "theirs":
            raise KeyError("a key")
        if what == "print":
            sys.stdout.write("this is no answer\n")
            sys.stdout.flush()
            os.write(1, b"nor this")
        return what, offset, os.getpid()

    return behave


def make_nothing():
    os._exit(4)


def test_good_ones_share_a_process_and_bad_ones_fall_alone():
    with Isolated(make, 7) as isolated:
        first = isolated.call("a", 60)
        assert first[:2] == ("a", 7) and first[2] != os.getpid()
        assert isolated.call(b"x" * 10_000_000, 60)[0] == b"x" * 10_000_000
        assert isolated.call("print", 60) == ("print", *first[1:])
        for what, message in [
            ("segfault", r"ended with signal 11 after"),
            ("exit", r"ended with exit code 3 after"),
        ]:
            found = isolated.call(what, 60)
            assert isinstance(found, ImageFailure) and found.reason == "crashed"
            assert message in found.message
            again = isolated.call("b", 60)
            assert again[0] == "b" and again[2] != first[2]
        found = isolated.call("memory", 60)
        assert (found.reason, found.message) == ("crashed", "the encoder ran out of memory.")
        began = time.monotonic()
        found = isolated.call("hang", 0.5)
        assert found.reason == "timed_out" and time.monotonic() - began < 20
        assert found.message == "the encoder was still at it after 0.5 seconds."
        last = isolated.call("c", 60)
        assert last[0] == "c"
    with pytest.raises(ProcessLookupError):
        os.kill(last[2], 0)


def test_what_it_raises_is_told():
    with Isolated(make, 7) as isolated:
        first = isolated.call("a", 60)
        found = isolated.call("theirs", 60)
        assert (found.reason, found.message) == ("crashed", "the encoder raised KeyError: 'a key'")
        with pytest.raises(InputError, match="nobody's image's fault"):
            isolated.call("ours", 60)
        assert isolated.call("b", 60)[2] == first[2]


def make_with_error(ours: bool):
    raise InputError("no such module") if ours else OSError("no such disk")


def test_what_its_factory_raises_is_told():
    with Isolated(make_with_error, True) as isolated:
        for _ in range(2):
            with pytest.raises(InputError, match=r"^no such module$"):
                isolated.call("a", 60)
    with (
        Isolated(make_with_error, False) as isolated,
        pytest.raises(RuntimeError, match=r"^OSError: no such disk$"),
    ):
        isolated.call("a", 60)


def make_after_long():
    time.sleep(1000)


def test_a_process_that_cannot_begin_is_no_images_fault(monkeypatch):
    message = r"the process ended before any image \(code 4\)"
    with Isolated(make_nothing) as isolated, pytest.raises(RuntimeError, match=message):
        isolated.call("a", 60)
    monkeypatch.setattr("vaeudf.encoding.isolation._SECONDS_TO_START", 0.5)
    message = r"the process did not start before any image \(code -9\)"
    with Isolated(make_after_long) as isolated, pytest.raises(RuntimeError, match=message):
        isolated.call("a", 60)


def test_the_watchdog_ends_a_process_that_hangs():
    code = "import time; from vaeudf.encoding.isolation import watchdog\n"
    code += "with watchdog(30): pass\n"
    code += "with watchdog(0.3): time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and "Timeout" in done.stderr and "<string>" in done.stderr
    with watchdog(0.2):
        pass
    time.sleep(0.4)
