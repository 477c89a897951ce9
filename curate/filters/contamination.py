"""Contamination: which benchmark items a row shares text with, how much of each, and where, on both sides.

Every message of a row is looked at, whoever speaks. An item's question is enough, and a passage that a question refers
to is no item. How items are found and what counts as template: `curate/overlap.py`.

    kind             verbatim (0.95 and more of the item's words, in one piece), edited,
                     variant (the item's words with other numbers, `curate/changed_numbers.py`), or
                     rewritten (in other words, `curate/rewrites.py`): suspected, and dropped only when asked
    coverage_item    weighted share of the item's words that the row holds; what the limit is about
    coverage_row     share of the row's words that are the item's
    similarity       of a rewritten item, and of a variant found by its likeness; else null
    answer           whether the item's gold answer stands in the row too, outside the question

An item of fewer words than `width` must stand in the row as a sentence of its own: "Is tap water safe to drink?" is
not in "Is tap water safe to drink in Japan?" (`curate/short_items.py`).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field, JsonValue

from caravan.curate import filter as contract
from caravan.curate.benchmarks import Item, load_items
from caravan.curate.benchmarks import fingerprint as benchmark_fingerprint
from caravan.curate.changed_numbers import has_numbers, other_numbers
from caravan.curate.words import ALGORITHM, Words, fold, word_spans, words

Ints = npt.NDArray[np.int64]

VERSION = 3
TRY: dict[str, tuple[float, ...]] = {"coverage": (0.3, 0.5, 0.7, 0.9)}
REASONS = ("contaminated", "suspected_contamination")

_SPAN = {"start": pl.Int64(), "end": pl.Int64()}
_MATCH = pl.Struct(
    {
        "benchmark": pl.String(),
        "item": pl.String(),
        "kind": pl.String(),
        "coverage_item": pl.Float64(),
        "coverage_row": pl.Float64(),
        "similarity": pl.Float64(),
        "answer": pl.Boolean(),
        "row_spans": pl.List(pl.Struct({"message": pl.Int64(), **_SPAN})),
        "item_spans": pl.List(pl.Struct(_SPAN)),
    }
)
COLUMNS: dict[str, pl.DataType] = {
    "contamination": pl.List(_MATCH),
    "contamination_max": pl.Float64(),
    "contamination_suspected": pl.Float64(),
}

VERBATIM = 0.95
HALF = 0.5  # of coverage: an item of which a row holds less is looked for in other words as well
FUNCTION = r"\b(?:def|function|func|fn)\s+\w+\s*[(<]"  # of a program
AROUND = 200  # characters beside what is found, if less than all is, in which the other numbers of an item may stand
FLOOR = 0.3  # of coverage: what shares less with an item is not stored, so no limit may lie below it


class Settings(contract.Settings):
    """What to compare with (see `curate/benchmarks.py`), words an n-gram, and the least coverage that is stored."""

    benchmarks: str = ""
    width: int = Field(default=8, ge=4, le=32)


class Limits(contract.Limits):
    """A row is dropped when it holds `coverage` of some item's weighted words.

    With `suspected`, also when it is suspected to hold an item in other words, with this similarity and more.
    """

    coverage: float = Field(default=0.5, ge=FLOOR, le=1)
    suspected: float | None = Field(default=None, gt=0, le=1)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """Hashes of all items, and how words are cut and hashed."""
    return {"words": ALGORITHM, "benchmarks": dict(benchmark_fingerprint(settings.benchmarks))}


def verdict(limits: Limits) -> pl.Expr:
    """`contaminated` where some item is covered to the limit; suspected ones only where a limit is set."""
    leaked = pl.when(pl.col("contamination_max") >= limits.coverage).then(pl.lit("contaminated"))
    if limits.suspected is None:
        return leaked
    return leaked.when(pl.col("contamination_suspected") >= limits.suspected).then(pl.lit("suspected_contamination"))


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The items that each row shares text with, by benchmark and item in their published order."""
    messages = batch["messages"]
    sizes = messages.list.len().fill_null(0).to_numpy().astype(np.int64)
    said = messages.filter(messages.list.len() > 0).explode()
    texts = said.struct.field("content")
    asks = (said.struct.field("role") != "assistant") | texts.str.contains(FUNCTION)
    rows = _Rows(
        texts,
        asks.fill_null(value=False).arg_true(),
        np.repeat(np.arange(batch.height), sizes),
        np.cumsum(sizes) - sizes,
    )
    held: dict[int, list[_Match]] = {}
    for match in _shared(rows, settings):
        held.setdefault(match.row, []).append(match)
    for match in _suspected(rows, settings, held):
        held.setdefault(match.row, []).append(match)
    stored = {
        r: [rows.stored(match, items(settings.benchmarks)) for match in sorted(found, key=lambda m: m.item)]
        for r, found in sorted(held.items())
    }
    return _columns(stored, batch.height)


