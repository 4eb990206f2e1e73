"""The service of explore, asked over HTTP on the machine that it runs on.

    python -m benchmarks.explore --data DIR [--items N] [--posteriors FILE] [--starts] [--page]

Makes a table of drawn posteriors with two payload columns and a model with random weights, starts
the job twice (without and with what it keeps of the table), and asks as one page does and as 50 do.
``--page`` drags a slider in Chromium, too; ``--starts`` measures the starts alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.measure import print_table, tell
from benchmarks.posteriors import add_argument, draw_items, draw_queries
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.schema import MODEL_ID_KEY, MODEL_PATH_KEY, posterior_schema

LATENT_DIM = 10
SIDE = 64
HITS = 24
REPEATS = 400
USERS = 50
SECONDS = 15.0
_JOB = (sys.executable, str(Path(__file__).parents[1] / "jobs" / "explore.py"))
_FILE_ROWS = 1_000_000
_CATEGORIES = ("coat", "dress", "hat", "shirt", "shoes", "trousers")


class Asked(NamedTuple):
    """A request as it is sent, and what it is called."""

    name: str
    head: str
    body: bytes = b""

    @property
    def octets(self) -> bytes:
        """The request."""
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        kind = "Content-Type: application/json\r\n" if self.body else ""
        return f"{self.head} HTTP/1.1\r\nHost: localhost\r\n{kind}{length}\r\n".encode() + self.body


def make_model(path: Path) -> str:
    """Make a bundle with random weights, whose decoder costs what a trained one's does."""
    import torch

    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import Manifest, save_bundle
    from vaeudf.model.conv_vae import conv_vae

    torch.manual_seed(0)
    sizes = {"height": SIDE, "width": SIDE, "channels": 3}
    arguments = {**sizes, "latent_dim": LATENT_DIM}
    manifest = Manifest("conv_vae", arguments, LATENT_DIM, ImageSpec(SIDE, SIDE))
    return save_bundle(path, conv_vae(**arguments), manifest).model_id


def make_table(path: str, count: int, posteriors: str | None, model: Path, model_id: str) -> None:
    """Write a table as encode_catalog does: in k-d order, with boxes."""
    from vaeudf.spark.writing import write_partition
    from vaeudf.table.publish import DataFile, publish

    items = draw_items(count, LATENT_DIM, posteriors)
    order = kd_order(items.mu)
    rng = np.random.default_rng(2)
    categories = pa.array(_CATEGORIES).take(pa.array(rng.integers(0, len(_CATEGORIES), count)))
    prices = pa.array(np.round(rng.gamma(2.0, 30.0, count), 2))
    payload = pa.schema([("category", pa.string()), ("price", pa.float64())])
    provenance = {MODEL_ID_KEY: model_id, MODEL_PATH_KEY: str(model)}
    schema = posterior_schema(payload, provenance)
    files = []
    for start in range(0, count, _FILE_ROWS):
        own = order[start : start + _FILE_ROWS]
        vectors = [
            pa.FixedSizeListArray.from_arrays(pa.array(array[own].ravel()), LATENT_DIM).cast(
                schema.field("mu").type
            )
            for array in (items.mu, items.log_var)
        ]
        names = pa.array([f"item-{place:010d}" for place in own.tolist()])
        places = pa.array(own)
        columns = [names, *vectors, pa.repeat("1", len(own)), categories.take(places)]
        rows = pa.Table.from_arrays([*columns, prices.take(places)], schema=schema)
        written = write_partition(iter(rows.to_batches(100_000)), path, "made", schema)
        files += [DataFile(**row) for batch in written for row in batch.to_pylist()]
    publish(path, None, files, schema, LATENT_DIM, "made")


