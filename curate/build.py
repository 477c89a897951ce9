"""The main job: raw instruction sets in, one measured, decided and weighted mixture out.

The order of the work: `sources` (which files, which converters) -> `gather` (convert, measure) -> `decide` -> `mix`
-> the files written here. `mixtures` lies below `curate` though data reaches it later: imports point down, data
walks along this list.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from caravan.curate import benchmarks as choices
from caravan.curate import hub, leaks, report, sources
from caravan.curate.decide import alternatives, decide, link, writers
from caravan.curate.engine import StartMethod, is_alive
from caravan.curate.gather import Gathered, gather
from caravan.curate.ledger import check_books, dropped, ledger, mixture
from caravan.curate.links import Links, components
from caravan.curate.measure import ActiveFilter, active_filters
from caravan.curate.mix import Drawn, mix
from caravan.curate.recipe import Recipe, Source
from caravan.curate.record import manifest_of
from caravan.curate.shards import ROW_GROUP
from caravan.errors import UserError
from caravan.mixtures import card, handover, manifest
from caravan.mixtures.manifest import BenchmarkRecord, Manifest
from caravan.terminal import Progress

if TYPE_CHECKING:
    import datasets

MIX, LEDGER, DROPPED = "mix.parquet", "ledger.parquet", "dropped.parquet"
CONTAMINATION, QUARANTINE, REPORT, VALIDATION = (
    "contamination.parquet",
    "quarantine.jsonl",
    "report.html",
    "validation.parquet",
)

CARDS = ("card.md", "README.md")  # the hub and `load_dataset` look for README.md
AUDIT = "audit.csv"  # what `curate audit` lays beside them
FILES = {MIX, LEDGER, DROPPED, CONTAMINATION, QUARANTINE, REPORT, VALIDATION, AUDIT, *CARDS, *handover.FILES}


@dataclass(frozen=True)
class MixResult:
    """What `build_mix` made: the manifest, and the rows of `mix.parquet` as a frame. `folder` is None on a dry run."""

    manifest: Manifest
    mix: pl.DataFrame
    ledger: pl.DataFrame
    folder: Path | None
    alternatives: pl.DataFrame | None = None  # on a dry run: what other limits would drop

    def to_datasets(self) -> "datasets.Dataset":
        """The mixture as a Hugging Face data set."""
        import datasets

        return datasets.Dataset(self.mix.to_arrow())


def build_mix(
    recipe: Recipe,
    *,
    out: str | Path | None = "mix",
    frames: Mapping[str, Any] | None = None,
    workers: int = 1,
    start_method: StartMethod | None = None,
    progress: Progress | None = None,
) -> MixResult:
    """Build the mixture that a recipe describes and write it into the folder `out` (None: a dry run).

    `frames` are further sources from memory by name: polars frames, Arrow tables or `datasets.Dataset`s of raw rows.
    A recipe without any files uses the embedded samples. Raises `UserError` for what a person can mend.
    """
    progress = progress or Progress(quiet=True)
    if out is not None:
        _check_folder(Path(out))
    filters = active_filters(recipe)
    said = [note for f in filters if f.name == "contamination" for note in choices.notes(f.settings.benchmarks)]
    for note in said:
        progress.say(f"note: {note}")
    given = {name: hub.frame_input(name, frame) for name, frame in (frames or {}).items()}
    embedded = not given and not any(source.paths for source in recipe.sources.values())
    if embedded:
        recipe, given = sources.with_samples(recipe)
    elif given:
        missing = {name: Source() for name in given if name not in recipe.sources}
        recipe = recipe.model_copy(update={"sources": recipe.sources | missing})
    tasks, guesses = sources.tasks(recipe, given)
    for file, guess in guesses.items():
        if not guess.fits:
            progress.warn(f"{file}: {guess.match.why}; its rows are rejected")
    sources.only_conversations(tasks)
    gathered = gather(tasks, filters, workers=workers, start_method=start_method, progress=progress)
    rows = gathered.rows
    if not rows.height:
        codes = (
            ", ".join(sorted({code for made in gathered.files for code in made.codes})[:5]) or "nothing could be read"
        )
        raise UserError("no examples in any file", where=tasks[0].input.name, fix=f"refused for: {codes}")
    progress.say(f"decide: {rows.height:,} examples")
    links = link(rows, filters)
    written = writers(gathered.files, recipe.sources)
    verdicts = decide(rows, filters, links, recipe.keep, recipe.priority, written)
    drawn = mix(rows, verdicts["reason"].is_null(), _groups(rows, links, recipe), recipe)
    books = ledger(gathered, verdicts, drawn)
    rows_mixed = mixture(rows, drawn.rows, drawn.copies)
    leaks, benchmarks = _leaks(gathered)
    record = manifest_of(recipe, gathered, drawn, books, rows_mixed, benchmarks, embedded, said)
    check_books(record, books)
    if out is None:
        tried = alternatives(rows, filters, links, recipe.keep, recipe.priority, written)
        return MixResult(record, rows_mixed, books, None, tried)
    folder = Path(out)
    progress.say(f"write: {rows_mixed.height:,} rows to {folder}")
    _write(folder, record, rows_mixed, books, leaks, gathered, verdicts, drawn)
    return MixResult(record, rows_mixed, books, folder)


def _groups(rows: pl.DataFrame, links: list[tuple[ActiveFilter, Links]], recipe: Recipe) -> np.ndarray:
    """A label for each row, the same for rows that are alike enough to give a validation row away."""
    if not recipe.validation.share:
        return np.arange(rows.height, dtype=np.int64)
    some = [one for _, one in links if one.floor <= 1.0]  # keys that were not looked at have a floor that none reaches
    return components(rows.height, some, [one.floor for one in some])


def _leaks(gathered: Gathered) -> tuple[pl.DataFrame, list[BenchmarkRecord]]:
    """The rows of contamination.parquet (all examples over their source's limit), and the benchmarks' side."""
    for active in gathered.filters:
        if active.name == "contamination":
            seen = gathered.rows.select("source", "provenance", *active.module.COLUMNS)
            by_source = seen.partition_by("source", as_dict=True)
            lines = pl.concat(
                leaks.table(part, active.overrides.get(str(name), active.limits)) for (name,), part in by_source.items()
            )
            return lines, leaks.records(lines, active.settings)
    return pl.DataFrame(), []


def _check_folder(folder: Path) -> None:
    """Refuse to write over anything that is not a mixture."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UserError("a name that is not UTF-8", where=repr(str(folder)), fix="name another with --out") from None
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError("is not a folder", where=str(folder), fix="name another with --out")
    if folder.is_dir() and not (folder / manifest.FILE).exists():
        strange = sorted(p.name for p in folder.iterdir() if p.name not in FILES and not p.name.startswith(".part-"))
        if strange:
            raise UserError(
                f"holds other files ({', '.join(strange[:3])}) and no mixture",
                where=str(folder),
                fix="name another with --out",
            )


def _write(
    folder: Path,
    record: Manifest,
    rows_mixed: pl.DataFrame,
    books: pl.DataFrame,
    leaks: pl.DataFrame,
    gathered: Gathered,
    verdicts: pl.DataFrame,
    drawn: Drawn,
) -> None:
    """Write all files into a folder of their own inside, then move them up.

    The old manifest goes first and the new one comes last: a folder with a manifest is whole, whenever a build is
    killed, and one without is taken for no mixture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".part-*"):  # by builds that were killed; in a container ours may have had the same number
        process = left.name.removeprefix(".part-")
        if process.isdecimal() and (int(process) == os.getpid() or not is_alive(int(process))):
            shutil.rmtree(left, ignore_errors=True)
    aside = folder / f".part-{os.getpid()}"
    aside.mkdir()
    try:
        _write_parquet(rows_mixed, aside / MIX)
        _write_parquet(books, aside / LEDGER)
        if leaks.width:
            _write_parquet(leaks, aside / CONTAMINATION)
        _write_parquet(dropped(gathered, verdicts), aside / DROPPED)
        if len(drawn.validation):
            ones = np.ones(len(drawn.validation), dtype=np.int64)
            _write_parquet(mixture(gathered.rows, drawn.validation, ones), aside / VALIDATION)
        with (aside / QUARANTINE).open("w", encoding="utf-8") as file:
            for row in gathered.refused().filter(pl.col("fate") == "quarantined").iter_rows(named=True):
                line = {"file": row["file"], "row": row["row"], "why": row["detail"], "raw": row["raw"]}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        languages = rows_mixed["language"].value_counts().rows() if "language" in rows_mixed.columns else []
        text = card.card(record, dict(languages))
        for name in CARDS:
            (aside / name).write_text(text, encoding="utf-8")
        handover.write(aside, record)
        manifest.write(record, aside)
        (aside / REPORT).write_text(report.report(aside), encoding="utf-8")
        made = {path.name for path in aside.iterdir()}
        (folder / manifest.FILE).unlink(missing_ok=True)
        for path in sorted(aside.iterdir(), key=lambda p: (p.name == manifest.FILE, p.name)):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        for name in (VALIDATION, CONTAMINATION):
            if name not in made:
                (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)
