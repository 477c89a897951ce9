"""The page of a comparison: one file that nothing hostile gets into, small enough, and usable (needs Chromium)."""

import json
import random
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from caravan.eval.comparing.arms import Arm
from caravan.eval.comparing.compare import Comparison, compare
from caravan.eval.comparing.page import page
from caravan.eval.comparing.runs import Row, Run, Table, frame_of, read_run
from chromium import Browser, Page, chromium
from made_logs import header, json_log, line, lm_eval, sample

EVIL = "</script><img src=x onerror=alert(1)>&\"'\u202e<!--"
SUBJECTS = [f"subject {n:02d}" for n in range(57)]


def made(n: int = 60, arms: int = 3, benchmarks: tuple[str, ...] = ("mmlu", "bbh", "gsm8k")) -> list[Arm]:
    """Arms of made-up items; every tenth of the first has failed."""
    found = []
    for which in range(arms):
        tables = []
        for name in benchmarks:
            draw = random.Random(f"{name} {which}")
            rows = []
            for k in range(n):
                failed = which == 0 and k % 10 == 0
                score = None if failed else float(draw.random() < 0.3 + 0.3 * which)
                rows.append(
                    Row(f"{name}/test/{k}", SUBJECTS[k % 5], "", score, "failed" if failed else "scored", "ABCD"[k % 4])
                )
            tables.append(Table(name, "5-shot", "accuracy", frame_of(rows)[0]))
        found.append(Arm(f"run {which}", [Run(f"run {which}", "caravan", "", tables)]))
    return found


def hostile(tmp_path: Path) -> Comparison:
    """Logs whose every name is a tag."""
    samples = [sample(EVIL + str(n), {EVIL: n % 2}, scorer=EVIL, metadata={"subject": EVIL}) for n in range(4)]
    head = header(samples, {EVIL: 0.5})
    head["eval"] = {"task": EVIL, "model": EVIL, "task_version": EVIL, "dataset": {"name": EVIL}}
    log = json_log(tmp_path / "a.json", head, samples)
    task = {"evil": [line(n, EVIL, **{EVIL: 1.0}) | {"filtered_resps": [EVIL]} for n in range(4)]}
    other = lm_eval(tmp_path / "b", task, {"evil": {f"{EVIL},{EVIL}": 0.5}}, model=EVIL, versions={"evil": EVIL})
    return compare([Arm(f"{EVIL}{n}", [read_run(path)]) for n, path in enumerate((log, log, other))])


class Reader(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.texts:
            self.texts[self._inside].append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_nothing_hostile_gets_into_the_page(tmp_path: Path) -> None:
    comparison = hostile(tmp_path)
    reader = read(page(comparison))
    names = {tag for tag, _ in reader.tags}
    assert not names & {"img", "iframe", "object", "embed", "link", "base", "a\u202e"}
    for _, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style" or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")
    assert sum(tag == "script" for tag, _ in reader.tags) == 2
    data, script = reader.texts["script"]
    told = json.loads(data)
    assert told["arms"][0] == f"{EVIL}0"
    assert told["benches"][0]["ids"][0] == f"{EVIL}0"
    assert "innerHTML" not in script


def test_the_policy_lets_in_what_the_page_has_and_nothing_else(tmp_path: Path) -> None:
    text = page(compare(made()))
    reader = read(text)
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; ")
    known = set(re.findall(r"'sha256-([^']+)'", policy))
    code = [*reader.texts["style"], reader.texts["script"][1]]
    assert {b64encode(sha256(one.encode()).digest()).decode() for one in code} == known
    assert not re.search(r"https?://|//[a-z]", text)


def test_the_same_comparison_is_the_same_page() -> None:
    assert page(compare(made())) == page(compare(made()))


def test_what_the_page_shows() -> None:
    text = page(compare(made()))
    for words in ("What it shows", "Against run 0", "All benchmarks", "By group", "Other pairs", "run 2 is better"):
        assert words in text
    assert text.count('class="c0 area"') == text.count('class="c2 area"') == 1
    assert text.count("<details>") == 3 + 3
    two = page(compare(made(benchmarks=("mmlu", "bbh"))))
    assert "area" not in two.partition("<body>")[2]
    alone = page(compare(made(arms=1)))
    assert "What it shows" not in alone.partition("<body>")[2]
    assert "<h1>run 0</h1>" in alone


def body_of(comparison: Comparison) -> str:
    return page(comparison).partition("<body>")[2].partition("<script")[0].lower()


