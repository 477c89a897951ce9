"""The report: well-formed, offline, harmless whatever names hold, and its numbers are those of the files."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan import pages
from caravan.curate.report import report
from caravan.errors import UserError
from caravan.mixtures import manifest as manifests
from caravan.mixtures.manifest import Amount, BenchmarkRecord, FileRead, FilterRecord, Manifest, SourceRecord

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x00"
VOID = {"meta"}
LEDGER: dict[str, Any] = {
    "id": pl.String, "row_id": pl.String, "source": pl.String, "file": pl.String, "row": pl.Int64,
    "rows": pl.List(pl.Int64), "fate": pl.String, "reason": pl.String, "reasons": pl.List(pl.String),
    "detail": pl.String, "duplicate_of": pl.String, "duplicate_key": pl.String, "similarity": pl.Float64,
    "copies": pl.Int64, "tokens": pl.Int64, "supervised_tokens": pl.Int64, "turns": pl.Int64, "language": pl.String,
    "language_score": pl.Float64, "quality": pl.Float64, "contamination_max": pl.Float64,
}  # fmt: skip
LEAKS: dict[str, Any] = {
    "row_id": pl.String, "file": pl.String, "row": pl.Int64, "benchmark": pl.String, "item": pl.String,
    "kind": pl.String, "coverage_item": pl.Float64, "coverage_row": pl.Float64, "similarity": pl.Float64,
    "answer": pl.Boolean, "row_spans": pl.List(pl.List(pl.Int64)), "item_spans": pl.List(pl.List(pl.Int64)),
}  # fmt: skip


def line(number: int, source: str, fate: str, reason: str | None = None, **more: object) -> dict[str, object]:
    plain = {
        "id": f"{number:032x}", "row_id": f"{source}:{number}", "source": source, "file": f"{source}.jsonl",
        "row": number, "rows": [number], "fate": fate, "reason": reason, "reasons": [reason] if reason else [],
        "copies": int(fate == "drawn"), "tokens": 2 ** (number % 12) + number, "supervised_tokens": number,
        "turns": 2, "language": ("en", "en", "fr", "und")[number % 4], "language_score": 0.93, "quality": 0.61,
    }  # fmt: skip
    return plain | more


def record(
    name: str, fates: dict[str, int], dropped: dict[str, int], rejected: int, raw: int | None = None
) -> SourceRecord:
    examples = sum(fates.values()) + sum(dropped.values())
    rows = examples + rejected if raw is None else raw
    file = FileRead(
        file=f"{name}.jsonl", sha256="0f" * 32, bytes=1, converter="alpaca", converter_version=3, rows=rows,
        cited=rows - rejected, rejected=rejected, quarantined=0, examples=examples, codes={"empty_response": rejected},
    )  # fmt: skip
    return SourceRecord(
        name=name, licences=["MIT"], files=[file], examples=examples, dropped=dropped, drawn=fates["drawn"],
        validation=fates.get("validation", 0), not_drawn=fates.get("not_drawn", 0), quality=0.5, share_requested=0.6,
        share_given=0.5, requested=10, given=Amount(examples=fates["drawn"], tokens=10**12, supervised_tokens=1),
        max_copies=1,
    )  # fmt: skip


def folder(path: Path, names: tuple[str, str] = ("cot", "dolly"), *, leaks: bool = True) -> Path:
    """A mixture folder of two sources: 30 drawn, 6 validation, 4 not drawn, 25 near duplicates, 3 rejected each."""
    lines = list[dict[str, object]]()
    records = list[SourceRecord]()
    for at, name in enumerate(names):
        start = at * 1000
        lines += [line(start + n, name, "drawn") for n in range(30)]
        lines += [line(start + 30 + n, name, "validation") for n in range(6)]
        lines += [line(start + 40 + n, name, "not_drawn") for n in range(4)]
        partner = f"{5:032x}"  # of the first source, whichever source repeats it
        lines += [
            line(start + 100 + n, name, "dropped", "near_duplicate", duplicate_of=partner, duplicate_key="prompt",
                 similarity=0.875, reasons=["near_duplicate", "too_long"])
            for n in range(25)
        ]  # fmt: skip
        lines += [
            line(start + 200 + n, name, "rejected", "empty_response", id=None, detail="no text") for n in range(3)
        ]
        fates = {"drawn": 30, "validation": 6, "not_drawn": 4}
        records.append(record(name, fates, {"near_duplicate": 25}, 3))
    benchmarks = [
        BenchmarkRecord(name="gsm8k", items=1319, too_short=19, hit=2, rows_hit=3, embedded=False),
        BenchmarkRecord(name="tiny", items=0, too_short=0, hit=0, rows_hit=0, embedded=True),
    ]
    manifest = Manifest(
        caravan="0.1.0", content_hash="ab" * 32, recipe={"name": names[0]}, seed=0, unit="examples",
        token_counter="cl100k_base", requested=60, given=Amount(examples=60, tokens=2 * 10**12, supervised_tokens=2),
        validation=Amount(examples=12), embedded_samples=False, sources=records,
        filters=[FilterRecord(name="language", version=1, settings={}, limits={"keep": [names[0]]})],
        benchmarks=benchmarks if leaks else [], strategy={"name": "tuned"}, libraries={}, notes=[names[0]],
    )  # fmt: skip
    manifests.write(manifest, path)
    pl.DataFrame(lines, schema=LEDGER).write_parquet(path / "ledger.parquet")
    if leaks:
        found = [
            {"row_id": "a", "benchmark": "gsm8k", "item": f"{names[0]}/7", "kind": "verbatim", "coverage_item": 1.0,
             "coverage_row": 0.25, "answer": True},
            {"row_id": "b", "benchmark": "gsm8k", "item": f"{names[0]}/7", "kind": "edited", "coverage_item": 0.7,
             "coverage_row": 0.5},
            {"row_id": "c", "benchmark": "gsm8k", "item": "other", "kind": "verbatim", "coverage_item": 0.9,
             "coverage_row": 0.9},
        ]  # fmt: skip
        pl.DataFrame(found, schema=LEAKS).write_parquet(path / "contamination.parquet")
    return path


class Checker(HTMLParser):
    """Follows the tags of a page; what it dislikes it lists in `faults`."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.faults: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "src", "srcset", "action", "formaction"):
                self.faults.append(f"{tag} {name}")
            if name in ("href", "xlink:href") and not (value or "").startswith("#"):
                self.faults.append(f"{tag} {name}={value}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"closes out of turn: {tag}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def checked(page: str) -> Checker:
    checker = Checker(page)
    assert checker.faults == []
    assert not checker.tags & {"script", "iframe", "object", "embed", "img", "link", "base", "form"}
    assert not re.search(r"(url\(|@import|https?://)", page)
    assert "default-src 'none'" in page.replace("&#39;", "'")
    page.encode("utf-8", "strict")
    return checker


def table_row(page: str, first: str) -> list[str]:
    """The cells of the first table row that begins with `first`."""
    for row in re.findall(r"<tr.*?</tr>", page, re.S):
        cells = [
            re.sub(r"<[^>]*>", "", re.sub(r"<title>.*?</title>", "", c)) for c in re.findall(r"<t[hd].*?</t[hd]>", row)
        ]
        if cells and cells[0] == first:
            return cells
    raise AssertionError(f"no row {first!r}")


def test_the_page_shows_the_numbers_of_the_files(tmp_path: Path) -> None:
    page = report(folder(tmp_path))
    checked(page)
    assert "2,000,000,000,000" in page
    assert table_row(page, "cot")[:7] == ["cot", "68", "65", "40", "30", "30", "1,000,000,000,000"]
    assert table_row(page, "empty_response") == ["empty_response", "6"]
    assert table_row(page, "gsm8k")[:5] == ["gsm8k", "1,319", "19", "2", "0.2 %"]
    assert table_row(page, "cot/7") == ["cot/7", "gsm8k", "edited, verbatim", "2", "1", "100.0 %", "50.0 %"]
    assert table_row(page, "prompt") == ["prompt", "50", "0.875"]
    assert page.count("balanced") == 4
    assert "NOT BALANCED" not in page


def test_duplicates_are_counted_by_the_source_of_the_row_that_stayed(tmp_path: Path) -> None:
    page = report(folder(tmp_path))
    matrix = page[page.index('id="duplicates"') :]
    assert table_row(matrix, "cot") == ["cot", "25", "·", "25"]
    assert table_row(matrix, "dolly") == ["dolly", "25", "·", "25"]


def test_each_reason_shows_up_to_twenty_rows_with_evidence(tmp_path: Path) -> None:
    page = report(folder(tmp_path))
    part = page[page.index('id="dropped"') : page.index('id="books"')]
    near, rejected = re.findall(r"<details>.*?</details>", part, re.S)
    assert "20 of 50" in near
    assert near.count("repeats") == 20
    assert "(prompt, 0.88)" in near
    assert "too_long" in near
    assert "6 of 6" in rejected
    assert rejected.count("no text") == 6


def test_names_of_any_kind_are_text_and_do_nothing(tmp_path: Path) -> None:
    page = report(folder(tmp_path, (HOSTILE, "javascript:alert(2)\n</style><img src=x onerror=alert(3)>")))
    words = "".join(checked(page).words)
    assert "<script>alert(1)</script>" in words
    assert "\u202e" not in page
    assert "\x00" not in page


def test_an_empty_mixture_has_a_page(tmp_path: Path) -> None:
    manifest = manifests.read(folder(tmp_path))
    nothing = {
        "sources": [],
        "benchmarks": [],
        "given": Amount(),
        "validation": Amount(),
        "requested": 0,
        "filters": [],
    }
    manifests.write(manifest.model_copy(update=nothing), tmp_path)
    pl.DataFrame(schema=LEDGER).write_parquet(tmp_path / "ledger.parquet")
    (tmp_path / "contamination.parquet").unlink()
    words = "".join(checked(report(tmp_path)).words)
    assert "Nothing was dropped." in words
    assert "No benchmark was compared with." in words


def test_filters_that_did_not_run_are_said(tmp_path: Path) -> None:
    folder(tmp_path, leaks=False)
    ledger = pl.read_parquet(tmp_path / "ledger.parquet")
    ledger.drop("tokens", "language", "duplicate_of", "quality").write_parquet(tmp_path / "ledger.parquet")
    words = "".join(checked(report(tmp_path)).words)
    for sentence in ("Tokens were not counted.", "Languages were not measured.", "Duplicates were not looked for."):
        assert sentence in words


def test_the_same_folder_gives_the_same_page(tmp_path: Path) -> None:
    assert report(folder(tmp_path)) == report(tmp_path)


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json: no manifest"):
        report(tmp_path)
    folder(tmp_path)
    (tmp_path / "ledger.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"ledger\.parquet: cannot be read"):
        report(tmp_path)
    (tmp_path / "ledger.parquet").unlink()
    with pytest.raises(UserError, match=r"ledger\.parquet: no ledger"):
        report(tmp_path)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 5, "0.0 %"),
        (1, 100_000, "<0.1 %"),
        (99_999, 100_000, ">99.9 %"),
        (5, 5, "100.0 %"),
        (1, 0, "–"),
        (1, 3, "33.3 %"),
    ],
)
def test_shares_never_round_to_none_or_all(part: float, whole: float, shown: str) -> None:
    assert pages.percent(part, whole) == shown


def test_letters_are_dark_enough_on_their_ground() -> None:
    """WCAG AA: 4.5 : 1 for text, in both colour schemes."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    schemes = re.findall(r":root \{([^}]*)\}", pages.STYLE)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        pairs = [(ink, ground) for ink in ("ink", "soft", "good") for ground in ("page", "card")]
        for ink, ground in [*pairs, *(("ink", f"h{n}") for n in range(1, 5))]:
            light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
