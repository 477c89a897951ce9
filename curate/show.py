"""How the results of `curate` look on a terminal, and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from caravan.curate.build import MixResult
from caravan.curate.check import Check
from caravan.curate.convert import FileConverted
from caravan.curate.dedup import Deduplicated, beside
from caravan.curate.diff import Diff
from caravan.curate.explain import Explanation
from caravan.curate.guess import Guess
from caravan.curate.inspect import QUANTILES, Inspection
from caravan.curate.single import Described
from caravan.mixtures.manifest import Leaked, Manifest
from caravan.terminal import lines, out, print_json, printable, table

FILES = {
    "mix.parquet": "the mixture",
    "manifest.json": "what was read, measured, decided, mixed",
    "card.md": "data card (also as README.md, where the hub looks for it)",
    "report.html": "the report to look at",
    "dropped.parquet": "dropped rows, with reasons and evidence",
    "ledger.parquet": "what became of every row",
    "contamination.parquet": "benchmark items and the rows that hold them",
    "quarantine.jsonl": "what could not be read",
    "validation.parquet": "the validation split",
    "handover.md": "how to load it with TRL, axolotl and LLaMA-Factory",
}


MANY_FILES = 12
MANY_PARTS = 15  # of benchmarks, shown
LEAST_SIMILAR = 5  # pairs of duplicates shown
ACCOUNT = ("rows", "cited", "rejected", "quarantined")


def mixture(result: MixResult, as_json: bool) -> None:
    """The table of sources, what was dropped, what the benchmarks say, and where the files are."""
    record = result.manifest
    if as_json:
        tried = {} if result.alternatives is None else {"alternatives": result.alternatives.to_dicts()}
        print_json(record.model_dump(mode="json") | {"folder": str(result.folder) if result.folder else None} | tried)
        return
    table(
        "Sources",
        ["source", "raw rows", "refused", "examples", "dropped", "kept", "drawn", "in mix", "asked", "given", "tokens"],
        [_source_row(record, n) for n in range(len(record.sources))] + [_total_row(record)],
    )
    _dropped(record)
    if record.benchmarks:
        table(
            "Contamination before dropping",
            ["benchmark", "items", "too short", "items hit", "rows hit"],
            [[b.name, b.items, b.too_short, b.hit, b.rows_hit] for b in record.benchmarks],
        )
    for note in record.notes:
        out(f"note: {printable(note)}")
    if result.alternatives is not None:
        table(
            "What other limits would drop, each filter alone",
            ["limit", "value", "rows", ""],
            [
                [f"filters.{f}.{limit}", f"{value:,g}", dropped, "now" if now else ""]
                for f, limit, value, dropped, now in result.alternatives.iter_rows()
            ],
        )
    if result.folder is None:
        out(
            f"dry run: nothing was written; {record.given.examples:,} rows would be, content {record.content_hash[:12]}"
        )
        return
    tokens = f"{record.given.tokens:,} tokens, " if record.token_counter else ""
    out(f"{record.given.examples:,} rows, {tokens}content {record.content_hash[:12]}")
    for name, what in FILES.items():
        if (result.folder / name).exists():
            out(f"  {result.folder / name!s:<28} {what}")


def _source_row(record: Manifest, n: int) -> list[object]:
    source = record.sources[n]
    dropped = sum(source.dropped.values())
    return [
        source.name,
        sum(f.rows for f in source.files),
        sum(f.rejected + f.quarantined for f in source.files),
        source.examples,
        dropped,
        source.examples - dropped,
        source.drawn,
        source.given.examples,
        f"{source.share_requested:.1%}",
        f"{source.share_given:.1%}",
        source.given.tokens if record.token_counter else None,
    ]


def _total_row(record: Manifest) -> list[object]:
    rows = [_source_row(record, n) for n in range(len(record.sources))]
    sums = [sum(int(str(row[n])) for row in rows) for n in range(1, 8)]
    return ["all", *sums, "", "", record.given.tokens if record.token_counter else None]


def _dropped(record: Manifest) -> None:
    reasons = sorted({reason for source in record.sources for reason in source.dropped})
    if reasons:
        rows = [[s.name, *(s.dropped.get(reason, 0) for reason in reasons)] for s in record.sources if s.dropped]
        total = [sum(s.dropped.get(reason, 0) for s in record.sources) for reason in reasons]
        table("Dropped, by first reason", ["source", *reasons], [*rows, ["all", *total]])


def converted(result: Described, path: Path, as_json: bool) -> None:
    """What a conversion gave, file by file."""
    if as_json:
        print_json(
            {
                "out": str(path),
                result.what: result.frame.height,
                "files": _accounts(result.gathered.files, result.guesses, result.what),
            }
        )
        return
    _guesses(result)
    _file_table(result.gathered.files, result.what)
    out(f"{result.frame.height:,} {result.what} in {path}")


def measured(result: Described, path: Path, as_json: bool) -> None:
    """How many rows were measured, file by file."""
    rejected = result.frame["rejected"].drop_nulls().len()
    if as_json:
        print_json(
            {
                "out": str(path),
                "rows": result.frame.height,
                "rejected": rejected,
                "files": _accounts(result.gathered.files, result.guesses),
            }
        )
        return
    _guesses(result)
    _file_table(result.gathered.files)
    out(f"{result.frame.height:,} rows ({rejected:,} of them rejected) in {path}")


def _guesses(result: Described | Inspection) -> None:
    for file, guess in sorted(result.guesses.items()):
        others = f" (next: {', '.join(guess.others)})" if guess.others else ""
        out(f"{printable(file)}: read as {guess.converter}: {printable(guess.match.why)}{others}")


def _accounts(
    files: Sequence[FileConverted], guesses: dict[str, Guess], what: str = "examples"
) -> list[dict[str, Any]]:
    """Each file's account as JSON, with what was guessed and why."""
    return [
        {
            "file": made.task.input.name,
            "converter": made.task.converter,
            "guess": guesses[name].match._asdict() if (name := made.task.input.name) in guesses else None,
            **{count: getattr(made, count) for count in ACCOUNT},
            what: made.examples,
            "codes": made.codes,
            "text_changes": made.text_changes,
        }
        for made in files
    ]


