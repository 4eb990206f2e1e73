"""A page of its own in one file: the same answers as the service's, and no network."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.blends import blend_scores
from tests.support.explore_page import Opened, check_nearness
from vaeudf.errors import InputError
from vaeudf.explore.export_page import MOST_ITEMS, check_exportable
from vaeudf.explore.fitted_decoder import fit_decoder
from vaeudf.workflows.cli import parse
from vaeudf.workflows.explore import Explore, explore

K = 24
Z = [0.5, -0.3, 0.2, 0.1]


def options(*flags: str) -> Explore:
    return parse(Explore, flags)


@pytest.fixture(scope="module")
def exported(page_shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "Größe 1.html"
    summary = explore(options("--table", page_shop.table, "--export", str(path)))
    assert summary["output"] == str(path)
    assert summary["items"] == 60
    assert summary["bytes"] == path.stat().st_size
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return path


@pytest.fixture
def opened(browser, exported):
    with Opened(browser, exported.as_uri(), "#z=" + ",".join(map(str, Z))) as found:
        yield found
        assert found.logged == []
        assert {one.partition(":")[0] for one in found.asked} <= {"file", "data", "blob"}


def test_hits_are_those_of_the_definition(opened, page_shop):
    items = page_shop.items
    assert opened.hits == items.best(Z, K)
    opened.set(2, -0.75)
    z = [0.5, -0.3, -0.75, 0.1]
    assert opened.hits == items.best(z, K)
    opened.row(1).get_by_role("button", name="every value will do").click()
    z[1] = None
    assert opened.hits == items.best(z, K)
    opened.row(0).get_by_role("button", name="it may be a little off").click()
    taus = [0.5, 0, 0, 0]
    assert opened.hits == items.best(z, K, tolerance=taus)
    command = opened.page.locator("#command").inner_text()
    assert shlex.split(command) == [
        *("vaeudf", "query_topk", "--table", page_shop.table, "--z=0.5,*,-0.75,0.1", "--version=1"),
        *("--k=24", "--tolerance=0.5,0,0,0"),
    ]


@pytest.mark.slow
def test_hits_say_how_near_they_are(opened, page_shop):
    check_nearness(opened, page_shop, Z, 0, None)
    opened.row(1).get_by_role("button", name="every value will do").click()
    check_nearness(opened, page_shop, Z, 0, 1)


@pytest.mark.slow
def test_what_a_hit_is_made_of(opened, page_shop):
    items = page_shop.items
    best = opened.hits[0]
    row = items.row(best)
    variance = np.exp(np.float64(items.log_var[row]))
    costs = 0.5 * (Z - np.float64(items.mu[row])) ** 2 / variance
    volume = -0.5 * np.log(2 * np.pi * variance).sum()
    opened.hit(best).locator(".go").hover()
    texts = opened.hit(best).locator(".why > div").all_text_contents()
    found = [
        f"{value:.2f}".replace("-", "−") for value in (volume - costs.sum(), -costs.sum(), volume)
    ]
    assert [text[-len(one) :] for text, one in zip(texts, found, strict=False)] == found


@pytest.mark.slow
def test_likes_and_dislikes(opened, page_shop):
    items = page_shop.items
    mu, log_var = np.float64(items.mu), np.float64(items.log_var)
    liked, disliked = opened.hits[2], opened.hits[7]
    a, b = items.row(liked), items.row(disliked)

    def expected(rows, weights):
        among = np.ones(len(mu), bool)
        among[rows] = False
        scores, _ = blend_scores(mu[rows], log_var[rows], weights, mu, log_var, score="kl")
        first = items.ranked(-scores, K, among)
        return first, scores[items.row(first[0])]

    def seen():
        score = opened.page.locator(".hit .score").first.inner_text()
        return opened.hits, float(score.replace("−", "-"))

    opened.button(f"Like {liked}").click()
    hits, kl = expected([a], [1])
    opened.settle()
    assert seen() == (hits, pytest.approx(kl, abs=0.00501))
    if disliked not in hits:
        disliked = hits[-1]
        b = items.row(disliked)
    opened.button(f"Dislike {disliked}").click()
    hits, kl = expected([a, b], [1, -0.5])
    opened.settle()
    assert seen() == (hits, pytest.approx(kl, abs=0.00501))


@pytest.mark.slow
def test_filters_and_options(opened, page_shop):
    page, items = opened.page, page_shop.items
    page.locator("#narrow > summary").click()
    assert page.get_by_label("Condition in SQL").count() == 0
    assert page.get_by_role("checkbox", name="Rank by comparing pictures").is_disabled()
    page.get_by_role("group", name="category").get_by_role("checkbox", name="dress").check()
    among = items.column("category") == "dress"
    assert opened.hits == items.best(Z, K, among=among)
    page.get_by_role("group", name="category").get_by_role("checkbox", name="dress").uncheck()
    page.get_by_label("price from").fill("40")
    page.get_by_label("price from").press("Enter")
    among = items.column("price").astype(float) >= 40
    assert opened.hits == items.best(Z, K, among=among)
    page.get_by_label("price from").fill("")
    page.get_by_label("price from").press("Enter")
    page.get_by_label("Variety by").select_option("category")
    best: dict[str, str] = {}
    for item_id in items.best(Z, 60):
        best.setdefault(items.column("category")[items.row(item_id)], item_id)
    assert opened.hits == list(best.values())


@pytest.mark.slow
def test_a_link_of_the_service_leaves_out_what_the_page_cannot(browser, exported, page_shop):
    with Opened(browser, exported.as_uri(), "#z=0.5,-0.3,0.2,0.1&where=price<5") as opened:
        assert opened.hits == page_shop.items.best(Z, K)
        assert not opened.page.locator("#narrowed").is_visible()
        assert "where" not in opened.page.locator("#command").inner_text()


@pytest.mark.slow
def test_pictures_and_the_map(opened, page_shop):
    opened.settle()
    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('.hit img')].every(i => i.complete && i.naturalWidth)"
    )
    truth = page_shop.shop.bundle.decode(np.array([Z]))[0]
    found = opened.pixels("#decoded")
    assert found.shape == truth.shape
    error = np.sqrt(np.square((found - np.float64(truth)) / 255).mean())
    about = opened.page.locator("#about").inner_text()
    assert "a fit of the decoder" in about
    stated = float(about.split("off by ")[1].split(" %")[0]) / 100
    assert error < 3 * stated + 2 / 255
    opened.page.locator("#map").scroll_into_view_if_needed()
    opened.page.locator("#map canvas").first.wait_for()
    expect(opened.page.locator("#legend li").first).to_be_visible()
    place = opened.page.locator("#map-place")
    place.focus()
    place.press("ArrowRight")
    tip = place.locator(".tip")
    expect(tip).to_be_visible()
    wanted = tip.inner_text().strip()
    place.press("Enter")
    mu = page_shop.items.mu[page_shop.items.row(wanted)]
    assert opened.z == pytest.approx(mu, abs=0.500001e-4)
    assert opened.violations() == []


def test_what_is_there_stays(page_shop, exported, tmp_path):
    other = tmp_path / "notes.html"
    other.write_text("mine")
    for path, flags, message in (
        (other, (), f"{other} is a file that this job has not made; name another one."),
        (other, ("--overwrite",), f"{other} is a file that this job has not made"),
        (tmp_path, (), f"{tmp_path} is a folder; name a file in it."),
        (tmp_path / "no" / "page.html", (), "the folder of"),
        (exported, (), f"{exported} exists already; name another file, or replace it: --overw"),
    ):
        with pytest.raises(InputError) as error:
            explore(options("--table", page_shop.table, "--export", str(path), *flags))
        assert message in str(error.value)
    assert other.read_text() == "mine"


def test_what_does_not_go_with_it():
    with pytest.raises(InputError, match="host, allow-host, port, open and cache do not"):
        options("--table", "t", "--export", "page.html", "--open")
    with pytest.raises(InputError, match="overwrite goes with --export"):
        options("--table", "t", "--overwrite")
    with pytest.raises(InputError, match=r"has 5,001 items, and a page holds at most 5,000; serve"):
        check_exportable(MOST_ITEMS + 1)


def test_a_smooth_decoder_is_fitted_well_and_says_by_how_much():
    rng = np.random.default_rng(0)
    into = rng.normal(size=(3, 6 * 5 * 3)) / 3

    def decode(z):
        return (1 / (1 + np.exp(-z @ into))).reshape(-1, 6, 5, 3).astype(np.float32)

    fitted = fit_decoder(decode, 3, np.full(3, 5.0))
    z = rng.normal(size=(500, 3))
    found = fitted.decode(z).reshape(-1, 6, 5, 3)
    error = np.sqrt(np.square(found - decode(z)).mean())
    assert fitted.error < 0.01
    assert error == pytest.approx(fitted.error, rel=0.5)


def test_the_file_has_all_items_and_no_address_of_another_machine(exported):
    text = exported.read_text("utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["ids"]) == 60
    assert "https://" not in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.slow
def test_what_a_page_lacks_is_said(page_shop, tmp_path, caplog):
    shutil.copytree(page_shop.table, tmp_path / "posteriors")
    gone = str(tmp_path / "photos")
    shutil.copytree(Path(page_shop.table).parent / "photos", gone)
    lost = page_shop.items.ids[3]
    (Path(gone) / lost).unlink()
    page = tmp_path / "page.html"
    with caplog.at_level("INFO"):
        explore(
            options(
                *("--table", str(tmp_path / "posteriors"), "--export", str(page)),
                *("--catalog", gone),
            )
        )
    assert "1 of 60 items have no picture" in caplog.text
    # What takes seconds is told of before.
    assert [line for line in caplog.messages if line.endswith("…")] == [
        f"loading {tmp_path / 'posteriors'}: 60 items …",
        "loading the model …",
        "fitting what z decodes to …",
        "reading 60 pictures, of up to 224 pixels …",
    ]
    data = json.loads(page.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
    assert [data["ids"][row] for row, one in enumerate(data["pictures"]) if one is None] == [lost]
