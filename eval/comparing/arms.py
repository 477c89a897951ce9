"""What is compared: an arm is one run, or several seeds of one setting, which answer the same items."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from caravan.errors import UserError
from caravan.eval.comparing.runs import Key, Run, Table, read_run


@dataclass(frozen=True)
class Arm:
    """A setting under a name of its own, with its runs, one a seed."""

    name: str
    runs: list[Run]


@dataclass(frozen=True)
class ArmTable:
    """One benchmark of an arm. `frame` has `runs.SCHEMA` and `scores`, a list with a value (or null) for each seed.

    `score` is the mean over seeds, null where a seed has none.
    """

    arm: str
    table: Table
    seeds: int
    frame: pl.DataFrame


def read_arms(arguments: Sequence[str]) -> list[Arm]:
    """The arms that are named: `RUN`, `NAME=RUN`, or `NAME=RUN1,RUN2,...` for seeds of one setting.

    Arms without a name are called as their models, and where two would be called alike, as their files.
    """
    parsed = [_parsed(argument) for argument in arguments]
    arms = [Arm(name, [read_run(path) for path in paths]) for name, paths in parsed]
    counted = Counter(arm.name or arm.runs[0].name for arm in arms)
    named = []
    for arm in arms:
        name = arm.name or arm.runs[0].name
        if not arm.name and counted[name] > 1:
            name = f"{name} ({Path(arm.runs[0].path).name})"
        named.append(replace(arm, name=name))
    twice = [name for name, n in Counter(arm.name for arm in named).items() if n > 1]
    if twice:
        raise UserError(f"two runs are named {twice[0]!r}", fix="give each a name: NAME=RUN")
    return named


def _parsed(argument: str) -> tuple[str, list[str]]:
    name, equals, paths = argument.partition("=")
    if not equals or Path(argument).exists():
        return "", [argument]
    runs = [paths] if Path(paths).exists() else paths.split(",")
    if not name or not all(runs):
        raise UserError(f"{argument!r} names no run", fix="write RUN, NAME=RUN or NAME=RUN1,RUN2")
    if len(set(runs)) < len(runs):
        raise UserError(f"{argument!r} names a run twice", fix="name each seed's run once")
    return name, runs


def tables_of(arms: Sequence[Arm]) -> tuple[dict[Key, list[ArmTable]], list[str]]:
    """For each benchmark the arms that have it, in their order; and what was left out.

    Parts of a benchmark are put together where all have them, and every frame calls an item by the id that it has in
    the first arm.
    """
    merged = _merged(arms)
    keys = dict.fromkeys(key for runs in merged for tables in runs for key in tables)
    found: dict[Key, list[ArmTable]] = {}
    notes = []
    for key in keys:
        first: pl.DataFrame | None = None
        for arm, runs in zip(arms, merged, strict=True):
            own = [tables[key] for tables in runs if key in tables]
            if own and len(own) < len(runs):
                notes.append(f"{arm.name}: {len(own)} of {len(runs)} seeds have {' '.join(key)}, so it is left out")
            elif own:
                first = own[0].frame if first is None else first
                frames = [realigned(table.frame, first) for table in own]
                found.setdefault(key, []).append(ArmTable(arm.name, own[0], len(own), _seeds(frames)))
    return found, notes


def realigned(frame: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """The frame with ids as in `first`, where hashes of the items say that its own number others.

    Only where every item of both has a hash of its own, and the hashes have more in common than the ids say.
    """
    ours, theirs = (dict(zip(one["data"], one["id"], strict=True)) for one in (frame, first))
    if "" in ours or "" in theirs or len(ours) < len(frame) or len(theirs) < len(first):
        return frame
    shared = ours.keys() & theirs.keys()
    by_id = sum(ours[data] == theirs[data] for data in shared)
    if by_id == len(shared) or 2 * len(shared) <= min(len(ours), len(theirs)):
        return frame
    taken = set(theirs.values())
    names = [theirs.get(data) or (f"{own} (other)" if own in taken else own) for data, own in ours.items()]
    return frame.with_columns(pl.Series("id", names))


def _seeds(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The frames of all seeds as one; an item that a seed lacks has a null among its scores."""
    whole = frames[0]
    for other in frames[1:]:
        whole = pl.concat([whole, other.join(whole, on="id", how="anti", maintain_order="left")])
    scores = []
    for frame in frames:
        by_id = dict(zip(frame["id"], frame["score"], strict=True))
        scores.append([by_id.get(own_id) for own_id in whole["id"]])
    lists = [list(values) for values in zip(*scores, strict=True)]
    means = [None if None in values else sum(values) / len(values) for values in lists]
    statuses = []
    for values, mean, status in zip(lists, means, whole["status"], strict=True):
        statuses.append("incomplete" if mean is None and any(v is not None for v in values) else status)
    return whole.with_columns(
        pl.Series("score", means, dtype=pl.Float64),
        pl.Series("status", statuses, dtype=pl.String),
        pl.Series("scores", lists, dtype=pl.List(pl.Float64)),
    )


def _merged(arms: Sequence[Arm]) -> list[list[dict[Key, Table]]]:
    """The tables of each arm's runs by key, families put together."""
    runs = [run for arm in arms for run in arm.runs]
    families: dict[str, tuple[str, ...]] = {}
    for run in runs:
        families |= run.families
    for family, parts in list(families.items()):
        having = [run for run in runs if any(table.benchmark in parts for table in run.tables)]
        if any(run.families.get(family) != parts for run in having):
            del families[family]  # a run has a part of it alone, which stays comparable part by part
    return [[_by_key(run, families) for run in arm.runs] for arm in arms]


def _by_key(run: Run, families: dict[str, tuple[str, ...]]) -> dict[Key, Table]:
    family_of = {part: family for family, parts in families.items() for part in parts}
    together: dict[Key, list[Table]] = {}
    for table in run.tables:
        benchmark = family_of.get(table.benchmark, table.benchmark)
        together.setdefault((benchmark, table.variant, table.metric), []).append(table)
    return {key: own[0] if own[0].benchmark == key[0] else _together(key[0], own) for key, own in together.items()}


def _together(family: str, parts: Sequence[Table]) -> Table:
    """One table of several tasks: the task is the group of its items, and a part of their ids."""
    frames = [
        part.frame.with_columns(
            (pl.lit(f"{part.benchmark}/") + pl.col("id")).alias("id"), pl.lit(part.benchmark).alias("group")
        )
        for part in parts
    ]
    about: dict[str, str] = {}
    for name in dict.fromkeys(name for part in parts for name in part.about):
        values = sorted({part.about.get(name, "") for part in parts})
        about[name] = values[0] if len(values) == 1 else f"{len(values)} of them: {', '.join(values)}"[:80]
    return replace(parts[0], benchmark=family, frame=pl.concat(frames), about=about)
