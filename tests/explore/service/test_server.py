"""The service as a process of its own, with a port, as a person starts and ends it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

import vaeudf.explore.server as server
from tests.support.jobs import ROOT
from vaeudf.errors import InputError
from vaeudf.explore.server import address_of, listen
from vaeudf.workflows.cli import main
from vaeudf.workflows.jobs import find_job

JOB = (sys.executable, str(ROOT / "jobs" / "explore.py"))


@contextmanager
def running(
    *options: str, cache: Path, job: Sequence[str] = JOB
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The job, and the address that it has printed."""
    process = subprocess.Popen(
        [*job, *options, "--cache", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("loading ")
        line = process.stderr.readline()
        found = re.fullmatch(r"The page is at (\S+) \(Ctrl-C ends\)\.\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def test_a_service_from_its_start_to_its_end(shop, shop_table, tmp_path, capsys):
    with running("--table", shop_table, "--port", "0", cache=tmp_path) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        port = int(address.rsplit(":", 1)[1].strip("/"))
        with httpx.Client(base_url=address) as client:
            assert client.get("/api/health").json()["items"] == len(shop.images)
            asked = {"z": [0, 0, 0, 0], "k": 2}
            assert len(client.post("/api/search", json=asked).json()["hits"]) == 2
            # Too large: refused, and the answer seen.
            answer = client.post(
                "/api/encode", content=bytes(30 * 2**20), headers={"content-type": "image/png"}
            )
            assert answer.status_code == 413
            assert client.get("/api/health").status_code == 200
        with pytest.raises(SystemExit) as caught:
            main(*find_job("explore"), ["--table", shop_table, "--port", str(port)])
        assert (caught.value.code, *capsys.readouterr()) == (
            2,
            "",
            f"error: port {port} is taken, perhaps by another explore; name another one with "
            "--port, or --port 0 for any that is free.\n",
        )
        # Somebody has a connection open; it does not hold up the end.
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    [line] = out.splitlines()
    summary = json.loads(line)
    assert summary.pop("seconds") > 0
    assert summary.pop("requests") >= 4
    assert summary == {
        "table": shop_table,
        "version": 1,
        "items": len(shop.images),
        "latent_dim": 4,
    }
    assert "Traceback" not in err


SLOW = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import vaeudf.explore.api as api
import vaeudf.explore.server as server
from vaeudf.__main__ import main

def search(*args):
    sys.stderr.write("searching\\n")
    time.sleep(300)

api.search = search
server._LAST_SECONDS = 1
main(["explore", *sys.argv[1:]])
"""


@pytest.mark.slow
def test_a_search_that_takes_long_does_not_hold_up_the_end(shop_table, tmp_path):
    options = ("--table", shop_table, "--port", "0")
    job = (sys.executable, "-c", SLOW)
    with running(*options, cache=tmp_path, job=job) as (process, address):
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(httpx.post, f"{address}api/search", json={"z": [0] * 4}, timeout=60)
            assert process.stderr.readline() == "searching\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        answer = asked.result()
    assert (answer.status_code, answer.json()) == (503, {"error": "the service ends."})
    assert process.returncode == 0
    assert json.loads(out)["requests"] == 1
    assert "Traceback" not in err and "CancelledError" not in err


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--port", "70000"], "port is 70000; expected 0 to 65535."),
        (
            ["--port", "0", "--allow-host", "https://a.example"],
            "allow-host is 'https://a.example'; expected a name alone, such as studio.example, ",
        ),
        (["--port", "0", "--host", "nowhere.invalid"], "host 'nowhere.invalid' is no address of"),
        (["--port", "0", "--host", "203.0.113.7"], "host '203.0.113.7' cannot be listened on"),
        (["--port", "0", "--version", "9"], "has no version 9"),
        (["--port", "0", "--model", "/none"], "model /none is not there any more; name it with"),
        (["--port", "0", "--catalog", "/none"], "catalog /none does not exist any more"),
        (["--port", "0", "--table", "/none"], "table /none does not exist; expected"),
    ],
)
def test_bad_input_is_told_in_one_line(shop_table, tmp_path, capsys, options, error):
    own = ["--table", shop_table, "--cache", str(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        main(*find_job("explore"), own + options)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("error: ") and error in line


def test_what_it_needs_is_named_where_it_is_missing(shop_table, capsys, monkeypatch):
    monkeypatch.setattr("vaeudf.workflows.explore.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        main(*find_job("explore"), ["--table", shop_table])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: explore needs starlette, uvicorn, msgspec, duckdb, sqlglot, scipy, which this "
        'Python does not have; install what it needs with: pip install "vaeudf[explore]"\n'
    )


def test_a_port_is_taken_at_once():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert first.proto == socket.IPPROTO_TCP, "else answers wait for acknowledgements"
        assert address_of("127.0.0.1", first, None) == f"http://127.0.0.1:{port}/"
        assert address_of("::1", first, "t") == f"http://[::1]:{port}/?token=t"
        with pytest.raises(InputError, match=f"port {port} is taken"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("start", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_who_does_not_send_a_head_is_hung_up_on(monkeypatch, start):
    """Slowloris: each connection that waits for ever is one fewer for others."""
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.3)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(
            app, http=server.TimedProtocol, lifespan="off", log_config=None, ws="none"
        )
        own = uvicorn.Server(config)
        thread = threading.Thread(target=own.run, args=([listening],))
        thread.start()
        try:
            address = listening.getsockname()
            with socket.create_connection(address, timeout=10) as slow:
                slow.sendall(start)
                dripped = 0
                while True:
                    slow.settimeout(0.05)
                    try:
                        if slow.recv(100) == b"":
                            break
                    except TimeoutError:
                        dripped += 1
                        assert dripped < 200, "it is still waited for"
                        if start:
                            slow.sendall(b"a")
            # Who sends one is answered, and again over the same connection.
            with socket.create_connection(address, timeout=10) as good:
                for _ in range(2):
                    good.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert good.recv(1000).startswith(b"HTTP/1.1 204")
                    time.sleep(0.05)
        finally:
            own.should_exit = True
            thread.join()
