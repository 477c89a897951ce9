"""The parts of the report that are counted from rows: from the ledger, and from contamination.parquet."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from markupsafe import Markup

from caravan import pages
from caravan.curate.leaks import SUSPECTED, hits
from caravan.mixtures.manifest import Leaked, Manifest
from caravan.pages import Part, number, percent

SAMPLED = 20  # rows shown of each reason
WORST = 15  # benchmark items shown
LANGUAGES = 14  # rows of the languages' table, the last one being all others


def lengths(manifest: Manifest, examples: pl.DataFrame) -> Markup:
    """Tokens of the examples before and of the mixture's rows after, and figures of length by source."""
    if "tokens" not in examples.columns:
        return pages.section("lengths", "Lengths", pages.paragraph("Tokens were not counted."))
    counted = examples.filter(pl.col("tokens").is_not_null())
    tokens = counted["tokens"].to_numpy()
    copies = counted["copies"].fill_null(0).to_numpy()
    highest = int(tokens.max()) if len(tokens) else 1
    edges = [0, *(2**p for p in range(max(highest, 1).bit_length()))]
    bins = np.searchsorted(np.array(edges), tokens, side="right") - 1
    counts = [np.bincount(bins, weights, len(edges)).tolist() for weights in (None, copies)]
    used = [at for at in range(len(edges)) if counts[0][at]]
    span = range(used[0], used[-1] + 1) if used else range(0)
    series = [Part("examples before", 0, "idle"), Part("rows of the mixture", 0, "c0")]
    figure = pages.histogram(
        [_short_number(edges[at]) for at in span],
        series,
        [[row[at] for at in span] for row in counts],
        "Share of rows by tokens; each bar starts at its number and ends before the next",
    )
    drawn = counted.filter(pl.col("copies") > 0)
    rows = [
        [s.name, *_quantiles(drawn.filter(pl.col("source") == s.name))]
        for s in sorted(manifest.sources, key=lambda s: (-s.given.examples, s.name))
    ]
    head = ["distinct rows drawn", "median", "mean", "9 in 10 below", "99 in 100 below", "longest", "mean answer"]
    return pages.section("lengths", "Lengths", figure, pages.table(head, rows, "tnnnnnn", ["all", *_quantiles(drawn)]))


def _quantiles(rows: pl.DataFrame) -> list[str]:
    tokens = rows["tokens"]
    answer = rows["supervised_tokens"].mean() if "supervised_tokens" in rows.columns else None
    figures = [tokens.median(), tokens.mean(), tokens.quantile(0.9), tokens.quantile(0.99), tokens.max(), answer]
    return [number(float(f) if isinstance(f, int | float) else None) for f in figures]


def _short_number(value: int) -> str:
    for size, letter in ((2**30, "G"), (2**20, "M"), (2**10, "k")):
        if value >= size:
            return f"{value // size}{letter}"
    return str(value)


def languages(examples: pl.DataFrame) -> Markup:
    """Examples and rows of the mixture by language."""
    if "language" not in examples.columns:
        return pages.section("languages", "Languages", pages.paragraph("Languages were not measured."))
    counts = (
        examples.group_by(pl.col("language").fill_null("und"))
        .agg(pl.len().alias("before"), pl.col("copies").sum().alias("after"))
        .sort("after", "before", "language", descending=[True, True, False])
    )
    lines: list[tuple[str, int, int]] = counts.select("language", "before", "after").rows()
    if len(lines) > LANGUAGES:
        rest = lines[LANGUAGES - 1 :]
        others = (f"{len(rest)} others", sum(r[1] for r in rest), sum(r[2] for r in rest))
        lines = [*lines[: LANGUAGES - 1], others]
    whole = sum(line[2] for line in lines)
    rows = [
        [name, number(before), number(after), percent(after, whole), pages.bar(after / whole if whole else 0, name)]
        for name, before, after in lines
    ]
    head = ["language", "examples", "rows in mixture", "share", ""]
    note = "Codes are ISO 639-1; und: undetermined (too short, code, numbers)."
    return pages.section("languages", "Languages", pages.table(head, rows, "tnnnw"), pages.paragraph(note))


def contamination(manifest: Manifest, leaks: pl.DataFrame | None) -> Markup:
    """Items found in the data for each benchmark and subject, those that the most rows hold, and suspected ones."""
    title = "Contamination"
    if not manifest.benchmarks:
        return pages.section("contamination", title, pages.paragraph("No benchmark was compared with."))
    whole = sum(source.examples for source in manifest.sources)
    ordered = sorted(manifest.benchmarks, key=lambda b: (-b.share, b.name))
    rows = [_leaked(b.name + (" (embedded sample)" if b.embedded else ""), b, whole) for b in ordered]
    head = ["items", "too short to check", "items hit", "share of items", "95 %", "", "rows hit", "of all rows"]
    head += ["with the answer", "suspected", "variants"]
    note = (
        "Counted over all examples, before any was dropped. Items too short to check stay in the denominator: they"
        " are not known to be clean. Suspected items (in other words) and variants (with other numbers) are no leaks,"
        " and counted apart, as items in rows."
    )
    parts = [pages.paragraph(note), pages.table(["benchmark", *head], rows, "tnnnnnwnnnnn")]
    marked = [
        _leaked(f"{b.name}: {part.name}", part, whole)
        for b in ordered
        for part in sorted(b.groups, key=lambda part: -part.share)
        if part.hit or part.suspected or part.variants
    ]
    if marked:
        by_part = pages.table(["part", *head], marked, "tnnnnnwnnnnn")
        parts.append(pages.fold("By subject, task and language", f"{len(marked)} with something found", by_part))
    if leaks is not None and leaks.height:
        parts += _items(hits(leaks), "Items found in the most rows", "coverage_item", "most of the item")
        suspected = leaks.filter(pl.col("kind") == SUSPECTED)
        parts += _items(suspected, "Items suspected in the most rows", "similarity", "most alike")
    return pages.section("contamination", title, *parts)


