"""The report of a mixture: one HTML page that works offline, from what was written into the mixture folder alone.

It reads `manifest.json`, `ledger.parquet` and, where there is one, `contamination.parquet`, and holds no texts of
examples: rows are named by their ids.
"""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from markupsafe import Markup

from caravan import pages
from caravan.curate import report_duplicates, report_rows
from caravan.errors import UserError
from caravan.mixtures import manifest as manifests
from caravan.mixtures.card import UNITS
from caravan.mixtures.manifest import Manifest, SourceRecord
from caravan.pages import Part, number, percent

LEDGER, CONTAMINATION = "ledger.parquet", "contamination.parquet"
COLUMNS = (
    "id", "row_id", "source", "file", "row", "fate", "reason", "reasons", "detail", "duplicate_of", "duplicate_key",
    "similarity", "copies", "tokens", "supervised_tokens", "turns", "language", "language_score", "quality",
    "contamination_max",
)  # fmt: skip


def report(folder: Path) -> str:
    """The page for a mixture folder; `UserError` when a file of it is missing or is not Parquet."""
    manifest = manifests.read(folder)
    ledger = _read(folder / LEDGER)
    if ledger is None:
        raise UserError("no ledger", where=str(folder / LEDGER), fix="name a folder that `curate build-mix` wrote")
    leaks = _read(folder / CONTAMINATION)
    examples = ledger.filter(pl.col("id").is_not_null())
    title = _title(manifest)
    parts = [
        Markup("<h1>{}</h1>").format(pages.text(title)),
        _lead(manifest),
        _navigation(),
        _headline(manifest),
        _sources(manifest),
        _reasons(manifest, ledger),
        report_rows.lengths(manifest, examples),
        report_rows.languages(examples),
        report_duplicates.duplicates(manifest, examples),
        report_rows.contamination(manifest, leaks),
        report_rows.samples(ledger),
        _books(manifest),
        _settings(manifest),
        Markup("<footer>caravan {} · content {}</footer>").format(
            pages.text(manifest.caravan), pages.text(manifest.content_hash)
        ),
    ]
    return pages.page(f"{title} · mixture report", pages.join(parts))


def _read(path: Path) -> pl.DataFrame | None:
    """A Parquet file of the folder, of its columns those that the page needs; None when it is not there."""
    try:
        with path.open("rb") as file:
            names = pq.read_schema(file).names
            wanted = [n for n in names if n in COLUMNS] if path.name == LEDGER else names
            return pl.read_parquet(path, columns=wanted)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), fix="build the mixture again") from None


def _title(manifest: Manifest) -> str:
    name = manifest.recipe.get("name")
    return name if isinstance(name, str) and name else "Instruction mixture"


def _lead(manifest: Manifest) -> Markup:
    strategy = manifest.strategy.get("name", "")
    said = (
        f"{number(manifest.given.examples)} conversations drawn by the strategy {strategy}, seed {manifest.seed}."
        f" Requested: {number(manifest.requested)} {UNITS[manifest.unit]}."
    )
    notes = [pages.paragraph(note, "note") for note in manifest.notes]
    if manifest.embedded_samples:
        notes.insert(0, pages.paragraph("These are the embedded samples: nothing to train on.", "note"))
    return pages.join([pages.paragraph(said), *notes])


def _navigation() -> Markup:
    names = (
        "sources",
        "reasons",
        "lengths",
        "languages",
        "duplicates",
        "contamination",
        "dropped",
        "books",
        "settings",
    )
    links = [Markup('<a href="#{0}">{1}</a>').format(n, n.capitalize()) for n in names]
    return Markup("<nav>{}</nav>").format(pages.join(links))


