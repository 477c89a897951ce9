"""The folder of a run of `evaluate`: the items are what counts, `scores.json` says what was asked."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.comparing.reading import json_file, mapping, number, plain
from caravan.eval.comparing.runs import NO_SCORE, Figure, Row, Run, Table, checked, clusters_of, frame_of
from caravan.eval.statistics import Average

ITEMS, SCORES = "items.parquet", "scores.json"
COLUMNS = ("benchmark", "variant", "protocol", "id", "group", "cluster", "status", "extracted", "score")
ABOUT = {
    "protocol": "protocol",
    "prompt_hash": "prompts",
    "data_hash": "data",
    "version": "version",
    "shots": "shots",
    "embedded": "embedded sample",
}


def read(path: Path) -> Run:
    """The run in a folder, or whose items are in the file `path`."""
    items = path / ITEMS if path.is_dir() else path
    beside = items.with_name(SCORES)
    told = mapping(json_file(beside)) if beside.is_file() else {}
    scores = [mapping(one) for one in told.get("scores") or [] if isinstance(one, dict)]
    notes = [] if beside.is_file() else [f"{SCORES} is missing: the run has not ended, or its file was moved"]
    tables: list[Table] = []
    figures: list[Figure] = []
    asked = _items(items).partition_by("benchmark", "variant", "protocol", maintain_order=True, as_dict=True)
    protocols = Counter((benchmark, variant) for benchmark, variant, _ in asked)
    for (benchmark, variant, protocol), part in asked.items():
        named = dict(zip(("benchmark", "variant", "protocol"), (benchmark, variant, protocol), strict=True))
        score = next((one for one in scores if named.items() <= one.items()), {})
        if protocols[benchmark, variant] > 1:  # the same answers by several rules: not one score, but several
            variant = f"{variant} {protocol}".strip()
        own, repeated = _tables(plain(benchmark), plain(variant), plain(protocol), part, score)
        tables += own
        if repeated:
            notes.append(f"{benchmark}: rows that repeat an item: {repeated:,}; the first counts")
        if score:
            figures += _figures(own[0], score)
    name = plain(told.get("model") or items.resolve().parent.name)
    return Run(name, "caravan", str(path), tables, figures, notes)


def _items(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"not Parquet: {str(error).splitlines()[0]}", where=str(path)) from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"no column {missing[0]!r}: not the items of a run", where=str(path))
    return frame


def _tables(
    benchmark: str, variant: str, protocol: str, part: pl.DataFrame, score: Mapping[str, Any]
) -> tuple[list[Table], int]:
    """The headline's table, then one for each further metric; and how many rows repeat an item."""
    average: Average = "macro" if score.get("average") == "macro" else "micro"
    lower = score.get("lower_is_better") is True
    about = {"protocol": protocol} | {words: _short(score[key]) for key, words in ABOUT.items() if key in score}
    rows = part.to_dicts()
    names = [mapping(one).get("name") for row in rows for one in (row.get("metrics") or [])[:1]]
    headline = plain(score.get("metric") or next(iter(names), None)) or "score"
    others = [_metrics(row, headline) for row in rows]
    scored = {headline: [_row(row, row["score"]) for row in rows]}
    for name in dict.fromkeys(name for own in others for name in own):
        scored[name] = [_row(row, own.get(name)) for row, own in zip(rows, others, strict=True)]
    framed = {name: frame_of(found) for name, found in scored.items()}
    tables = [
        Table(benchmark, variant, name, frame, name == headline, average, lower, about)
        for name, (frame, _) in framed.items()
    ]
    return tables, framed[headline][1]


def _metrics(row: Mapping[str, Any], headline: str) -> dict[str, Any]:
    pairs = [mapping(one) for one in row.get("metrics") or []]
    return {plain(one.get("name")): one.get("value") for one in pairs if one.get("name") not in (None, headline)}


def _row(row: Mapping[str, Any], score: Any) -> Row:
    value = number(score)
    status = str(row["status"])
    return Row(
        plain(row["id"]),
        plain(row["group"]),
        plain(row["cluster"]),
        value,
        NO_SCORE if value is None and status == "scored" else status,
        plain(row["extracted"], 60),
        row.get("prompt_hash") or "",
    )


def _figures(table: Table, score: Mapping[str, Any]) -> list[Figure]:
    """The headline and its standard error, once more from the items."""
    frame = table.frame.filter(pl.col("score").is_not_null())
    what = " ".join(part for part in table.key if part)
    if not len(frame):
        return [checked(f"{what} score", number(score.get("score")), None, "no item has a value")]
    groups, clusters = frame["group"].to_list(), clusters_of(frame)
    strata = groups if len(set(groups)) > 1 else None
    found = statistics.mean(
        frame["score"].to_numpy(), strata=strata, clusters=clusters, average=table.average if strata else "micro"
    )
    return [
        checked(f"{what} score", number(score.get("score")), number(found.value)),
        checked(f"{what} stderr", number(score.get("stderr")), number(found.stderr)),
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text[:8] if len(text) == 32 and text.isalnum() else plain(text, 80)  # a hash needs no more to be told apart
