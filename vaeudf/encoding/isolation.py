"""Encoding images one by one in a process of its own, which may crash, hang or run out of memory.

A picture that crashes its decoder ends the Python worker, and so the task. Spark starts the task
again; the second time its images come here, where the one that crashes can be told apart.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import resource
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vaeudf.errors import VaeUdfError
from vaeudf.images.decode import ImageFailure

CRASHED = "crashed"
"""Reason of an item whose image made the encoder's process end, or want too much memory."""
TIMED_OUT = "timed_out"
"""Reason of an item whose image kept the encoder's process busy for too long."""

# A good image takes a millisecond or, with 100 million pixels, some seconds.
SECONDS_PER_IMAGE = 60.0
# Importing torch from a disk that is not cached takes a minute.
_SECONDS_TO_START = 300.0
# The image that takes most memory of those that are accepted takes 1.6 GB, see
# vaeudf.images.decode; torch itself maps more.
BYTES_OF_MEMORY = 8 * 2**30
_LENGTH = struct.Struct("<Q")


class Isolated:
    """A function that runs in another process, and may bring that down.

    Args:
        factory: Makes the function there; like its arguments, it must be importable there.
        arguments: The factory's.
        memory: The most address space that the process may take, in bytes; None sets no limit.
    """

    def __init__(self, factory: Any, *arguments: Any, memory: int | None = BYTES_OF_MEMORY) -> None:
        self._start = pickle.dumps((memory, factory, arguments))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def call(self, argument: Any, seconds: float) -> Any:
        """Return the function's value, or an ImageFailure if it raised, crashed or took too long.

        Raises:
            VaeUdfError: The factory or the function raised it: the argument is not to blame.
            RuntimeError: The process did not start, or the factory failed.
        """
        if self._process is None:
            self._process = _new_process()
            self._send(self._start)
            try:
                _value_of(self._receive(_SECONDS_TO_START))
            except (EOFError, TimeoutError) as error:
                how = "did not start" if isinstance(error, TimeoutError) else "ended"
                raise RuntimeError(
                    f"the process {how} before any image (code {self._stop()})."
                ) from None
            except Exception:
                self._stop()
                raise
        self._send(pickle.dumps(argument))
        began = time.monotonic()
        try:
            return _value_of(self._receive(seconds))
        except TimeoutError:
            self._stop()
            return ImageFailure(
                TIMED_OUT, f"the encoder was still at it after {seconds:g} seconds."
            )
        except EOFError:
            code = self._stop()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return ImageFailure(
                CRASHED,
                f"the encoder's process ended with {how} after "
                f"{time.monotonic() - began:.1f} seconds.",
            )

    def _send(self, data: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            _write(self._process.stdin, data)

    def _receive(self, seconds: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError
        return _read(self._process.stdout)

    def _stop(self) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.wait()


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """End this process, with a traceback on stderr, if the block takes longer than this.

    A thread of C's own watches, so that it also ends a process that hangs in C.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _new_process() -> subprocess.Popen[bytes]:
    # With this process's module path: vaeudf may have come with --py-files.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "from vaeudf.encoding.isolation import _serve; _serve()"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
    )


def _serve() -> None:
    """Run as the other process: make the function, and call it until the pipe is closed."""
    with contextlib.suppress(OSError):
        # If the machine runs out of memory, the kernel ends this process and not another one.
        Path("/proc/self/oom_score_adj").write_text("1000")
    requests, responses = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    memory, factory, arguments = pickle.loads(_read(requests))
    _limit_memory(memory)
    try:
        function = factory(*arguments)
    except Exception as error:
        _write(responses, pickle.dumps(_as_error(error)))
        return
    _write(responses, pickle.dumps(None))
    while True:
        try:
            argument = pickle.loads(_read(requests))
        except EOFError:
            return
        try:
            value = function(argument)
        except MemoryError:
            value = ImageFailure(CRASHED, "the encoder ran out of memory.")
        except Exception as error:
            # The encoder may be the user's own code, which fails at this one image only.
            sendable = _as_error(error)
            is_ours = isinstance(error, VaeUdfError)
            value = sendable if is_ours else ImageFailure(CRASHED, f"the encoder raised {sendable}")
        _write(responses, pickle.dumps(value))


def _limit_memory(most: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if most is not None:
        # Spark may have set a limit of its own, which cannot be raised.
        most = most if hard == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _as_error(error: Exception) -> Exception:
    """Return an error that can be pickled: ours as it is, others by their type and text."""
    if isinstance(error, VaeUdfError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _value_of(response: bytes) -> Any:
    value = pickle.loads(response)
    if isinstance(value, Exception):
        raise value
    return value


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    (length,) = _LENGTH.unpack(_read_exactly(pipe, _LENGTH.size))
    return _read_exactly(pipe, length)


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    parts = []
    while size:
        part = pipe.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