def _headline(manifest: Manifest) -> Markup:
    raw = sum(f.rows for s in manifest.sources for f in s.files)
    examples = sum(s.examples for s in manifest.sources)
    kept = examples - sum(sum(s.dropped.values()) for s in manifest.sources)
    drawn = sum(s.drawn for s in manifest.sources)
    hit, items = sum(b.hit for b in manifest.benchmarks), sum(b.items for b in manifest.benchmarks)
    pairs = [
        (number(raw), "raw rows read"),
        (number(examples), "examples made of them"),
        (number(kept), f"kept ({percent(kept, examples)} of examples)"),
        (number(manifest.given.examples), f"rows in the mixture, {number(drawn)} of them distinct"),
        (number(manifest.given.tokens), f"tokens ({manifest.token_counter or 'not counted'})"),
        (number(manifest.given.supervised_tokens), "tokens in the assistant's turns"),
        (number(manifest.validation.examples), "rows held back for validation"),
        (number(hit) if manifest.benchmarks else "–", f"of {number(items)} benchmark items found in the data"),
    ]
    return pages.figures(pairs)


def _colours(manifest: Manifest) -> dict[str, str]:
    """The largest sources get a colour each, the rest share the last one."""
    ordered = sorted(manifest.sources, key=lambda s: (-max(s.examples, s.given.examples), s.name))
    return {s.name: f"c{min(at, pages.COLOURS - 1)}" for at, s in enumerate(ordered)}


def _sources(manifest: Manifest) -> Markup:
    colours = _colours(manifest)
    unit = UNITS[manifest.unit]

    records = sorted(manifest.sources, key=lambda s: (-s.given.examples, s.name))

    def named(s: SourceRecord) -> Markup:
        return pages.named(s.name, colours[s.name])

    def counted(s: SourceRecord) -> tuple[int, ...]:
        kept = s.examples - sum(s.dropped.values())
        return sum(f.rows for f in s.files), s.examples, kept, s.drawn, s.given.examples, s.given.tokens

    def shared(s: SourceRecord) -> list[object]:
        said = f"{s.name}: {percent(s.share_given)} given, {percent(s.share_requested)} requested"
        figure = pages.bar(s.share_given, said, colours[s.name], s.share_requested)
        given = number(getattr(s.given, manifest.unit))
        shares = (percent(s.share_requested), percent(s.share_given))
        copies = f"{s.max_copies}×" if s.max_copies else "–"
        return [named(s), number(s.requested), given, *shares, figure, copies, number(s.quality, 2)]

    before = [Part(s.name, s.examples, colours[s.name]) for s in records]
    after = [Part(s.name, s.given.examples, colours[s.name]) for s in records]
    counts = [counted(s) for s in records]
    rows = [[named(s), *map(number, c), _licences(s.licences)] for s, c in zip(records, counts, strict=True)]
    head = ["source", "raw rows", "examples", "kept", "distinct rows drawn", "rows in mixture", "tokens in mixture",
            "licence"]  # fmt: skip
    total = ["all", *(number(sum(column)) for column in zip(*counts, strict=True)), ""]
    heads = ["source", f"{unit} requested", "given", "share requested", "share given", "given; line: requested",
             "most copies", "mean quality"]  # fmt: skip
    return pages.section(
        "sources",
        "Sources, before and after",
        Markup("<figure><figcaption>Before: examples by source</figcaption>{}</figure>").format(
            pages.stack(before, 22)
        ),
        Markup("<figure><figcaption>After: rows of the mixture by source</figcaption>{}{}</figure>").format(
            pages.stack(after, 22), pages.legend((s.name, colours[s.name]) for s in records)
        ),
        pages.table(head, rows, "tnnnnnnt", total if records else ()),
        Markup("<h3>Requested and given</h3>"),
        pages.table(heads, map(shared, records), "tnnnnwnn"),
    )


def _licences(licences: list[str]) -> str:
    """The licence, or how many: the card lists them all."""
    if len(licences) > 2:
        return f"{len(licences)} licences, listed in card.md"
    return ", ".join(licences) or "not stated"


