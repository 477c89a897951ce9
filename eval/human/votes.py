"""Votes as the report reads them, from a store or from a sheet, and which of them count.

The rule is that of the published study: a person's latest word on a pair counts; the first person's word on a pair
gives the rates; all words together (the first two for Cohen's kappa) give the agreement.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.human import sheet
from caravan.eval.human.store import open_store


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgement, with names. `preference` is -2 (left clearly better) to 2 (right); None: not judged, `reason`.

    `item` is unique for two models; `again`: a second showing to the same person; `seconds` None where not measured.
    """

    item: str
    annotator: str
    group: str
    left: str
    right: str
    preference: int | None
    left_ok: bool | None
    right_ok: bool | None
    reason: str = ""
    again: bool = False
    at: str = ""
    seconds: float | None = None

    @property
    def models(self) -> tuple[str, str]:
        """The two models by name."""
        first, second = sorted((self.left, self.right))
        return first, second

    @property
    def key(self) -> tuple[str, str, str]:
        """What is judged: an item's answers by two models."""
        return (*self.models, self.item)

    def toward(self, model: str) -> int:
        """How far a model is preferred over the other: -2 to 2."""
        if self.preference is None:
            raise ValueError("not judged")
        return self.preference if model == self.right else -self.preference

    def acceptable(self, model: str) -> bool | None:
        """Whether a model's answer is acceptable; None where nobody said."""
        return self.right_ok if model == self.right else self.left_ok


@dataclass(frozen=True, slots=True)
class Votes:
    """The votes that count, in time: one for each person, pair and showing; how many were replaced by later ones."""

    rows: list[Vote]
    replaced: int
    notes: list[str]


def read_votes(source: Path, groups: Mapping[str, str] | None = None) -> Votes:
    """The votes of a store's folder, or of a sheet (.xlsx, .csv). `groups` (person to group) counts over its own."""
    notes: list[str] = []
    if source.is_dir():
        rows = _stored(source)
    elif source.suffix.lower() in sheet.SUFFIXES:
        rows = [Vote(**fields) for fields in sheet.read(source, notes)]
    else:
        fix = f"name the folder of `evaluate human serve`, or a sheet ({' or '.join(sheet.SUFFIXES)})"
        raise UserError(
            "no store of votes, and no sheet" if source.exists() else "is not there", where=str(source), fix=fix
        )
    if groups:
        unknown = sorted(set(groups) - {row.annotator for row in rows})
        if unknown:
            known = ", ".join(sorted({row.annotator for row in rows})) or "nobody"
            raise UserError(f"{unknown[0]!r} has not voted", where=str(source), fix=f"known: {known}")
        rows = [replace(row, group=groups.get(row.annotator, row.group)) for row in rows]
    kept = _latest(rows)
    return Votes(kept, len(rows) - len(kept), notes)


def _stored(folder: Path) -> list[Vote]:
    store = open_store(folder)
    try:
        return [
            Vote(
                item=kept.item,
                annotator=kept.annotator,
                group=kept.team,
                left=store.a if kept.left == "A" else store.b,
                right=store.b if kept.left == "A" else store.a,
                preference=kept.said.preference,
                left_ok=kept.said.left_ok,
                right_ok=kept.said.right_ok,
                reason=kept.said.reason,
                again=kept.again,
                at=kept.at,
                seconds=kept.said.seconds,
            )
            for kept in store.votes()
        ]
    finally:
        store.close()


def _latest(rows: Iterable[Vote]) -> list[Vote]:
    """Each person's latest word on each showing, in time; of equal times the later row is the later word."""
    found: dict[tuple[str, tuple[str, str, str], bool], Vote] = {}
    for row in sorted(rows, key=lambda row: row.at):
        showing = (row.annotator, row.key, row.again)
        found.pop(showing, None)  # it stands where its latest word stands
        found[showing] = row
    return list(found.values())


def by_pair(rows: Iterable[Vote]) -> dict[tuple[str, str, str], list[Vote]]:
    """First showings that were judged, by what was judged, each in time."""
    found: dict[tuple[str, str, str], list[Vote]] = {}
    for row in rows:
        if row.preference is not None and not row.again:
            found.setdefault(row.key, []).append(row)
    return found
