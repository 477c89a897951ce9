"""Two people at once work through a set in a real browser, with the keyboard alone (needs Chromium)."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan.eval.human.store import open_store
from chromium import Browser, Page, chromium
from human_made import MODELS, outputs, served

pytestmark = pytest.mark.slow
ITEMS = 6


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def at(page: Page, place: int) -> None:
    page.wait(lambda: page.text("#place").startswith(f"Pair {place} ") and page.run("shown !== null"), f"pair {place}")


def says(page: Page, words: str) -> None:
    page.wait(lambda: words in page.text("#status"), words)


def unseen_names(page: Page) -> None:
    """No model's name, item's id or file's name stands anywhere in the page or in what it was sent."""
    everything = page.source() + str(page.run("JSON.stringify([said, shown, {...localStorage}, location.pathname])"))
    for word in (*MODELS, "item-", "jsonl"):
        assert word not in everything


def test_two_people_at_once_with_the_keyboard_alone(tmp_path: Path, browser: Browser) -> None:
    with served(*outputs(tmp_path, ITEMS), tmp_path / "s", ["Ada:students", "Ben:paid"]) as server:
        ada, ben = (browser.open(server.links[name]) for name in ("Ada", "Ben"))
        at(ada, 1)
        at(ben, 1)
        for place in range(1, ITEMS + 1):
            for page, keys in ((ada, "qp2"), (ben, "wo5")):
                at(page, place)
                unseen_names(page)
                for key in keys:
                    page.press(key)
                if place == 3:  # nothing that was chosen is lost when the page is loaded again
                    page.press("c")
                    page.type("hm, qw12")
                    page.press("Escape")
                    before = page.text("#answer-0"), page.text("#answer-1")
                    page.reload()
                    at(page, place)
                    says(page, "your draft")
                    assert (page.text("#answer-0"), page.text("#answer-1")) == before
                    assert page.run("document.querySelector('#comment').value") == "hm, qw12"
                page.press("Enter")
        for page in (ada, ben):
            page.wait(lambda page=page: "Thank you" in page.text("#done"), "the end")  # type: ignore[misc]
            assert f"{ITEMS} of {ITEMS}" in page.text("#count")
        ada.press("z")  # go back and change one's mind
        at(ada, ITEMS)
        says(ada, "You may change it")
        ada.press("4")
        ada.press("Enter")
        ada.wait(lambda: "Thank you" in ada.text("#done"), "the end again")
        assert not [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    store = open_store(tmp_path / "s")
    votes = store.votes()
    assert len(votes) == 2 * ITEMS + 1
    assert {(v.said.preference, v.said.left_ok, v.said.right_ok) for v in votes if v.annotator == "Ben"} == {
        (2, False, True)
    }
    assert store.latest("Ada", ITEMS - 1) == votes[-1].said
    assert (votes[-1].said.preference, votes[-1].said.left_ok) == (1, True)
    assert sorted(v.said.comment for v in votes if v.said.comment) == ["hm, qw12"] * 2
    assert all(0 < v.said.seconds < 60 for v in votes)
    store.close()


def test_a_server_that_dies_and_comes_back_loses_nothing(tmp_path: Path, browser: Browser) -> None:
    a, b = outputs(tmp_path, ITEMS)
    with served(a, b, tmp_path / "s", ["Ada"]) as server:
        link = server.links["Ada"]
        page = browser.open(link)
        at(page, 1)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    for key in ("q", "o", "1", "Enter"):
        page.press(key)
    says(page, "Not saved yet")
    port = re.search(r":(\d+)/", link)
    assert port is not None
    with served(a, b, tmp_path / "s", [], int(port[1])):
        at(page, 2)
        assert "1 of 6" in page.text("#count")
    store = open_store(tmp_path / "s")
    assert [vote.said.preference for vote in store.votes()] == [-2]
    store.close()


def test_keys_and_what_is_missing(tmp_path: Path, browser: Browser) -> None:
    with served(*outputs(tmp_path, ITEMS), tmp_path / "s", ["Ada"]) as server:
        page = browser.open(server.links["Ada"])
        at(page, 1)
        page.press("q")
        page.press("Enter")
        says(page, "Please say which is better")
        assert page.run("document.activeElement.name") == "preference"
        page.press("3")
        page.press("Enter")
        says(page, "Please say whether B is acceptable")
        page.press("r")
        assert "**" in page.text("#answer-0")
        page.press("r")
        assert "**" not in page.text("#answer-0")
        assert page.run("document.querySelector('#answer-0 strong') !== null")
        page.press("n")
        at(page, 2)
        page.press("x")
        page.press("h")  # the other reason: one at a time
        page.press("Enter")
        at(page, 3)
        page.press("u")
        at(page, 4)
        page.press("z")
        page.press("z")
        page.press("z")
        page.wait(lambda: "Pair 4" not in page.text("#place"), "back")
        assert page.run("said") == ["", "skipped", "", "", "", ""]
        page.run("document.querySelector('#keys').click()")
        page.run("document.querySelector('#place').focus()")
        page.press("n")
        page.press("2")
        time.sleep(0.2)
        assert page.run("answer().preference") is None  # single letters are off


def test_tab_reaches_every_control_in_order_and_shows_where_it_is(tmp_path: Path, browser: Browser) -> None:
    with served(*outputs(tmp_path, ITEMS), tmp_path / "s", ["Ada"]) as server:
        page = browser.open(server.links["Ada"])
        at(page, 1)
        page.run("document.querySelector('#place').focus()")
        seen = []
        for _ in range(12):
            page.press("Tab")
            seen.append(
                page.run("document.activeElement.id || document.activeElement.name || document.activeElement.tagName")
            )
            box = "(e => e.matches('.choice input') ? e.nextElementSibling : e)(document.activeElement)"
            assert page.run(f"getComputedStyle({box}).outlineStyle") != "none", seen
        assert seen == [
            *("prompt", "left_ok", "preference", "right_ok", "invalid", "hard", "comment", "next", "save"),
            *("SUMMARY", "keys", "raw"),
        ]


@pytest.mark.parametrize(("width", "height", "touch"), [(1280, 860, False), (820, 1100, False), (360, 740, True)])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_and_everything_can_be_read(
    tmp_path: Path, browser: Browser, width: int, height: int, touch: bool, dark: bool
) -> None:
    with served(*outputs(tmp_path, ITEMS), tmp_path / "s", ["Ada"]) as server:
        page = browser.open(server.links["Ada"])
        page.look(width, height, dark=dark, touch=touch)
        at(page, 1)
        assert page.run("document.documentElement.scrollWidth") <= width
        page.picture(tmp_path / "page.png", whole=True)
        assert (tmp_path / "page.png").stat().st_size > 5000
        assert page.run(CONTRAST) == []


# Texts of which the contrast with what lies behind them is below 4.5 (WCAG 2, AA).
CONTRAST = """
(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(":disabled")) continue;
    const [one, two] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent} ${ratio.toFixed(2)}`);
  }
  return found;
})()
"""