def _reasons(manifest: Manifest, ledger: pl.DataFrame) -> Markup:
    files = [f for s in manifest.sources for f in s.files]
    refused = ledger.filter(pl.col("fate") == "rejected")
    codes = refused.group_by("reason").len().sort("len", "reason", descending=[True, False]).rows()
    rejected, quarantined = sum(f.rejected for f in files), sum(f.quarantined for f in files)
    dropped: dict[str, int] = {}
    for s in manifest.sources:
        for reason, count in s.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    fates = [
        Part("drawn", sum(s.drawn for s in manifest.sources), "good"),
        Part("validation split", sum(s.validation for s in manifest.sources), "c4"),
        Part("kept, not drawn", sum(s.not_drawn for s in manifest.sources), "idle"),
        *(Part(reason, n, "bad") for reason, n in sorted(dropped.items(), key=lambda r: (-r[1], r[0]))),
    ]
    rows = [
        Part("became examples", sum(f.cited for f in files), "good"),
        Part("not converted", rejected, "bad"),
        Part("unreadable", quarantined, "c1"),
    ]
    table = pages.table(["not converted, because", "refusals"], [(c, number(n)) for c, n in codes], "tn")
    left = [pages.flow("Raw rows", rows)]
    if codes:
        left.append(table)
    return pages.section(
        "reasons",
        "What became of every row",
        pages.paragraph(
            "A raw row may make no example, one, or many; each example has one fate, here its first reason."
        ),
        Markup('<div class="pair"><div>{}</div><div>{}</div></div>').format(
            pages.join(left), pages.flow("Examples", fates)
        ),
    )


def _books(manifest: Manifest) -> Markup:
    def mark(balanced: bool) -> str:
        return "balanced" if balanced else "NOT BALANCED"

    raw, made = [], []
    for s in manifest.sources:
        rows, cited, rejected, unread = (
            sum(getattr(f, part) for f in s.files) for part in ("rows", "cited", "rejected", "quarantined")
        )
        raw.append([s.name, *map(number, (rows, cited, rejected, unread)), mark(rows == cited + rejected + unread)])
        dropped = sum(s.dropped.values())
        parts = (s.examples, s.drawn, s.validation, s.not_drawn, dropped)
        made.append([s.name, *map(number, parts), mark(s.examples == sum(parts[1:]))])
    mended: dict[str, int] = {}
    for s in manifest.sources:
        for f in s.files:
            for what, count in (f.text_changes | f.notes).items():
                mended[what] = mended.get(what, 0) + count
    parts_ = [
        Markup("<h3>Raw rows = cited by an example + not converted + unreadable</h3>"),
        pages.table(["source", "raw rows", "cited", "not converted", "unreadable", ""], raw, "tnnnnt"),
        Markup("<h3>Examples = drawn + validation + not drawn + dropped</h3>"),
        pages.table(["source", "examples", "drawn", "validation", "not drawn", "dropped", ""], made, "tnnnnnt"),
    ]
    if mended:
        lines = [(what, number(count)) for what, count in sorted(mended.items())]
        parts_ += [Markup("<h3>Counted on the way in</h3>"), pages.table(["what", "count"], lines, "tn")]
    return pages.section("books", "The books", *parts_)


def _settings(manifest: Manifest) -> Markup:
    def plain(values: dict[str, object]) -> str:
        return ", ".join(f"{k} = {v}" for k, v in sorted(values.items())) or "–"

    rows = [
        [
            f"{f.name} {f.version}", plain(dict(f.limits)), plain(dict(f.settings)),
            "; ".join(f"{name}: {plain(dict(limits))}" for name, limits in sorted(f.overrides.items())) or "–",
        ]
        for f in manifest.filters
    ]  # fmt: skip
    files = [
        [f.file, s.name, f"{f.converter} {f.converter_version}", number(f.rows), number(f.examples), f.sha256[:12]]
        for s in manifest.sources
        for f in s.files
    ]
    listed = pages.table(["file", "source", "converter", "raw rows", "examples", "SHA-256"], files, "ittnni")
    return pages.section(
        "settings",
        "Settings and files",
        pages.table(["filter", "limits", "settings", "limits of single sources"], rows, "tttt"),
        pages.fold("Files read", number(len(files)), listed),
    )
