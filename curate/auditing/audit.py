"""`curate audit`: a seeded sample of dropped rows for a person to mark, and what the marks say of each filter.

A row is drawn for its first reason, the one that counts, in the order of a hash of seed and id: the draw does not
depend on the order of rows, a larger one holds the smaller one, and in the file each reason's rows stand in that
order, so that whoever stops early has marked a random sample, too. Rows that a converter refused are left out: no
filter saw them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from caravan.curate.auditing import sheet
from caravan.curate.auditing.evidence import Items, tell
from caravan.curate.auditing.sheet import Line, Marked
from caravan.curate.ledger import read_table
from caravan.errors import UserError
from caravan.mixtures import manifest
from caravan.mixtures.manifest import FilterRecord, Manifest
from caravan.plugins import find, load
from caravan.proportions import wilson

FILE = "audit.csv"
DROPPED, LEDGER = "dropped.parquet", "ledger.parquet"


@dataclass(frozen=True)
class ReasonDrawn:
    """How many rows of a reason lie in the file, of how many that were dropped for it."""

    filter: str  # "" where the filter is not installed any more
    reason: str
    drawn: int
    dropped: int


@dataclass(frozen=True)
class Drawn:
    """What a draw wrote: the file, its rows by reason, how many marks of an earlier draw it has taken over."""

    path: Path
    reasons: list[ReasonDrawn]
    carried: int
    refused: int  # rows that converters refused: not in the file


@dataclass(frozen=True)
class Precision:
    """Of the marked rows of a reason, how many were `right` to drop, with the 95% interval; None: nothing is marked.

    `reason` "" stands for all of a filter's reasons together, weighted by how often each occurs; `source` "" for all
    sources together.
    """

    filter: str
    reason: str
    source: str
    dropped: int | None  # rows dropped for it; None for a source, of which that is not asked
    right: int
    wrong: int
    unsure: int
    unmarked: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Audit:
    """What the marks say. `wrong` has the ids of the rows marked so by reason, `notes` what a reader must know."""

    path: Path
    reasons: list[Precision]
    filters: list[Precision]
    sources: list[Precision]  # each reason by source, where a reason has several
    wrong: dict[str, list[str]]
    notes: list[str]


def draw(mix: Path, path: Path, *, n: int, seed: int) -> Drawn:
    """Write up to `n` dropped rows a reason into `path`, and take over the marks that it holds.

    `UserError` if `mix` is no mixture, nothing was dropped, or marks would be lost.
    """
    record = manifest.read(mix)
    table = read_table(mix, DROPPED)
    if lacking := sorted({"fate", "reason", "messages", "evidence"} - set(table.columns)):
        raise UserError(f"has no column {lacking[0]!r}", where=str(mix / DROPPED), fix="build the mixture again")
    lost = table.filter(pl.col("fate") == "dropped")
    if not lost.height:
        raise UserError("no row was dropped by a filter: nothing to mark", where=str(mix / DROPPED))
    filters = _filters(record)
    order = {reason: at for at, reason in enumerate(filters)}
    place = pl.Series([_place(id_, seed) for id_ in lost["id"]], dtype=pl.String)
    rank = pl.col("reason").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    drawn = (
        lost.with_columns(place.alias("place"))
        .sort(rank, "reason", "place", "id")
        .group_by("reason", maintain_order=True)
        .head(n)
    )
    counts = _counts(lost)
    marked = _marks_to_keep(path, drawn)
    sheet.write(_lines(mix, drawn, filters, counts, _build(lost), marked), path)
    sizes = dict(drawn.group_by("reason", maintain_order=True).len().iter_rows())
    return Drawn(
        path=path,
        reasons=[ReasonDrawn(_name(filters, r), r, size, counts[r]) for r, size in sizes.items()],
        carried=sum(line.mark != "" for line in marked.values()),
        refused=table.height - lost.height,
    )


def precision(mix: Path, path: Path) -> Audit:
    """Read the marks in `path`. Without the folder `mix` the file alone does, but for whether it is of this build.

    `UserError` names the row of a mark that is none, and says what is wrong with a file that cannot be read.
    """
    marked, _ = sheet.read(path)
    counts = {line.reason: line.dropped for line in marked}
    filters = {line.reason: line.filter for line in marked}
    notes = _compare(mix, path, marked, counts, filters)
    by_reason = {reason: [line for line in marked if line.reason == reason] for reason in counts}
    reasons = [_precision(lines, filters[reason], reason, "", counts[reason]) for reason, lines in by_reason.items()]
    names = list(dict.fromkeys(filters.values()))
    notes += [
        f"{one.filter}: nothing is marked of {one.reason}, which is left out of the filter's figure"
        for one in reasons
        if one.share is None
    ]
    sources = [
        _precision([line for line in lines if line.source == source], filters[reason], reason, source, None)
        for reason, lines in by_reason.items()
        for source in sorted({line.source for line in lines})
    ]
    return Audit(
        path=path,
        reasons=reasons,
        filters=[_weighted([one for one in reasons if one.filter == name]) for name in names],
        sources=sources,
        wrong={
            reason: ids
            for reason, lines in by_reason.items()
            if (ids := [line.id for line in lines if line.mark == "wrong"])
        },
        notes=notes,
    )


def _filters(record: Manifest) -> dict[str, FilterRecord]:
    """The filter of each reason, in the order in which reasons count."""
    known = find("filters")
    return {reason: f for f in record.filters if f.name in known for reason in load("filters", f.name).REASONS}


def _name(filters: Mapping[str, FilterRecord], reason: str) -> str:
    return filters[reason].name if reason in filters else ""


def _place(id_: str, seed: int) -> str:
    return blake2b(f"audit\0{seed}\0{id_}".encode(), digest_size=16).hexdigest()


def _counts(lost: pl.DataFrame) -> dict[str, int]:
    return dict(lost.group_by("reason").len().iter_rows())


def _build(lost: pl.DataFrame) -> str:
    """A hash of what was dropped, and why: another build that drops the same rows is the same to an audit."""
    h = blake2b(digest_size=8)
    for id_, reason in lost.select("id", "reason").sort("id").iter_rows():
        h.update(f"{id_}\0{reason}\n".encode())
    return h.hexdigest()


def _marks_to_keep(path: Path, drawn: pl.DataFrame) -> dict[str, Marked]:
    """What a person wrote into the file that is there, by id. `UserError` where this draw has no place for it."""
    if not path.exists():
        return {}
    lines, foreign = sheet.read(path)
    fix = "name another file with --file"
    if foreign:
        raise UserError(f"has a column {foreign[0]!r} that would be lost", where=str(path), fix=fix)
    held = {line.id: line for line in lines if line.mark or line.note.strip()}
    reasons = dict(drawn.select("id", "reason").iter_rows())
    left_out = sum(reasons.get(line.id) != line.reason for line in held.values())
    if left_out:
        raise UserError(
            f"holds {len(held):,} marked rows, and {left_out:,} of them are not in this draw",
            where=str(path),
            fix=f"{fix}, or draw with the same seed from the same build, with the same --n or a larger one",
        )
    return held


def _lines(
    mix: Path,
    drawn: pl.DataFrame,
    filters: Mapping[str, FilterRecord],
    counts: Mapping[str, int],
    build: str,
    marked: Mapping[str, Marked],
) -> list[Line]:
    links = read_table(mix, LEDGER).select("id", "source", "file", "row", "duplicate_of")
    partner_of = dict(links.filter(pl.col("id").is_in(drawn["id"].to_list())).select("id", "duplicate_of").iter_rows())
    wanted = links.filter(pl.col("id").is_in([p for p in partner_of.values() if p is not None]))
    partners: dict[str, dict[str, Any]] = {row["id"]: row for row in wanted.iter_rows(named=True)}
    items = {f.name: Items(f) for f in filters.values()}
    lines = []
    for row in drawn.iter_rows(named=True):
        active = filters.get(row["reason"])
        told = tell(
            row, active, partners.get(partner_of.get(row["id"]) or "", {}), items[active.name] if active else None
        )
        before = marked.get(row["id"])
        lines.append(
            Line(
                mark=before.mark if before else "",
                note=before.note if before else "",
                reason=row["reason"],
                evidence=told.evidence,
                prompt=told.prompt,
                answer=told.answer,
                beside_prompt=told.beside_prompt,
                beside_answer=told.beside_answer,
                other_reasons=", ".join(r for r in row["reasons"] if r != row["reason"]),
                source=row["source"],
                row_id=row["row_id"],
                id=row["id"],
                filter=active.name if active else "",
                dropped=counts[row["reason"]],
                build=build,
            )
        )
    return lines


def _compare(
    mix: Path, path: Path, marked: Sequence[Marked], counts: dict[str, int], filters: dict[str, str]
) -> list[str]:
    """Hold the file against the folder: what a reader must know, and reasons of which the file has no row."""
    if not (mix / manifest.FILE).is_file():
        return [f"no mixture in {mix}: how often each reason occurs is taken from the file alone"]
    lost = read_table(mix, DROPPED).filter(pl.col("fate") == "dropped")
    if _build(lost) != marked[0].build:
        return [
            f"{mix} was built again since, or is another mixture, and drops other rows: the marks, and how often each"
            " reason occurs, are of the build that they were drawn from"
        ]
    reasons = dict(lost.select("id", "reason").iter_rows())
    for line in marked:
        if reasons.get(line.id) != line.reason:
            raise UserError(
                f"no row {line.id!r} was dropped for {line.reason}",
                where=f"{path}:{line.row}",
                fix="leave all columns but `mark` and `note` as they were drawn",
            )
    known = _filters(manifest.read(mix))
    missing = {reason: size for reason, size in sorted(_counts(lost).items()) if reason not in counts}
    counts |= missing
    filters |= {reason: _name(known, reason) for reason in missing}
    return []


def _precision(lines: Sequence[Marked], filter_: str, reason: str, source: str, dropped: int | None) -> Precision:
    right, wrong, unsure, unmarked = (
        sum(line.mark == mark for line in lines) for mark in ("right", "wrong", "unsure", "")
    )
    marked = right + wrong
    low, high = wilson(right, marked) if marked else (None, None)
    share = right / marked if marked else None
    return Precision(filter_, reason, source, dropped, right, wrong, unsure, unmarked, share, low, high)


def _weighted(reasons: Sequence[Precision]) -> Precision:
    """All reasons of a filter, each with the weight of how often it occurs among those that have marks.

    The interval is Wilson's with the effective number of marks, 1 / sum(weight^2 / marks) (Kish 1965).
    """
    known = [(one, one.dropped or 0, one.right + one.wrong) for one in reasons if one.share is not None]
    whole = sum(dropped for _, dropped, _ in known)
    share = low = high = None
    if whole:
        share = min(sum(dropped * (one.right / marked) for one, dropped, marked in known) / whole, 1.0)
        effective = 1 / sum((dropped / whole) ** 2 / marked for _, dropped, marked in known)
        low, high = wilson(share * effective, effective)
    return Precision(
        filter=reasons[0].filter,
        reason="",
        source="",
        dropped=sum(one.dropped or 0 for one in reasons),
        right=sum(one.right for one in reasons),
        wrong=sum(one.wrong for one in reasons),
        unsure=sum(one.unsure for one in reasons),
        unmarked=sum(one.unmarked for one in reasons),
        share=share,
        low=low,
        high=high,
    )
