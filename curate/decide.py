"""The one place that decides: measures, links and limits in; for each row a verdict with its evidence out.

Row filters are expressions over measures. Then, among the rows that nothing else drops, one greedy pass in keep
order decides which row of each group of look-alikes stays: no text is lost because its only kept copy was bad in
another way. Measures are read here and no texts, but for those that `link` compares: other limits take seconds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.converters.converter import Writer, answers_by
from caravan.curate.convert import FileConverted
from caravan.curate.filter import LinkingFilter
from caravan.curate.links import Links, greedy
from caravan.curate.measure import ActiveFilter
from caravan.curate.recipe import Source
from caravan.errors import UserError
from caravan.plugins import load

# What `decide` adds. `reasons` holds all that hold, in the recipe's order; `reason` is the first, null: the row stays.
VERDICT_COLUMNS = ("reason", "reasons", "duplicate_of", "duplicate_key", "similarity")
NOTHING_KNOWN: Mapping[str, Writer] = MappingProxyType({})  # of who wrote the answers of a source


def link(rows: pl.DataFrame, filters: Sequence[ActiveFilter]) -> list[tuple[ActiveFilter, Links]]:
    """The links of all filters that compare rows."""
    return [(f, one) for f in filters if isinstance(f.module, LinkingFilter) for one in f.module.link(rows, f.settings)]


def decide(
    rows: pl.DataFrame,
    filters: Sequence[ActiveFilter],
    links: Sequence[tuple[ActiveFilter, Links]],
    keep: Sequence[str],
    priority: Sequence[str] = (),
    written: Mapping[str, Writer] = NOTHING_KNOWN,
) -> pl.DataFrame:
    """A frame of VERDICT_COLUMNS, one row for each of `rows` (Example columns and measures).

    `keep` names what makes the better row of a group, most important first (see `keep_order`); `written` says who
    wrote the answers of a source (see `writers`).
    """
    # A column of verdicts a filter: named so that no measure has the name, and as long as `rows` even for a literal.
    names = [f"verdict of {f.name}" for f in filters]
    verdicts = rows.with_columns(_verdict(f).alias(name) for f, name in zip(filters, names, strict=True)).select(names)
    order = keep_order(rows, keep, priority, written)
    if names:
        alive = verdicts.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        order = order[alive[order]]
    asked = [(f, *by_limit) for f, one in links for by_limit in _by_limit(f, one, rows["source"])]
    found = greedy(rows.height, [one for _, one, _ in asked], [limit for _, _, limit in asked], order)
    repeats = found.partner >= 0
    which = np.where(repeats, found.link, -1)
    linked = [
        pl.coalesce(name, _by_link(which, [one.reason if of is f else None for of, one, _ in asked])).alias(name)
        for f, name in zip(filters, names, strict=True)
    ]
    partner = pl.Series(np.where(repeats, found.partner, 0))
    return (
        rows.select("id")
        .hstack(verdicts.with_columns(linked))
        .select(
            pl.coalesce(*names, pl.lit(None, pl.String)).alias("reason"),
            pl.concat_list(*names, pl.lit(None, pl.String)).list.drop_nulls().alias("reasons"),
            pl.when(pl.Series(repeats)).then(pl.col("id").gather(partner)).alias("duplicate_of"),
            _by_link(which, [one.key for _, one, _ in asked]).alias("duplicate_key"),
            pl.when(pl.Series(repeats)).then(pl.Series(found.similarity)).alias("similarity"),
        )
        .select(VERDICT_COLUMNS)
    )


def alternatives(
    rows: pl.DataFrame,
    filters: Sequence[ActiveFilter],
    links: Sequence[tuple[ActiveFilter, Links]],
    keep: Sequence[str],
    priority: Sequence[str] = (),
    written: Mapping[str, Writer] = NOTHING_KNOWN,
) -> pl.DataFrame:
    """What each filter alone would drop at other values of its limits: `filter`, `limit`, `value`, `dropped`, `now`.

    The values are the filter's own (`TRY`); limits by source are left aside. Values that the settings do not allow
    are left out.
    """
    found = []
    for active in filters:
        for limit, values in getattr(active.module, "TRY", {}).items():
            for value in values:
                table = active.limits.model_dump() | {limit: value}
                other = replace(active, limits=type(active.limits).model_validate(table), overrides={})
                own = [(other, one) for f, one in links if f is active]
                try:
                    reasons = decide(rows, [other], own, keep, priority, written)["reason"]
                except UserError:
                    continue
                now = getattr(active.limits, limit) == value
                found.append((active.name, limit, float(value), reasons.is_not_null().sum(), now))
    columns = {"filter": pl.String, "limit": pl.String, "value": pl.Float64, "dropped": pl.Int64, "now": pl.Boolean}
    return pl.DataFrame(found, schema=columns, orient="row")


def _by_limit(active: ActiveFilter, links: Links, source: pl.Series) -> Iterator[tuple[Links, float]]:
    """Links once for each similarity that counts as one somewhere: a pair counts from the higher of its rows' limits.

    Rows of a source for which this key is off are left out.
    """
    limits = {
        name: active.module.limit(links, active.overrides.get(name, active.limits)) for name in source.unique().sort()
    }
    for limit in sorted({value for value in limits.values() if value is not None}):
        names = [name for name, value in limits.items() if value is not None and value <= limit]
        if len(names) == len(limits):
            yield links, limit
            continue
        takes = source.is_in(names).to_numpy()[links.row]
        yield replace(links, row=links.row[takes], bucket=links.bucket[takes]), limit


def keep_order(
    rows: pl.DataFrame, keep: Sequence[str], priority: Sequence[str] = (), written: Mapping[str, Writer] = NOTHING_KNOWN
) -> npt.NDArray[np.int64]:
    """Row numbers, the row to keep first; ties by id. `keep` names what counts, most important first:

    "priority": the sources named in `priority`, in that order, before all others. "human": rows whose answers people
    wrote before those of which nothing is known, and these before what a model wrote. "quality": the higher one.
    "length": the longer text, in characters.
    """
    by: list[pl.Expr] = []
    for name in keep:
        if name == "priority" and priority:
            place = pl.col("source").replace_strict(
                list(priority), list(range(len(priority))), default=len(priority), return_dtype=pl.Int64
            )
            by.append(place)
        elif name == "human":
            by.append(_synthetic(rows["tags"], rows["source"], written))
        elif name == "quality" and "quality" in rows.columns:
            by.append(-pl.col("quality").fill_null(0))
        elif name == "length":
            characters = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()
            by.append(-characters.cast(pl.Int64))
    return rows.select(pl.arg_sort_by([*by, "id"])).to_series().to_numpy()


def writers(files: Iterable[FileConverted], sources: Mapping[str, Source]) -> dict[str, Writer]:
    """Who wrote the answers of each source: what the recipe's source says, else what all of its converters say.

    Sources of which nothing is known, or whose files disagree, are left out.
    """
    said: dict[str, set[Writer | None]] = {}
    for made in files:
        source = sources.get(made.task.source)
        own = source.answers_by if source else None
        said.setdefault(made.task.source, set()).add(own or answers_by(load("converters", made.task.converter)))
    return {name: one for name, of in sorted(said.items()) if len(of) == 1 for one in of if one is not None}


def _synthetic(tags: pl.Series, source: pl.Series, written: Mapping[str, Writer]) -> pl.Expr:
    """0 where people wrote the answers, 2 where a model did, 1 where nothing is known; the row's own tag counts most.

    That tag is `synthetic`, true or false, as Open-Assistant writes it.
    """
    place = {"people": 0, "model": 2}
    places = np.ones(len(source), np.int8)
    for name, writer in written.items():
        places[(source == name).to_numpy()] = place[writer]
    tagged = tags.str.contains('"synthetic":', literal=True).fill_null(value=False)  # most have none: no need to parse
    own = (
        tags.filter(tagged)
        .str.json_path_match("$.synthetic")
        .replace_strict({"false": place["people"], "true": place["model"]}, default=None, return_dtype=pl.Int8)
    )
    found = np.flatnonzero(tagged.to_numpy())[own.is_not_null().to_numpy()]
    places[found] = own.drop_nulls().to_numpy()
    return pl.lit(pl.Series(places))


def _verdict(active: ActiveFilter) -> pl.Expr:
    expression = active.module.verdict(active.limits)
    for source, limits in sorted(active.overrides.items()):
        expression = pl.when(pl.col("source") == source).then(active.module.verdict(limits)).otherwise(expression)
    return pl.Expr.cast(expression, pl.String)


def _by_link(which: npt.NDArray[np.int64], values: Sequence[str | None]) -> pl.Expr:
    """For each row the value of its link; null for -1."""
    return pl.lit(pl.Series([*values, None], dtype=pl.String).gather(pl.Series(which % (len(values) + 1))))