def _file_table(files: Sequence[FileConverted], what: str = "examples") -> None:
    """The account of every file, or of every converter's files when there are many, and the codes of refusals."""
    many = len(files) > MANY_FILES
    groups: dict[tuple[str, str], list[FileConverted]] = {}
    for made in files:
        name = "all files" if many else made.task.input.name
        groups.setdefault((name, made.task.converter), []).append(made)
    rows = [
        [name, converter, *(sum(getattr(one, count) for one in some) for count in (*ACCOUNT, "examples"))]
        for (name, converter), some in sorted(groups.items())
    ]
    table(f"{len(files)} files" if many else "Files", ["file", "converter", *ACCOUNT, what], rows, text_columns=2)
    codes: Counter[str] = Counter()
    for made in files:
        codes.update(made.codes)
    if codes:
        table("Refused rows, or parts of rows", ["code", "number"], codes.most_common())


def deduplicated(result: Deduplicated, path: Path, as_json: bool) -> None:
    """Rows in, rows out, groups, and the least similar rows that were dropped: where to look for false drops."""
    reasons = dict(result.pairs.group_by("reason").len().sort("reason").iter_rows())
    least = result.least_similar(LEAST_SIMILAR)
    if as_json:
        counts = {"rows": result.rows, "kept": result.kept.height, "groups": result.groups.height, **reasons}
        accounts = {"files": _accounts(result.gathered.files, {})}
        files = {
            "out": path,
            "pairs": beside(path, "pairs"),
            "groups": beside(path, "groups"),
        }
        found = {"least_similar": least.to_dicts()}
        print_json(counts | accounts | found | {name: str(file) for name, file in files.items()})
        return
    _file_table(result.gathered.files)
    rows: list[list[object]] = [["examples", result.rows], *([reason, n] for reason, n in reasons.items())]
    table("Duplicates", ["", "rows"], [*rows, ["kept", result.kept.height], ["groups", result.groups.height]])
    if least.height:
        shown = least.select("dropped_row_id", "kept_row_id", "similarity").rows()
        table(
            "The least similar rows that were dropped: the place to look for false drops",
            ["dropped", "kept", "similarity"],
            [[gone, stays, f"{similarity:.3f}"] for gone, stays, similarity in shown],
            text_columns=2,
        )
    out(f"kept rows in {path}, pairs (least similar first) in {beside(path, 'pairs')}")