def test_numbers_of_any_size_are_drawn() -> None:
    rows = [Row(str(n), "ab"[n % 2], "", value) for n, value in enumerate([9e49, -9e49, 5.0, 0.0, 3.5])]
    one = [Arm("big", [Run("big", "caravan", "", [Table("t", "", "m", frame_of(rows)[0])])])]
    assert "nan" not in body_of(compare(one))
    none = [Row("1"), Row("2")]
    empty = [Arm("none", [Run("none", "caravan", "", [Table("t", "", "m", frame_of(none)[0])])])]
    assert "nan" not in body_of(compare([*one, *empty]))


def test_a_page_of_mmlu_stays_small() -> None:
    arms = []
    for which in range(3):
        draw = random.Random(which)
        rows = [
            Row(
                f"high_school_government_and_politics/test/{n}",
                SUBJECTS[n % 57],
                "",
                float(draw.random() < 0.5),
                "scored",
                "x" * 60,
            )
            for n in range(14_042)
        ]
        arms.append(Arm(f"run {which}", [Run("", "caravan", "", [Table("mmlu", "", "accuracy", frame_of(rows)[0])])]))
    assert len(page(compare(arms)).encode()) < 10 * 2**20


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(browser: Browser, path: Path, text: str, **size: int) -> Page:
    path.write_text(text, encoding="utf-8")
    shown = browser.open(path.as_uri(), **size)
    shown.wait(lambda: shown.run("document.readyState") == "complete", "the page")
    shown.wait(lambda: "items" in shown.text("#count"), "the table of items")
    return shown


def choose(shown: Page, select: str, value: Any) -> None:
    change = f"e.value = {json.dumps(str(value))}; e.dispatchEvent(new Event('change'));"
    shown.run(f"(e => {{ {change} }})(document.getElementById('{select}'))")


def column(shown: Page, number: int) -> list[str]:
    return list(shown.run(f"[...document.querySelectorAll('#body tr')].map(r => r.children[{number}].innerText)"))


@pytest.mark.slow
def test_items_are_filtered_sorted_and_set_side_by_side(browser: Browser, tmp_path: Path) -> None:
    arms = made()
    shown = opened(browser, tmp_path / "page.html", page(compare(arms)))
    assert shown.text("#count") == "1 to 25 of 60 items (60 in all)"
    shown.run("document.getElementById('on').click()")
    assert shown.text("#count") == "26 to 50 of 60 items (60 in all)"
    frames = [one.runs[0].tables[0].frame for one in arms]
    a, b = (frame["score"].to_list() for frame in frames[:2])
    expected = {
        "differ": sum(x != y for x, y in zip(a, b, strict=True)),
        "better": sum(x is not None and y is not None and y > x for x, y in zip(a, b, strict=True)),
        "worse": sum(x is not None and y is not None and y < x for x, y in zip(a, b, strict=True)),
        "none": 6,
    }
    for name, n in expected.items():
        choose(shown, "show", name)
        assert f"of {n} items (60 in all)" in shown.text("#count")
    assert {one[:6] for one in column(shown, 2)} == {"failed"}
    choose(shown, "show", "all")
    choose(shown, "arm", 2)
    shown.run("document.querySelectorAll('#head button')[4].click()")
    assert [one.split()[0] for one in column(shown, 4)][:3] == ["–", "–", "–"]
    shown.run("document.querySelectorAll('#head button')[4].click()")
    assert set(column(shown, 4)[:5]) == {"+1"}
    assert shown.run("document.querySelectorAll('#head th')[4].getAttribute('aria-sort')") == "descending"
    assert shown.run("document.activeElement === document.querySelectorAll('#head button')[4]")
    shown.run(
        "(e => { e.value = 'SUBJECT 03'; e.dispatchEvent(new Event('input')); })(document.getElementById('find'))"
    )
    assert set(column(shown, 1)) == {"subject 03"}
    choose(shown, "bench", 1)
    assert column(shown, 0)[0].startswith("bbh/test/")
    assert not [one for one in browser.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]


@pytest.mark.slow
def test_a_hostile_page_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    browser.events.clear()
    shown = opened(browser, tmp_path / "evil.html", page(hostile(tmp_path)))
    assert column(shown, 0)[0] == f"{EVIL}0"
    assert shown.run("document.querySelectorAll('img').length") == 0
    assert not [one for one in browser.events if one["method"] in ("Page.javascriptDialogOpening", "Log.entryAdded")]


@pytest.mark.slow
def test_nothing_sticks_out_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    shown = opened(browser, tmp_path / "page.html", page(compare(made())), width=390, height=800)
    for dark in (False, True):
        shown.look(390, 800, dark=dark, touch=True)
        shown.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert shown.run("document.documentElement.scrollWidth") == 390
        ground, ink = (shown.run(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
        assert (sum(map(int, re.findall(r"\d+", ground))) < sum(map(int, re.findall(r"\d+", ink)))) == dark
