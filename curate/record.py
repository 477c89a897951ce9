"""The manifest of a build: what was read, measured, decided and mixed, counted from what was made."""

import json
from collections import Counter
from hashlib import sha256
from importlib.metadata import version as library_version
from typing import Any

import polars as pl

import caravan
from caravan.converters.schema import content_hash
from caravan.curate import tokens
from caravan.curate.gather import Gathered
from caravan.curate.ledger import TOKENS
from caravan.curate.measure import ActiveFilter
from caravan.curate.mix import Drawn, shares_given
from caravan.curate.recipe import Recipe
from caravan.mixtures import allocate, strategy
from caravan.mixtures.manifest import Amount, BenchmarkRecord, FileRead, FilterRecord, Manifest, SourceRecord


def manifest_of(
    recipe: Recipe,
    gathered: Gathered,
    drawn: Drawn,
    books: pl.DataFrame,
    mixture: pl.DataFrame,
    benchmarks: list[BenchmarkRecord],
    embedded: bool,
    said: list[str],
) -> Manifest:
    """The manifest of a build: `books` is the ledger, `mixture` the rows of mix.parquet, `said` notes for people."""
    given = {name: _amount(part) for (name,), part in mixture.group_by("source", maintain_order=True)}
    whole = shares_given({f.name: getattr(given.get(f.name, Amount()), recipe.unit) for f in drawn.figures})
    records = [
        _source_record(f.name, gathered, books, drawn, given.get(f.name, Amount()), whole[f.name])
        for f in drawn.figures
    ]
    validation = gathered.rows[drawn.validation]
    said = said + strategy.notes(drawn.figures, drawn.shares) + allocate.notes(drawn.allocation, recipe.unit)
    tokenizer = next((f.settings.tokenizer for f in gathered.filters if f.name == "length"), None)
    return Manifest(
        caravan=caravan.__version__,
        content_hash=_content_hash(mixture),
        recipe=_recipe_without_paths(recipe),
        seed=recipe.seed,
        unit=recipe.unit,
        token_counter=_token_counter(tokenizer),
        requested=drawn.total,
        given=_amount(mixture),
        validation=_amount(validation),
        embedded_samples=embedded,
        sources=records,
        filters=[_filter_record(f) for f in gathered.filters],
        benchmarks=benchmarks,
        strategy={"name": recipe.strategy.name, "options": recipe.strategy.options},
        libraries={name: library_version(name) for name in ("polars", "pyarrow", "numpy", "pydantic", "tiktoken")},
        notes=said,
    )


def _token_counter(tokenizer: str | None) -> str:
    return "" if tokenizer is None else tokenizer if tokens.kind(tokenizer) == "exact" else "estimate"


def _source_record(
    name: str, gathered: Gathered, books: pl.DataFrame, drawn: Drawn, given: Amount, share_given: float
) -> SourceRecord:
    own = books.filter((pl.col("source") == name) & pl.col("id").is_not_null())
    fates = Counter(own["fate"].to_list())
    files = [made for made in gathered.files if made.task.source == name]
    figures = next(f for f in drawn.figures if f.name == name)
    return SourceRecord(
        name=name,
        licences=sorted(set(gathered.rows.filter(pl.col("source") == name)["licence"].unique()) - {""}),
        files=[
            FileRead(
                file=made.task.input.name,
                sha256=made.sha256,
                bytes=made.bytes,
                converter=made.task.converter,
                converter_version=made.version,
                options=json.loads(made.task.options),
                rows=made.rows,
                cited=made.cited,
                rejected=made.rejected,
                quarantined=made.quarantined,
                examples=made.examples,
                codes=made.codes,
                text_changes=made.text_changes,
            )
            for made in sorted(files, key=lambda made: made.task.input.name)
        ],
        examples=own.height,
        dropped=dict(sorted(Counter(own["reason"].drop_nulls().to_list()).items())),
        drawn=fates["drawn"],
        validation=fates["validation"],
        not_drawn=fates["not_drawn"],
        quality=figures.quality,
        share_requested=drawn.shares.get(name, 0.0),
        share_given=share_given,
        requested=drawn.allocation.requested.get(name, 0),
        given=given,
        max_copies=int(own["copies"].max() or 0) if own.height else 0,  # type: ignore[arg-type]
    )


def _amount(rows: pl.DataFrame) -> Amount:
    tokens_, supervised = (int(rows[name].sum()) if name in rows.columns else 0 for name in TOKENS)
    return Amount(examples=rows.height, tokens=tokens_, supervised_tokens=supervised)


def _filter_record(active: ActiveFilter) -> FilterRecord:
    return FilterRecord(
        name=active.name,
        version=active.module.VERSION,
        settings=active.settings.model_dump(mode="json"),
        limits=active.limits.model_dump(mode="json"),
        overrides={name: limits.model_dump(mode="json") for name, limits in sorted(active.overrides.items())},
        fingerprint=active.fingerprint(),
    )


def _recipe_without_paths(recipe: Recipe) -> dict[str, Any]:
    """The recipe as resolved, without where the files lay: those are named, with hashes, under `sources`."""
    table = recipe.model_dump(mode="json", exclude_defaults=True)
    table["sources"] = {
        name: {k: v for k, v in source.items() if k != "paths"} for name, source in sorted(table["sources"].items())
    }
    return table


def _content_hash(mixture: pl.DataFrame) -> str:
    """SHA-256 over the mixture's logical rows in order: source, messages and copy; no paths, no times."""
    digest = sha256()
    for source, messages, repeat in mixture.select("source", "messages", "repeat").iter_rows():
        digest.update(f"{content_hash(source, messages)} {repeat}\n".encode())
    return digest.hexdigest()
