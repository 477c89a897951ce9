"""The report's part on duplicates: who repeats whom, where to look for false drops, and what the search can miss."""

import polars as pl
from markupsafe import Markup

from caravan import pages
from caravan.curate.filters.duplicates import NEAR
from caravan.curate.links import lsh_recall, lsh_shape
from caravan.mixtures.manifest import FilterRecord, Manifest
from caravan.pages import number, percent

LEAST = 15  # drops shown, the least similar ones
CURVE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # similarities at which the search's recall is shown


def duplicates(manifest: Manifest, examples: pl.DataFrame) -> Markup:
    """For each pair of sources, how many rows of one were dropped because one of the other stayed; and how sure it is.

    `examples` is the ledger without refused rows.
    """
    title = "Duplicates across sources"
    if "duplicate_of" not in examples.columns:
        return pages.section("duplicates", title, pages.paragraph("Duplicates were not looked for."))
    partners = examples.select(pl.col("id").alias("duplicate_of"), pl.col("source").alias("kept"))
    gone = examples.filter(pl.col("duplicate_of").is_not_null()).join(partners, on="duplicate_of", how="left")
    parts = [_search(record) for record in manifest.filters if record.name == "duplicates"]
    if not gone.height:
        return pages.section("duplicates", title, pages.paragraph("No example repeats another."), *parts)
    return pages.section("duplicates", title, _matrix(manifest, gone), _by_key(gone), _least_similar(gone), *parts)


def _matrix(manifest: Manifest, gone: pl.DataFrame) -> Markup:
    counts: dict[tuple[str, str], int] = {(a, b): n for a, b, n in gone.group_by("source", "kept").len().rows()}
    involved = {name for pair in counts for name in pair}
    names = [s.name for s in manifest.sources if s.name in involved]
    highest = max(counts.values())
    rows = []
    for name in names:
        cells = [counts.get((name, kept), 0) for kept in names]
        shown = [pages.heat(n / highest, number(n) if n else "·") for n in cells]
        rows.append([name, *shown, number(sum(cells))])
    note = (
        "Down: the source of the row that was dropped; across: the source of the row that it repeats and that stayed."
    )
    matrix = pages.table(["dropped \\ kept", *names, "all"], rows, "t" + "n" * (len(names) + 1))
    return pages.join([pages.paragraph(note), matrix])


def _by_key(gone: pl.DataFrame) -> Markup:
    found = gone.group_by("duplicate_key").agg(pl.len(), pl.col("similarity").mean())
    rows = [
        (key, number(n), number(mean, 3))
        for key, n, mean in found.sort("len", "duplicate_key", descending=[True, False]).rows()
    ]
    return Markup("<h3>By key</h3>{}").format(pages.table(["alike in", "rows", "mean similarity"], rows, "tnn"))


def _least_similar(gone: pl.DataFrame) -> Markup:
    """The near duplicates at the limit: where to look for false drops."""
    near = gone.filter(pl.col("reason") == NEAR).sort("similarity", "id").head(LEAST)
    if not near.height:
        return Markup("")
    columns = ("id", "source", "duplicate_of", "kept", "duplicate_key", "similarity")
    rows = [[*names, number(similarity, 3)] for *names, similarity in near.select(columns).rows()]
    head = ["dropped", "source", "repeats", "source", "alike in", "similarity"]
    note = Markup(
        '<p class="soft">The place to look for false drops: all others are more like the row that stayed.'
        " <code>curate explain ID</code> shows a row in full.</p>"
    )
    table = pages.table(head, rows, "itittn")
    return Markup("<h3>The least similar rows that were dropped</h3>{}{}").format(note, table)


def _search(record: FilterRecord) -> Markup:
    """What the search for near duplicates is expected to find, by similarity."""
    index, floor, near = record.settings.get("index"), record.settings.get("floor"), record.limits.get("near")
    if near is None or not record.limits.get("near_keys") or not isinstance(floor, int | float):
        return pages.paragraph("Near duplicates were not looked for: equal texts alone.")
    said = (
        f"A pair counts from a similarity of {near} on, as the exact Jaccard of both rows, whatever proposed the pair."
    )
    if index == "prefix":
        return pages.paragraph(f"{said} Every pair from {floor} on was proposed (prefix-filter join).")
    bands, rows = lsh_shape(float(floor))
    found = [lsh_recall(similarity, bands, rows) for similarity in CURVE]
    table = pages.table(
        ["similarity of two rows", "proposed", ""],
        [
            [f"{similarity:g}", f"{share:.4%}", pages.bar(share, f"{similarity:g}: {percent(share)}")]
            for similarity, share in zip(CURVE, found, strict=True)
        ],
        "tnw",
    )
    note = (
        f"{said} The search by locality-sensitive hashing ({bands} bands of {rows}) proposes a pair of similarity s"
        f" with probability 1 - (1 - s^{rows})^{bands}."
    )
    return Markup("<h3>What the search finds</h3>{}{}").format(pages.paragraph(note), table)