class _Named(NamedTuple):
    """An item and its benchmark's name."""

    benchmark: str
    item: Item


@lru_cache(maxsize=4)
def items(choice: str) -> list[_Named]:
    """Every item, numbered over all benchmarks."""
    return [_Named(loaded.name, item) for loaded in load_items(choice) for item in loaded.items]


class _Run(NamedTuple):
    """Characters `start` to `end` of text `text` are an item's."""

    text: int
    start: int
    end: int


class _Match(NamedTuple):
    """A row and an item (numbered over all benchmarks), as they are found."""

    row: int
    item: int
    kind: str
    coverage: float
    share: float
    similarity: float | None
    runs: list[_Run]
    item_spans: list[dict[str, int]]


class _Rows(NamedTuple):
    """All texts of a batch; which of them may ask something; the row of each, and the first text of each row."""

    texts: pl.Series
    asked: pl.Series
    row: Ints
    first: Ints

    def length(self, row: int) -> int:
        """Characters of a row."""
        return sum(len(text or "") for text in self.texts[int(self.first[row]) : self.stop(row)])

    def stop(self, row: int) -> int:
        """The text after the last one of a row."""
        return int(np.searchsorted(self.row, row, side="right"))

    def rest(self, row: int, runs: list[_Run]) -> str:
        """What the row says outside a question: each text without what lies between its first and last run."""
        pieces = []
        for t in range(int(self.first[row]), self.stop(row)):
            text, mine = self.texts[t] or "", [run for run in runs if run.text == t]
            inside = (min(run.start for run in mine), max(run.end for run in mine)) if mine else (0, 0)
            pieces += [text[: inside[0]], text[inside[1] :]]
        return "\n".join(pieces)

    def stored(self, match: _Match, known: Sequence[_Named]) -> dict[str, Any]:
        """A match as the column has it."""
        first, named = int(self.first[match.row]), known[match.item]
        return {
            "benchmark": named.benchmark,
            "item": named.item.id,
            "kind": match.kind,
            "coverage_item": match.coverage,
            "coverage_row": match.share,
            "similarity": match.similarity,
            "answer": _stands(named.item.answer, self.rest(match.row, match.runs)),
            "row_spans": [{"message": run.text - first, "start": run.start, "end": run.end} for run in match.runs],
            "item_spans": match.item_spans,
        }


def _shared(rows: _Rows, settings: Settings) -> Iterator[_Match]:
    """What shares n-grams."""
    from caravan.curate.overlap import scan  # compiled code: not before it is needed
    from caravan.curate.overlap_index import index_of

    read = words(rows.texts)
    index = index_of(settings.benchmarks, settings.width)
    matches = scan(read, rows.texts, rows.row, index, FLOOR)
    total = np.bincount(rows.row, np.diff(read.offsets), minlength=len(rows.first))
    known = items(settings.benchmarks)
    for m, r in enumerate(matches.row.tolist()):
        entry, hits = int(matches.entry[m]), slice(matches.begin[m], matches.end[m])
        runs = list(_runs(matches.place[hits], matches.width[hits], read, rows.texts))
        item, coverage = int(index.item[entry]), float(matches.coverage[m])
        spans = _item_spans(index.texts[entry], matches.word[hits], matches.width[hits])
        kind = "verbatim" if min(coverage, matches.piece[m]) >= VERBATIM else "edited"
        if _is_variant(known[item].item, rows, r, runs, spans):
            kind = "variant"
        yield _Match(r, item, kind, coverage, float(matches.covered[m] / total[r]), None, runs, spans)


def _is_variant(item: Item, rows: _Rows, row: int, runs: list[_Run], spans: list[dict[str, int]]) -> bool:
    """Whether the item stands in the row with other numbers, and nowhere with its own."""
    if not has_numbers(item.question):
        return False
    before, after = spans[0]["start"], max(0, len(item.question) - spans[-1]["end"])
    places = _places(runs, len(item.question))
    largest = max(sum(run.end - run.start for run in place) for place in places)
    rest = rows.rest(row, runs)
    for place in places:
        if sum(run.end - run.start for run in place) < largest / 2:
            continue
        text = rows.texts[place[0].text]
        begin, end = place[0].start, place[-1].end
        if before:
            begin = max(0, begin - 2 * before - AROUND)
        if after:
            end += 2 * after + AROUND
        stretch = text[begin:end]
        if not other_numbers(item.question, stretch, rest, item.answer):
            return False
    return True