def _leaked(name: str, of: Leaked, whole: int) -> list[object]:
    low, high = (100 * bound for bound in of.interval)
    return [
        name, number(of.items), number(of.too_short), number(of.hit), percent(of.hit, of.items),
        f"{low:.1f} to {high:.1f}", pages.bar(of.share, f"{name}: {of.hit} items", "bad"),
        number(of.rows_hit), percent(of.rows_hit, whole), number(of.rows_answered),
        _in_rows(of.suspected, of.rows_suspected), _in_rows(of.variants, of.rows_variants),
    ]  # fmt: skip


def _in_rows(items: int, rows: int) -> str:
    return f"{number(items)} in {number(rows)}" if rows else "0"


def _items(lines: pl.DataFrame, title: str, by: str, heading: str) -> list[Markup]:
    """The items of these lines that stand in the most rows."""
    if not lines.height:
        return []
    worst = (
        lines.group_by("benchmark", "item")
        .agg(
            pl.len().alias("rows"),
            pl.col(by).max(),
            pl.col("coverage_row").max(),
            pl.col("kind").unique().sort().str.join(", "),
            pl.col("answer").sum(),
        )
        .sort("rows", by, "benchmark", "item", descending=[True, True, False, False])
        .head(WORST)
    )
    rows = [
        [item, bench, kind, number(n), number(answered), percent(of_item), percent(of_row)]
        for item, bench, kind, n, answered, of_item, of_row in worst.select(
            "item", "benchmark", "kind", "rows", "answer", by, "coverage_row"
        ).rows()
    ]
    heads = ["item", "benchmark", "kind", "rows", "with the answer", heading, "most of the row"]
    return [Markup("<h3>{}</h3>").format(pages.text(title)), pages.table(heads, rows, "ittnnnn")]


def samples(ledger: pl.DataFrame) -> Markup:
    """For each reason some rows that it dropped, with what was measured of them."""
    lost = ledger.filter(pl.col("fate").is_in(["dropped", "rejected", "quarantined"]))
    groups = [(fate, reason, part) for (fate, reason), part in lost.group_by("fate", "reason", maintain_order=True)]
    groups.sort(key=lambda g: (g[0] != "dropped", -g[2].height, str(g[1])))
    kinds = {"dropped": "", "rejected": "not converted: ", "quarantined": "unreadable: "}
    folds = []
    for fate, reason, part in groups:
        # Evenly spaced, so that all files have their turn.
        shown = part[sorted({n * part.height // SAMPLED for n in range(SAMPLED)})]
        rows = [_sample(row, str(reason)) for row in shown.iter_rows(named=True)]
        table = pages.table(["row", "source", "where", "evidence", "other reasons"], rows, "ititt")
        folds.append(
            pages.fold(f"{kinds[str(fate)]}{reason}", f"{number(shown.height)} of {number(part.height)}", table)
        )
    note = Markup('<p class="soft">Up to {} rows of each reason, evenly spaced. <code>curate explain ID</code> {}.</p>')
    content = pages.join(folds) if folds else pages.paragraph("Nothing was dropped.")
    return pages.section("dropped", "Dropped rows, sampled", note.format(SAMPLED, "shows a row in full"), content)


def _sample(row: dict[str, object], reason: str) -> list[object]:
    others = row.get("reasons")
    rest = ", ".join(r for r in others if r != reason) if isinstance(others, Sequence) else ""
    place = f"{row.get('file')}:{row.get('row')}"
    return [row.get("id") or row.get("row_id") or "", row.get("source") or "", place, _evidence(row), rest]


def _evidence(row: dict[str, object]) -> Markup:
    """What was measured of a row, in one line."""

    def figure(name: str, digits: int) -> str:
        value = row.get(name)
        return number(float(value), digits) if isinstance(value, int | float) else ""

    said = [pages.text(str(row["detail"])[:200])] if row.get("detail") else []
    if row.get("duplicate_of"):
        by = pages.text(f" ({row.get('duplicate_key')}, {figure('similarity', 2) or '–'})")
        said.append(Markup('repeats <span class="id">{}</span>{}').format(pages.text(row["duplicate_of"]), by))
    if row.get("language"):
        said.append(pages.text(f"language {row['language']} {figure('language_score', 2)}".rstrip()))
    for name, digits in (("quality", 2), ("tokens", 0), ("turns", 0)):
        if shown := figure(name, digits):
            said.append(pages.text(f"{name} {shown}"))
    leaked = row.get("contamination_max")
    if isinstance(leaked, float) and leaked > 0:
        said.append(pages.text(f"{percent(leaked)} of a benchmark item"))
    return Markup(" · ").join(said)
