"""Pages as a browser shows them: headless Chromium, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A picture that the page shows only when it is scrolled to must load as well.
_LOAD_ALL = """async () => {
  const broken = [];
  for (const image of document.images) {
    image.loading = "eager";
    try { await image.decode(); } catch (error) { broken.push(image.alt || image.src); }
  }
  return broken;
}"""
_NO_ALT = "() => [...document.images].filter(i => !i.alt).map(i => i.src.slice(0, 60))"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Contrast of text against the nearest background, as WCAG 2 defines it.
FAINT = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > .5) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("body *")) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
    if (!text) continue;
    const [a, b] = [parts(getComputedStyle(e).color), ground(e)].map(luminance);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faint.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser, or skip the test and say why."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here (looked for {', '.join(NAMES)} on PATH)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def check_page(browser: Any, path: str, min_pictures: int = 1) -> None:
    """Open a page on a desk and on a phone: all is there, readable, and nothing is asked for."""
    _check_at(browser, path, min_pictures, 1280, 900)
    _check_at(browser, path, min_pictures, 390, 844)


def _check_at(browser: Any, path: str, min_pictures: int, width: int, height: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": height})
    logged: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(f"file://{quote(path)}")
        assert page.evaluate("document.images.length") >= min_pictures
        assert page.evaluate(_LOAD_ALL) == [], "pictures that do not load"
        assert page.evaluate(_NO_ALT) == [], "pictures without an alt text"
        assert page.evaluate(OVERFLOW) <= 0, f"wider than a screen of {width} pixels"
        assert page.evaluate(FAINT) == [], "text that is hard to read"
        wanted = [unquote(url) for url in asked if not url.startswith("data:")]
        assert wanted == [f"file://{path}"], f"asked for {wanted}"
        assert logged == [], f"logged by the browser: {logged}"
    finally:
        page.close()