class Running:
    """The job, as a process of its own, on a port of its own.

    Attributes:
        port: Where.
        first_answer: Seconds from its start to the answer to the first search.
        process: It.
    """

    def __init__(self, table: str, cache: Path, first: Asked) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [*_JOB, "--table", table, "--port", "0", "--cache", str(cache)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stderr is not None
        found, told = None, ""
        while found is None:
            line = self.process.stderr.readline()
            told += line
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if not line:
                raise RuntimeError(told)
        self.port = int(found[1])
        asyncio.run(one_user(self.port, [first]))
        self.first_answer = time.perf_counter() - began

    def anonymous_bytes(self) -> int:
        """Return what it holds of memory that is no mapped file."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def end(self) -> None:
        """End it, as Ctrl-C does."""
        self.process.terminate()
        if self.process.wait(30) != 0:
            raise RuntimeError(f"the service ended with {self.process.returncode}")


async def one_user(port: int, requests: Sequence[Asked]) -> list[float]:
    """Send requests one after the other over one connection; return the seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for request in requests:
        began = time.perf_counter()
        writer.write(request.octets)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        found.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{request.name}: {head[:60]!r} {body[:200]!r}")
    writer.close()
    return found


async def many_users(port: int, requests: Sequence[Asked], pause: float) -> list[float]:
    """Let users ask one after the other, each with a pause before each; return all seconds."""
    until = time.perf_counter() + SECONDS
    found: list[float] = []

    async def user(number: int) -> None:
        rng = np.random.default_rng(number)
        while time.perf_counter() < until:
            some = [requests[place] for place in rng.integers(0, len(requests), 8)]
            for request in some:
                await asyncio.sleep(pause * rng.exponential())
                found.extend(await one_user(port, [request]))

    await asyncio.gather(*(user(number) for number in range(USERS)))
    return found


def searches(name: str, z: np.ndarray, **more: object) -> list[Asked]:
    """Return a search for each z."""
    return [
        Asked(
            name,
            "POST /api/search",
            json.dumps({"z": np.round(one, 3).tolist(), "k": HITS, **more}).encode(),
        )
        for one in z
    ]


def decodes(z: np.ndarray) -> list[Asked]:
    """Return a request for what each z decodes to."""
    return [Asked("decode", f"GET /api/decode?z={','.join(f'{x:.3f}' for x in one)}") for one in z]


def of(seconds: Sequence[float], name: str) -> list[object]:
    """Return a row: how many, and their p50, p99 and greatest, in milliseconds."""
    ms = np.array(seconds) * 1e3
    return [name, len(ms), float(np.median(ms)), float(np.percentile(ms, 99)), float(ms.max())]


def drag(port: int) -> float:
    """Drag the first slider in Chromium; return how many new results a second come."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/")
        slider = page.locator("input[type=range]").first
        slider.wait_for()
        page.wait_for_timeout(3_000)
        arrived: list[float] = []
        page.on(
            "requestfinished",
            lambda request: (
                arrived.append(time.perf_counter()) if request.url.endswith("/api/search") else None
            ),
        )
        box = slider.bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.2, y)
        page.mouse.down()
        began = time.perf_counter()
        step = 0
        while time.perf_counter() - began < 8:
            step += 1
            place = 0.5 + 0.3 * np.sin(step / 40)
            page.mouse.move(box["x"] + box["width"] * place, y)
            page.wait_for_timeout(5)
        seconds = time.perf_counter() - began
        page.mouse.up()
        browser.close()
        return len(arrived) / seconds


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--page", action="store_true", help="drag a slider in Chromium, too")
    parser.add_argument("--starts", action="store_true", help="measure the starts alone")
    add_argument(parser)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    model, cache = options.data / "model", options.data / f"cache-{time.time_ns()}"
    if not model.exists():
        make_model(model)
    from vaeudf.model.bundle import load_bundle

    model_id = load_bundle(model).model_id
    table, small = (str(options.data / f"table-{count}") for count in (options.items, 1_000))
    for path, count in ((table, options.items), (small, 1_000)):
        if not Path(path).exists():
            tell(f"making a table of {count:,} items …")
            make_table(path, count, options.posteriors, model, model_id)
    items = draw_items(options.items, LATENT_DIM, options.posteriors)
    prior = draw_queries("prior", REPEATS, items)
    slider = draw_queries("slider", REPEATS, items)
    near = draw_queries("posterior", REPEATS, items)
    [first] = searches("first", prior[:1])

    starts = []
    least = Running(small, cache, first)
    # With the model loaded and decoded pictures kept, as for the table that is compared.
    asyncio.run(one_user(least.port, [*searches("warm", prior), *decodes(prior)]))
    base = least.anonymous_bytes()
    least.end()
    for name in ("first start", "next start"):
        service = Running(table, cache, first)
        starts.append([name, service.first_answer])
        if name == "first start":
            service.end()
    print_table(["", "seconds to the first answer"], starts)
    if options.starts:
        service.end()
        return

    time.sleep(5)
    asked = {
        "prior z": searches("prior", prior),
        "near items": searches("near", near),
        "sliders ±5": searches("slider", slider),
        "sliders ±5, tolerance 0.2": searches("tolerance", slider, tolerance=0.2),
        "prior z, two dimensions open": [
            Asked(
                "open",
                "POST /api/search",
                json.dumps({"z": [None, None, *np.round(z[2:], 3).tolist()], "k": HITS}).encode(),
            )
            for z in prior
        ],
        "prior z, where price < 20": searches("where", prior, where="price < 20"),
        "prior z, one a category": searches("per", prior, per="category:4"),
        "like an item": [
            Asked(
                "like",
                "POST /api/search",
                json.dumps({"like": [f"item-{place:010d}"], "k": HITS}).encode(),
            )
            for place in np.random.default_rng(4).integers(0, options.items, REPEATS).tolist()
        ],
        "decode": decodes(prior),
    }
    rows = []
    for name, requests in asked.items():
        tell(name)
        asyncio.run(one_user(service.port, requests[:20]))
        rows.append(of(asyncio.run(one_user(service.port, requests)), name))
    print_table(["one user", "requests", "p50 ms", "p99 ms", "max ms"], rows)

    memory = service.anonymous_bytes()
    per_item = (memory - base) / options.items
    print_table(["memory beyond mapped files", "bytes an item"], [["", per_item]])

    mixed = [*asked["near items"], *asked["prior z"], *asked["decode"]]
    rows = []
    for name, pause in (("10 requests a second each", 0.1), ("one after the other", 0.0)):
        tell(name)
        found = asyncio.run(many_users(service.port, mixed, pause))
        rows.append([*of(found, name), len(found) / SECONDS])
    print_table([f"{USERS} users", "requests", "p50 ms", "p99 ms", "max ms", "a second"], rows)
    if options.page:
        rates = [drag(service.port) for _ in range(3)]
        print_table(["Chromium", "new results a second"], [["drag", statistics.median(rates)]])
    service.end()


if __name__ == "__main__":
    main()
