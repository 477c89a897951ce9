"""The report in a real browser: markup that stands in the data does nothing (make test-slow; needs Chromium)."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from caravan.curate.build import build_mix
from caravan.curate.recipe import Recipe
from rawrows import alpaca_rows, message_rows

OWNED = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def in_browser(page: Path, profile: Path) -> str:
    """The document after scripts had their chance to run."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.fail("this test needs Chromium on the path: install it (Debian: apt-get install chromium)")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    command = [browser, *flags, f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.slow
def test_markup_in_rows_ids_and_file_names_does_nothing_in_the_page(tmp_path: Path) -> None:
    rows = alpaca_rows(6)
    rows[0]["output"] += OWNED
    chats = message_rows(6)
    chats += chats[:2]
    for n, chat in enumerate(chats):
        chat["id"] = f"{OWNED}{n}"
    name = OWNED.replace("/", "_")
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(c) + "\n" for c in chats), encoding="utf-8")
    (tmp_path / "rows.json").write_text(json.dumps([*rows, rows[0], {"instruction": OWNED}]), encoding="utf-8")
    table = {
        "name": OWNED,
        "sources": {
            OWNED: {"paths": [str(tmp_path / f"{name}.jsonl")], "converter": "messages"},
            "alpaca": {"paths": [str(tmp_path / "rows.json")], "licence": OWNED},
        },
    }
    build_mix(Recipe.model_validate(table), out=tmp_path / "mix")
    page = tmp_path / "mix" / "report.html"
    assert "document.title" in page.read_text(encoding="utf-8")  # it is there, as text
    dom = in_browser(page, tmp_path / "profile")
    title = dom.partition("<title>")[2].partition("</title>")[0]
    assert "document.title" in title  # the recipe's name, shown and not run
    assert "<script" not in dom
    assert "<img" not in dom


@pytest.mark.slow
def test_the_browser_would_have_run_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<title>safe</title>{OWNED}", encoding="utf-8")
    assert "<title>owned</title>" in in_browser(page, tmp_path / "profile")
