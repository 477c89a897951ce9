"""What `curate contamination-check` says: two sides, suspected items and variants apart, and the exit status."""

import json
from pathlib import Path

import polars as pl
import pytest

from caravan.curate import show
from caravan.curate.check import Check, contamination_check

QUESTIONS = [
    "In which year was the last wooden bridge of the town of Hulm taken down?",
    "A ferry carries 24 cars on each crossing and crosses 9 times a day. How many cars can it carry in a day?",
    "Which painter drew the lighthouse at Kerrin before the storm took its roof?",
    "How many sheep live on the island of Orvay when the ferryman has taken the lambs across?",
]


@pytest.fixture
def result(tmp_path: Path) -> Check:
    items = [{"id": f"q{n}", "question": q, "answer": str(1900 + n)} for n, q in enumerate(QUESTIONS)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items), encoding="utf-8")
    rows = [
        {"instruction": QUESTIONS[0], "output": "In 1900, after the flood."},
        {"instruction": f"Tell me. {QUESTIONS[0]}", "output": "Nobody knows that any more."},
        {"instruction": QUESTIONS[1].replace("24", "36").replace("9", "7"), "output": "It can carry many of them."},
        {"instruction": "Say something about the weather of today.", "output": "It rains over the old quay."},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return contamination_check(
        str(tmp_path / "rows.json"), str(tmp_path / "mine.jsonl"), out=tmp_path / "out", max_leaked=0.3
    )


def test_both_sides_are_counted(result: Check, tmp_path: Path) -> None:
    (record,) = result.records
    assert (record.items, record.hit, record.rows_hit, record.rows_answered) == (4, 1, 2, 1)
    assert (record.variants, record.rows_variants) == (1, 1)
    assert result.worst == 0.25
    assert not result.leaked
    assert record.interval[0] < 0.25 < record.interval[1]
    written = pl.read_parquet(tmp_path / "out/contamination.parquet")
    assert sorted(written["kind"]) == ["variant", "verbatim", "verbatim"]
    assert result.matches["item"].to_list() == ["q0", "q0"]


def test_the_terminal_and_json_say_the_same(result: Check, capsys: pytest.CaptureFixture[str]) -> None:
    show.checked(result, None, as_json=False)
    said = capsys.readouterr().out
    assert "25.00% [4.56, 69.94]" in said
    assert "50.00%" in said
    assert "1 in 1" in said
    assert "within the limit of 30.00%" in said
    show.checked(result, None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    (bench,) = told["benchmarks"]
    assert (bench["share"], round(bench["low"], 4), round(bench["high"], 4)) == (0.25, 0.0456, 0.6994)
    assert (bench["rows_answered"], bench["variants"], bench["suspected"], told["leaked"]) == (1, 1, 0, False)
    assert [group["hit"] for group in told["groups"]] == [1]


def test_variants_do_not_count_as_leaked_for_clean_scores(result: Check) -> None:
    assert "q1" in result.lines["item"].to_list()
    assert "q1" not in result.matches["item"].to_list()
