"""What a build says of duplicates: the report, the evidence of dropped rows, and who was kept."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan.curate.build import MixResult, build_mix
from caravan.curate.links import lsh_recall
from caravan.curate.recipe import Recipe
from rawrows import alpaca_rows, sentence


def near(row: dict[str, str], places: int) -> dict[str, str]:
    words = row["output"].split()
    for n in range(places):
        words[(n + 1) * len(words) // (places + 1)] = f"other{n}"
    return row | {"output": " ".join(words)}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twenty alpaca rows, and in a Dolly file three of them again, word for word, with one and with two edits."""
    rows = alpaca_rows(20)
    for number, row in enumerate(rows):
        row["output"] = f"The scene shows this. {sentence(500 + number, 120)}"
    (tmp_path / "alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    again = [rows[0], near(rows[1], 1), near(rows[2], 2)]
    dolly = [
        {"instruction": r["instruction"], "context": "", "response": r["output"], "category": "open_qa"} for r in again
    ]
    (tmp_path / "dolly.json").write_text(json.dumps(dolly), encoding="utf-8")
    return tmp_path


def build(raw: Path, out: str, **more: Any) -> MixResult:
    sources = {name: {"paths": str(raw / f"{name}.json")} for name in ("alpaca", "dolly")}
    own = more.pop("sources", {})
    table = {"sources": {name: source | own.get(name, {}) for name, source in sources.items()}, "use": ["duplicates"]}
    return build_mix(Recipe.model_validate(table | more), out=raw / out)


def section(folder: Path) -> str:
    page = (folder / "report.html").read_text(encoding="utf-8")
    return page[page.index('id="duplicates"') : page.index('id="contamination"')]


def table_rows(part: str) -> list[list[str]]:
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", part, re.S)]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in cells]


def test_dropped_rows_name_partner_key_and_similarity_and_the_least_similar_are_listed(raw: Path) -> None:
    made = build(raw, "mix")
    gone = pl.read_parquet(raw / "mix" / "dropped.parquet")
    assert gone["reason"].sort().to_list() == ["exact_duplicate", "near_duplicate", "near_duplicate"]
    evidence = [next(iter(json.loads(text).values())) for text in gone["evidence"]]
    kept = set(made.ledger.filter(pl.col("reason").is_null())["id"])
    assert {e["duplicate_of"] for e in evidence} <= kept
    assert {e["duplicate_key"] for e in evidence} == {"conversation"}
    similar = sorted(e["similarity"] for e in evidence)
    assert 0.8 < similar[0] < similar[1] < similar[2] == 1

    rows = table_rows(section(raw / "mix"))
    at = rows.index(["dropped", "source", "repeats", "source", "alike in", "similarity"])
    listed = rows[at + 1 : at + 3]
    assert [row[5] for row in listed] == [f"{value:.3f}" for value in similar[:2]]
    by_id = {row["id"]: row for row in made.ledger.iter_rows(named=True)}
    for gone_id, source, stays, other, key, _ in listed:
        assert by_id[gone_id]["duplicate_of"] == stays
        assert (by_id[gone_id]["source"], by_id[stays]["source"], key) == (source, other, "conversation")


def test_the_page_has_the_curve_of_the_search(raw: Path) -> None:
    build(raw, "mix")
    part = section(raw / "mix")
    assert "32 bands of 4" in part
    found = {row[0]: row[1] for row in table_rows(part)}
    assert found["0.4"] == f"{1 - (1 - 0.4**4) ** 32:.4%}"
    assert found["0.7"] == "99.9847%"
    assert 1 - lsh_recall(0.8, 32, 4) < 1e-6


def test_the_page_says_what_was_not_searched_for(raw: Path) -> None:
    build(raw, "exact", filters={"duplicates": {"index": "prefix"}})
    assert "Every pair from 0.7 on was proposed" in section(raw / "exact")
    build(raw, "none", filters={"duplicates": {"near_keys": []}})
    assert "Near duplicates were not looked for" in section(raw / "none")
    (raw / "dolly.json").write_text(
        json.dumps([{"instruction": "Hm?", "context": "", "response": "No.", "category": "open_qa"}]), encoding="utf-8"
    )
    build(raw, "clean")
    part = section(raw / "clean")
    assert "No example repeats another." in part
    assert "32 bands of 4" in part


def test_people_stay_before_models_unless_the_recipe_says_otherwise(raw: Path) -> None:
    def dropped_of(folder: str, **more: Any) -> dict[str, int]:
        counts = build(raw, folder, **more).ledger.filter(pl.col("reason").is_not_null())["source"].value_counts()
        return dict(counts.iter_rows())

    assert dropped_of("a") == {"alpaca": 3}
    assert dropped_of("b", sources={"alpaca": {"answers_by": "people"}, "dolly": {"answers_by": "model"}}) == {
        "dolly": 3
    }
    assert dropped_of("c", priority=["alpaca"]) == {"dolly": 3}
    by_length = dropped_of("d", keep=["length"])
    assert sum(by_length.values()) == 3