def checked(result: Check, folder: Path | None, as_json: bool) -> None:
    """The two-sided table: items hit over all items, rows hit over all rows; what is no leak apart."""
    if as_json:
        print_json(
            {
                "rows": result.rows,
                "files": _accounts(result.files, {}),
                "embedded_samples": result.embedded,
                "benchmarks": [
                    b.model_dump() | {"share": b.share, "low": b.interval[0], "high": b.interval[1]}
                    for b in result.records
                ],
                "groups": result.groups.to_dicts(),
                "worst": result.worst,
                "max_leaked": result.max_leaked,
                "leaked": result.leaked,
            }
        )
        return
    if result.embedded:
        out("no benchmarks given: compared with the small embedded samples only (give --benchmarks DIR)")
    if any(made.rejected or made.quarantined for made in result.files):
        _file_table(result.files)
    head = [
        "items",
        "too short",
        "items hit",
        "share [95%]",
        "rows hit",
        "of rows",
        "answered",
        "suspected",
        "variants",
    ]
    table(f"Contamination of {result.rows:,} rows", ["benchmark", *head], [_leaked(b, result) for b in result.records])
    parts = [(b.name, part) for b in result.records for part in b.groups if part.hit or part.suspected]
    if parts:
        parts = sorted(parts, key=lambda pair: (-pair[1].interval[0], -pair[1].suspected))[:MANY_PARTS]
        few = [n for n, name in enumerate(head, 1) if name not in ("too short", "of rows", "variants")]
        rows = [[name, part.name, *(_leaked(part, result)[n] for n in few)] for name, part in parts]
        named = ["benchmark", "part", *(head[n - 1] for n in few)]
        table("Subjects, tasks and languages, the most leaked first", named, rows, text_columns=2)
    out("answered: rows hit that hold the item's answer too; suspected (in other words) and variants (other numbers)")
    out("are items in rows, and no leaks: read them before you decide")
    if folder is not None:
        out(f"every row and item that match, with spans: {folder / 'contamination.parquet'}")
    verdict = "over" if result.leaked else "within"
    out(f"largest share of items hit: {result.worst:.2%}, {verdict} the limit of {result.max_leaked:.2%}")


def _leaked(of: Leaked, result: Check) -> list[object]:
    low, high = of.interval
    share = f"{of.share:.2%} [{100 * low:.2f}, {100 * high:.2f}]" if of.items else "–"
    suspected, variants = (
        f"{items:,} in {rows:,}" if items or rows else "0"
        for items, rows in ((of.suspected, of.rows_suspected), (of.variants, of.rows_variants))
    )
    of_rows = f"{of.rows_hit / result.rows:.2%}" if result.rows else "–"
    return [of.name, of.items, of.too_short, of.hit, share, of.rows_hit, of_rows, of.rows_answered, suspected, variants]


