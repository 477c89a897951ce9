"""One file on its own: what `curate convert`, `measure`, `inspect`, `dedup` and `contamination-check` begin with."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import JsonValue

from caravan.curate import hub, sources
from caravan.curate.engine import StartMethod
from caravan.curate.gather import Gathered, gather
from caravan.curate.guess import Guess
from caravan.curate.measure import ActiveFilter, active_filters
from caravan.curate.recipe import File, Recipe, Source
from caravan.curate.shards import write_table
from caravan.errors import UserError
from caravan.terminal import Progress

MIX = "mix.parquet"


def find_data(path: str, progress: Progress) -> str:
    """A data path as people type it: a mixture folder means its mix.parquet, which is also looked for in mix/."""
    given = Path(path)
    if given.is_dir() and (given / MIX).is_file():
        return str(given / MIX)
    if given.name == MIX and not given.exists():
        for other in (given.parent / "mix" / MIX, given.parent.parent / MIX):
            if other.is_file():
                progress.say(f"{path} is not there: reading {other}")
                return str(other)
    return path


def gather_data(
    data: Any,
    filters: Sequence[str] | dict[str, dict[str, JsonValue]] = (),
    *,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    start_method: StartMethod | None = None,
    preferences: bool = False,
    progress: Progress | None = None,
) -> tuple[Gathered, dict[str, Guess]]:
    """Convert and measure one data set: a path, or a polars frame, an Arrow table or a `datasets.Dataset` of raw rows.

    `filters` are names, or tables of settings and limits by name. Files of preferences are refused unless asked for,
    without filters then. Also gives what was guessed, by file name.
    """
    progress = progress or Progress(quiet=True)
    if converter and columns:
        raise UserError(f"--as {converter} and --columns are two ways to read one file", fix="give one of them")
    tables = filters if isinstance(filters, dict) else {name: {} for name in filters}
    in_memory = not isinstance(data, str | Path)
    path = "" if in_memory else find_data(str(data), progress)
    paths: list[str | File] = [] if in_memory else [File(path=path, converter=converter)]
    source = Source(paths=paths, converter=converter, columns=columns or {})
    recipe = Recipe(sources={"data": source}, use=list(tables), filters=tables)
    active: list[ActiveFilter] = active_filters(recipe)
    given = {"data": hub.frame_input("data", data)} if in_memory else None
    tasks, guesses = sources.tasks(recipe, given)
    if preferences:
        sources.one_kind(tasks)
    else:
        sources.only_conversations(tasks)
    gathered = gather(tasks, active, workers=workers, start_method=start_method, progress=progress)
    _refuse_the_unreadable(gathered)
    return gathered, guesses


def _refuse_the_unreadable(gathered: Gathered) -> None:
    if not any(done.cited or done.rejected for done in gathered.files):
        why = gathered.refused()["detail"].to_list()
        raise UserError(
            why[0] if why else "no rows",
            where=gathered.files[0].task.input.name,
            fix="give another file" if not why else "",
        )


def in_order_read(gathered: Gathered) -> pl.DataFrame:
    """All examples, and all rows that gave none, in the order read: those have a null `messages` and their code."""
    rows = gathered.rows.with_columns(
        pl.col("provenance").struct.field("file"),
        pl.col("provenance").struct.field("row"),
        pl.lit(None, pl.String).alias("rejected"),
    )
    cited = rows.select("file", pl.col("provenance").struct.field("rows").alias("row")).explode("row")
    lost = (
        gathered.refused()
        .filter(pl.col("fate") != "partly_rejected")
        .select("source", "file", pl.col("rows").alias("row"), pl.col("code").alias("rejected"))
        .explode("row")
        .unique(["file", "row"], keep="first", maintain_order=True)
        .join(cited, on=["file", "row"], how="anti", maintain_order="left")
    )
    return pl.concat([rows, lost], how="diagonal").sort("file", "row", maintain_order=True)


@dataclass(frozen=True)
class Described:
    """What `convert` or `measure` wrote, with the accounts of each file and what was guessed."""

    frame: pl.DataFrame
    gathered: Gathered
    guesses: dict[str, Guess]

    @property
    def what(self) -> str:
        """What the rows are, for people."""
        return "preferences" if "chosen" in self.frame.columns else "examples"


def convert(
    data: Any,
    out: str | Path | None = None,
    *,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Described:
    """Turn raw data into examples, or preferences where the files hold such; written to `out` when given.

    The frame has the columns of `Example`, or of `Preference`, and its rows are in the order read.
    """
    check_out(out)
    gathered, guesses = gather_data(
        data, converter=converter, columns=columns, workers=workers, preferences=True, progress=progress
    )
    return _written(gathered.rows, gathered, guesses, out)


def measure(
    data: Any,
    out: str | Path | None = None,
    filters: Sequence[str] = ("language", "quality"),
    *,
    benchmarks: str | None = None,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Described:
    """Measure every row: all rows in the order read, `messages` as given, the filters' columns, and `rejected`.

    A row that the converter refused has its code in `rejected`, no messages and no measures.
    """
    check_out(out)
    tables: dict[str, dict[str, JsonValue]] = {name: {} for name in filters}
    if benchmarks is not None:
        tables.setdefault("contamination", {})["benchmarks"] = benchmarks
    gathered, guesses = gather_data(
        data, tables, converter=converter, columns=columns, workers=workers, progress=progress
    )
    rows = in_order_read(gathered)
    measured = [name for f in gathered.filters for name in f.module.COLUMNS]
    order = ["messages", *measured, "rejected", "id", "source", "file", "row"]
    return _written(rows.select(order), gathered, guesses, out)


def check_out(out: str | Path | None) -> None:
    """Refuse, before any work is done, an OUT that cannot be written."""
    if out is None:
        return
    path = Path(out)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError("a name that is not UTF-8", where=repr(str(path)), fix="name another with -o") from None
    if os.path.lexists(path) and not path.is_file():
        raise UserError("is there already, and is not a file", where=str(path), fix="name another with -o")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError("is no folder that can be written to", where=str(above), fix="name another place with -o")


def write_frame(frame: pl.DataFrame, out: Path, gathered: Gathered) -> None:
    """Write a result as Parquet; `UserError` when it would replace a file that was read."""
    for made in gathered.files:
        if out.exists() and out.samefile(made.task.input.path):
            raise UserError("OUT is the file that was read", where=str(out), fix="name another with -o")
    write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), out)


def _written(frame: pl.DataFrame, gathered: Gathered, guesses: dict[str, Guess], out: str | Path | None) -> Described:
    if out is not None:
        write_frame(frame, Path(out), gathered)
    return Described(frame, gathered, guesses)
