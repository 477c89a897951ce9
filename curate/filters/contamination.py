"""Contamination: which benchmark items a row shares text with, how much of each, and where, on both sides.

Every message of a row is looked at, whoever speaks. An item's question is enough: answers are not looked at, and a
passage that a question refers to is no item. How items are found and what counts as template: `curate/overlap.py`.

    coverage_item    weighted share of the item's words that the row holds; what the limit is about
    coverage_row     share of the row's words that are the item's
    kind             verbatim (coverage of 0.95 and more) or edited

An item of fewer words than `width` must stand in the row as a sentence of its own: "Is tap water safe to drink?" is
not in "Is tap water safe to drink in Japan?".
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, JsonValue

from caravan.curate import filter as contract
from caravan.curate.benchmarks import fingerprint as benchmark_fingerprint
from caravan.curate.benchmarks import load_items
from caravan.curate.words import ALGORITHM, Words, word_spans, words

VERSION = 2
TRY: dict[str, tuple[float, ...]] = {"coverage": (0.3, 0.5, 0.7, 0.9)}
REASONS = ("contaminated",)

_SPAN = {"start": pl.Int64(), "end": pl.Int64()}
_MATCH = pl.Struct(
    {
        "benchmark": pl.String(),
        "item": pl.String(),
        "kind": pl.String(),
        "coverage_item": pl.Float64(),
        "coverage_row": pl.Float64(),
        "row_spans": pl.List(pl.Struct({"message": pl.Int64(), **_SPAN})),
        "item_spans": pl.List(pl.Struct(_SPAN)),
    }
)
COLUMNS: dict[str, pl.DataType] = {"contamination": pl.List(_MATCH), "contamination_max": pl.Float64()}

VERBATIM = 0.95
FLOOR = 0.3  # of coverage: what shares less with an item is not stored, so no limit may lie below it


class Settings(contract.Settings):
    """What to compare with (see `curate/benchmarks.py`), words an n-gram, and the least coverage that is stored."""

    benchmarks: str = ""
    width: int = Field(default=8, ge=4, le=32)


class Limits(contract.Limits):
    """A row is dropped when it holds this share of some item's weighted words."""

    coverage: float = Field(default=0.5, ge=FLOOR, le=1)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """Hashes of all items, and how words are cut and hashed."""
    return {"words": ALGORITHM, "benchmarks": dict(benchmark_fingerprint(settings.benchmarks))}


def verdict(limits: Limits) -> pl.Expr:
    """`contaminated` where some item is covered to the limit."""
    return pl.when(pl.col("contamination_max") >= limits.coverage).then(pl.lit("contaminated"))


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The items that each row shares text with, by benchmark and item in their published order."""
    from caravan.curate.overlap import index_of, scan  # compiled code: not before it is needed

    messages = batch["messages"]
    sizes = messages.list.len().fill_null(0).to_numpy().astype(np.int64)
    texts = messages.filter(messages.list.len() > 0).explode().struct.field("content")
    row = np.repeat(np.arange(batch.height), sizes)
    read = words(texts)
    index = index_of(settings.benchmarks, settings.width)
    matches = scan(read, row, index, FLOOR)
    total = np.bincount(row, np.diff(read.offsets), minlength=batch.height)
    names = _names(settings.benchmarks)
    first = np.cumsum(sizes) - sizes
    held: dict[int, list[dict[str, Any]]] = {}
    for m, r in enumerate(matches.row.tolist()):
        entry, hits = int(matches.entry[m]), slice(matches.begin[m], matches.end[m])
        length = int(np.diff(index.words.offsets[entry : entry + 2])[0])
        runs = list(_runs(matches.place[hits], matches.width[hits], read, texts))
        if length < settings.width and not any(_alone(texts[run.text], run.start, run.end) for run in runs):
            continue
        benchmark, item = names[index.item[entry]]
        coverage = float(matches.coverage[m])
        held.setdefault(r, []).append(
            {
                "benchmark": benchmark,
                "item": item,
                "kind": "verbatim" if coverage >= VERBATIM else "edited",
                "coverage_item": coverage,
                "coverage_row": float(matches.covered[m] / total[r]),
                "row_spans": [
                    {"message": run.text - int(first[r]), "start": run.start, "end": run.end} for run in runs
                ],
                "item_spans": _item_spans(index.texts[entry], matches.word[hits], matches.width[hits]),
            }
        )
    return _columns(held, batch.height)


def _columns(held: dict[int, list[dict[str, Any]]], rows: int) -> pl.DataFrame:
    """`held` is in the order of the rows. Most rows hold nothing, and cost nothing."""
    sizes, largest = np.zeros(rows, dtype=np.int64), np.zeros(rows)
    for r, found in held.items():
        sizes[r], largest[r] = len(found), max(m["coverage_item"] for m in found)
    flat = pl.Series([m for found in held.values() for m in found], dtype=_MATCH)
    lists = pa.LargeListArray.from_arrays(np.append(0, np.cumsum(sizes)), flat.to_arrow())
    return pl.DataFrame({"contamination": pl.Series(lists), "contamination_max": largest}).cast(COLUMNS)  # type: ignore[arg-type]


class _Run(NamedTuple):
    """Characters `start` to `end` of text `text` are an item's."""

    text: int
    start: int
    end: int


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


_BESIDE = " \t\"'`´‘’‚“”„«»()[]<>*_#-–—¿¡「」『』"
_ENDS = "\n\r.?!:;|…。．？！：；؟۔।॥"


def _alone(text: str, start: int, end: int) -> bool:
    """Whether this part is a sentence, a line or a whole text of its own; brackets, quotes and marks may enclose it."""
    before, after = text[:start].rstrip(_BESIDE), text[end:].lstrip(_BESIDE)
    return before[-1:] in ("", *_ENDS) and after[:1] in ("", *_ENDS)


@lru_cache(maxsize=4)
def _names(choice: str) -> list[tuple[str, str]]:
    """Benchmark and id of each item, numbered over all benchmarks."""
    return [(loaded.name, item.id) for loaded in load_items(choice) for item in loaded.items]