def _places(runs: list[_Run], length: int) -> list[list[_Run]]:
    """Runs of one text that lie no further apart than an item is long."""
    places: list[list[_Run]] = []
    for run in runs:
        if places and places[-1][-1].text == run.text and run.start - places[-1][-1].end <= length:
            places[-1].append(run)
        else:
            places.append([run])
    return places


def _suspected(rows: _Rows, settings: Settings, held: dict[int, list[_Match]]) -> Iterator[_Match]:
    """What says an item in other words, and is not among what shares half of its n-grams.

    Of what an assistant says programs alone are looked at: an answer about the same matter is no item.
    """
    from caravan.curate import rewrites

    index = rewrites.index_of(settings.benchmarks)
    known = {
        r: [
            rewrites.Found(run.text, run.start, run.end, match.item, int(index.bench[match.item]))
            for match in found
            if match.coverage >= HALF
            for run in match.runs
        ]
        for r, found in held.items()
    }
    asked = rows.asked
    for one in rewrites.suspects(rows.texts.gather(asked), asked, rows.row, index, known):
        r, run = int(rows.row[one.text]), _Run(one.text, one.start, one.end)
        question = index.texts[one.item]
        kind = "variant" if one.variant else "rewritten"
        share = len(rows.texts[one.text][one.start : one.end]) / max(1, rows.length(r))
        yield _Match(r, one.item, kind, 0.0, share, one.similarity, [run], [{"start": 0, "end": len(question)}])


def _columns(held: dict[int, list[dict[str, Any]]], rows: int) -> pl.DataFrame:
    """`held` is in the order of the rows. Most rows hold nothing, and cost nothing."""
    sizes, largest, suspected = np.zeros(rows, dtype=np.int64), np.zeros(rows), np.zeros(rows)
    for r, found in held.items():
        sizes[r] = len(found)
        largest[r] = max((m["coverage_item"] for m in found if m["kind"] in ("verbatim", "edited")), default=0.0)
        suspected[r] = max((m["similarity"] for m in found if m["kind"] == "rewritten"), default=0.0)
    flat = pl.Series([m for found in held.values() for m in found], dtype=_MATCH)
    lists = pa.LargeListArray.from_arrays(np.append(0, np.cumsum(sizes)), flat.to_arrow())
    columns = {
        "contamination": pl.Series(lists),
        "contamination_max": largest,
        "contamination_suspected": suspected,
    }
    return pl.DataFrame(columns).cast(COLUMNS)  # type: ignore[arg-type]


_WORD = re.compile(r"[^\W_]+")
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def _stands(answer: str, text: str) -> bool:
    """Whether the words of an answer stand in a text, in their order and with nothing between them."""
    wanted, held = (" ".join(["", *_WORD.findall(fold(_COMMA.sub("", t))), ""]) for t in (answer, text))
    return len(wanted) > 1 and wanted in held


def _runs(place: Any, width: Any, read: Words, texts: pl.Series) -> Iterator[_Run]:
    """Hits, sorted by place, joined where they touch; in characters."""
    spans: list[tuple[int, int]] = []
    text_of = np.searchsorted(read.offsets, place, side="right") - 1
    text, begin, end = -1, 0, 0
    for t, p, w in zip(text_of.tolist(), place.tolist(), width.tolist(), strict=True):
        p -= int(read.offsets[t])
        if t == text and p <= end:
            end = max(end, p + w)
            continue
        if text >= 0:
            yield _Run(text, spans[begin][0], spans[end - 1][1])
        if t != text:
            spans = word_spans(texts[t])
        text, begin, end = t, p, p + w
    if text >= 0:
        yield _Run(text, spans[begin][0], spans[end - 1][1])


def _item_spans(text: str, word: Any, width: Any) -> list[dict[str, int]]:
    """The found parts of an item's text: its question, in some short ones followed by the lettered options."""
    spans = word_spans(text)
    taken = np.zeros(len(spans) + 1, dtype=np.int8)
    for w, n in zip(word.tolist(), width.tolist(), strict=True):
        taken[w : w + n] = 1
    edges = np.flatnonzero(np.diff(taken, prepend=0))
    return [
        {"start": spans[b][0], "end": spans[e - 1][1]}
        for b, e in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