def inspected(result: Inspection, as_json: bool) -> None:
    """Counts and quantiles."""
    if as_json:
        print_json(
            {
                "files": _accounts(result.files, result.guesses),
                "examples": result.examples,
                "roles": result.roles,
                "turns": {str(number): count for number, count in result.turns.items()},
                "languages": result.languages,
                "quantiles": {
                    name: dict(zip(map(str, QUANTILES), values, strict=True))
                    for name, values in result.quantiles.items()
                },
            }
        )
        return
    _guesses(result)
    _file_table(result.files)
    if not result.examples:
        return
    table("Messages by role", ["role", "messages"], list(result.roles.items()))
    table("Languages", ["language", "examples"], list(result.languages.items())[:12])
    table(
        "Distributions",
        ["", *(f"{q:.0%}" for q in QUANTILES)],
        [
            [name, *(int(v) if "tokens" in name else round(v, 3) for v in values)]
            for name, values in result.quantiles.items()
        ],
    )


def explained(rows: list[Explanation], found: int, as_json: bool) -> None:
    """One row's way; texts are shown with control characters made visible."""
    if as_json:
        print_json({"found": found, "rows": [asdict(row) for row in rows]})
        return
    for one in rows:
        head = one.row
        out(printable(str(head.get("id") or head["row_id"])))
        out(printable(f"  from       {head['source']}: {head['file']}:{head['row']}, own id {head['row_id']}"))
        if len(head.get("rows", [])) > 1:
            out(f"  cites      {len(head['rows']):,} raw rows: {_some(head['rows'])}")
        out(f"  fate       {head['fate']}" + (f", {head['copies']} times" if head.get("copies", 0) > 1 else ""))
        if head.get("reason"):
            out(
                f"  reasons    {', '.join(head['reasons'])}"
                + (f" ({printable(head['detail'])})" if head.get("detail") else "")
            )
        if head.get("duplicate_of"):
            out(f"  repeats    {head['duplicate_of']} ({head['duplicate_key']}, similarity {head['similarity']:.3f})")
        if one.repeated_by:
            out(f"  repeated   by {len(one.repeated_by):,} rows: {_some(one.repeated_by)}")
        for leak in one.leaks:
            out(f"  {_benchmark_item(leak)}")
        for name, value in one.measures.items():
            out(f"  {name:<24} {value:.3f}" if isinstance(value, float) else f"  {name:<24} {printable(str(value))}")
        for message in one.messages or []:
            out(f"  [{message['role']}] {lines(_cut(message['content']))}")
        if not one.messages and not one.raw:
            out(printable(f"  text       is not kept with the mixture; it stands in {head['file']}:{head['row']}"))
        if one.raw:
            out(f"  raw        {lines(_cut(one.raw))}")
    if found > len(rows):
        out(f"and {found - len(rows):,} more from the same raw row")


def _benchmark_item(leak: dict[str, Any]) -> str:
    item = f"{leak['benchmark']} {leak['item']}: {leak['kind']}"
    if leak["kind"] == "rewritten":
        return f"suspected  {item}, similarity {leak['similarity']:.2f}"
    return f"{'variant of' if leak['kind'] == 'variant' else 'leaks     '} {item}, {leak['coverage_item']:.0%} of it"


def _some(values: list[Any]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def _cut(text: str, at: int = 2000) -> str:
    return text if len(text) <= at else text[:at] + f" ... ({len(text) - at:,} more characters)"


def compared(result: Diff, as_json: bool) -> None:
    """What moved between two mixtures."""
    if as_json:
        print_json(
            {
                "same_content": result.same_content,
                "settings": result.settings,
                "sources": result.counts.to_dicts(),
                "moved": result.moved.to_dicts(),
            }
        )
        return
    out("the same content" if result.same_content else "different content")
    for line in result.settings:
        out(f"  {printable(line)}")
    table("Rows", ["source", "in both", "only in A", "only in B"], result.counts.rows())
    why = result.moved.group_by("a", "b").len().sort("len", descending=True)
    if why.height:
        table("Why rows moved", ["in A", "in B", "rows"], why.rows(), text_columns=2)
        out(f"first of them: {_some(result.moved['id'].to_list())} (`curate explain ID --mix A`)")
