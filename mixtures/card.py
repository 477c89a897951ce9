"""The data card: a README with the Hugging Face dataset-card header, every number counted from the manifest.

Header keys as in https://github.com/huggingface/hub-docs/blob/main/datasetcard.md. Names and licences in it come from
recipes and files, so nothing in them may end a YAML string, a table cell or a line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from caravan.mixtures import handover
from caravan.mixtures.manifest import Manifest, SourceRecord

# Licences that the hub knows by an identifier; others go under `license: other`.
HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|isc|bsd-[23]-clause|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[1234]\.\d|odc-by|odbl|pddl|cdla-(sharing-1|"
    r"permissive-[12])\.0|(l|a)?gpl-[23]\.\d|mpl-2\.0|artistic-2\.0|unlicense"
)
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
         (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip
UNKNOWN = "not stated"
NON_COMMERCIAL = re.compile(r"(?<![a-z])(nc|non-?commercial)(?![a-z])", re.I)
SHARE_ALIKE = re.compile(r"(?<![a-z])(sa|share-?alike)(?![a-z])", re.I)
UNITS = {"examples": "examples", "tokens": "tokens", "supervised_tokens": "supervised tokens"}


def card(manifest: Manifest, languages: Mapping[str, int] | None = None) -> str:
    """The card's text. `languages` counts the mixture's rows by language; `und` and traces are left out."""
    parts = [
        _header(manifest, languages or {}),
        f"# {escaped(_title(manifest))}\n",
        _summary(manifest),
        _sources(manifest),
        licence_section(manifest),
        _dropped(manifest),
        _contamination(manifest),
        "## How to load it\n\n" + handover.snippets(manifest),
        _origin(manifest),
    ]
    return "\n".join(part for part in parts if part)


def _header(manifest: Manifest, languages: Mapping[str, int]) -> str:
    spoken = [n for n, rows in sorted(languages.items()) if n != "und" and rows * 100 >= sum(languages.values())]
    licences = sorted(set(_listed(manifest.sources)))
    single = licences[0].lower() if len(licences) == 1 else ""
    lines = ["---", f"pretty_name: {yaml_text(_title(manifest))}"]
    if spoken:
        lines += ["language:", *(f"- {yaml_text(name)}" for name in spoken)]
    if HUB_LICENCES.fullmatch(single):
        lines.append(f"license: {single}")
    else:
        details = "; ".join(f"{s.name}: {', '.join(s.licences) or UNKNOWN}" for s in manifest.sources)
        lines += ["license: other", "license_name: by-source", f"license_details: {yaml_text(details)}"]
    hubs = sorted({f.file.removeprefix("hub:") for s in manifest.sources for f in s.files if f.file[:4] == "hub:"})
    lines += ["source_datasets:", *(f"- {yaml_text(name)}" for name in hubs or ["extended"])]
    lines += ["task_categories:", "- text-generation"]
    lines += ["size_categories:", f"- {_size(manifest.given.examples)}"]
    lines += ["tags:", "- instruction-tuning", "- caravan"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split, file in handover.splits(manifest).items():
        lines += [f"  - split: {split}", f"    path: {file}"]
    return "\n".join([*lines, "---", ""])


def _summary(manifest: Manifest) -> str:
    given, unit = manifest.given, UNITS[manifest.unit]
    live = sum(s.given.examples > 0 for s in manifest.sources)
    counter = escaped(manifest.token_counter) or "not counted"
    text = (
        f"{given.examples:,} conversations from {live} source{'s' * (live != 1)}: {given.tokens:,} tokens,"
        f" {given.supervised_tokens:,} of them in the assistant's turns ({counter})."
        f" Requested were {manifest.requested:,} {unit}, shared out by the strategy"
        f" {escaped(str(manifest.strategy.get('name', '')))}."
    )
    if manifest.validation.examples:
        text += f" A validation split of {manifest.validation.examples:,} conversations was held back first."
    if manifest.embedded_samples:
        text += "\n\n**These are the embedded samples**, written to try the tool out: nothing to train on."
    notes = "".join(f"\n- {escaped(note)}" for note in manifest.notes)
    return text + "\n" + (notes + "\n" if notes else "")


def _sources(manifest: Manifest) -> str:
    rows = [
        [
            s.name,
            ", ".join(s.licences) or UNKNOWN,
            f"{s.given.examples:,}",
            f"{s.given.tokens:,}",
            f"{s.share_requested:.2%}",
            f"{s.share_given:.2%}",
            f"{s.drawn:,}",
            f"{s.max_copies:,}",
        ]
        for s in manifest.sources
    ]
    head = ["source", "licence", "rows", "tokens", "share requested", "share given", "distinct rows", "most copies"]
    unit = UNITS[manifest.unit]
    return f"## Sources\n\n{markdown_table(head, rows, left=2)}\nShares are shares of the mixture's {unit}.\n"


def licence_section(manifest: Manifest) -> str:
    """The chapter on licences: what holds for each source, and what that means for the whole."""
    live = [s for s in manifest.sources if s.given.examples or s.validation]
    lines = [f"Each row keeps the licence of its source: {escaped(', '.join(sorted(set(_listed(live)))))}."]
    closed = [s.name for s in live if any(map(NON_COMMERCIAL.search, s.licences))]
    if closed:
        lines.append(f"**Non-commercial use only** for the rows of {escaped(', '.join(closed))}, and so for the whole.")
    alike = [s.name for s in live if any(map(SHARE_ALIKE.search, s.licences))]
    if alike:
        lines.append(
            f"Share alike: what is made from the rows of {escaped(', '.join(alike))} must carry their licence."
        )
    unknown = [s.name for s in live if not s.licences]
    if unknown:
        lines.append(f"No licence is stated for {escaped(', '.join(unknown))}: ask the publisher before passing it on.")
    return "## Licences\n\n" + "\n\n".join(lines) + "\n"


def _dropped(manifest: Manifest) -> str:
    names = [s.name for s in manifest.sources]
    counts: dict[str, Counter[str]] = {}
    for s in manifest.sources:
        for reason, count in s.dropped.items():
            counts.setdefault(reason, Counter())[s.name] += count
        for file in s.files:
            for code, count in file.codes.items():
                counts.setdefault(f"not converted: {code}", Counter())[s.name] += count
            if file.quarantined:
                counts.setdefault("unreadable", Counter())[s.name] += file.quarantined
    if not counts:
        return "## What was dropped\n\nNothing.\n"
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    rows = [[reason, f"{by.total():,}", *(f"{by[name]:,}" for name in names)] for reason, by in ordered]
    return (
        f"## What was dropped\n\n{markdown_table(['reason', 'all', *names], rows, left=1)}\n"
        "Each example is counted under its first reason; parts of rows that could not be converted count as well.\n"
    )


def _contamination(manifest: Manifest) -> str:
    if not manifest.benchmarks:
        return "## Contamination\n\nNo benchmark was compared with.\n"
    whole = sum(s.examples for s in manifest.sources)
    rows = [
        [
            b.name + (" (embedded sample)" if b.embedded else ""),
            f"{b.items:,}",
            f"{b.too_short:,}",
            f"{b.hit:,}",
            f"{b.share:.2%} ({100 * b.interval[0]:.2f} to {100 * b.interval[1]:.2f})" if b.items else "–",
            f"{b.rows_hit:,}" + (f" ({b.rows_hit / whole:.2%})" if whole else ""),
            f"{b.rows_answered:,}",
            f"{b.suspected:,}",
            f"{b.variants:,}",
        ]
        for b in manifest.benchmarks
    ]
    head = ["benchmark", "items", "too short to check", "items hit", "share of items (95%)", "rows hit"]
    head += ["with the answer", "items suspected", "items with variants"]
    return (
        f"## Contamination\n\n{markdown_table(head, rows, left=1)}\n"
        "Counted over the rows before any was dropped; items too short to check stay in the denominator. Suspected"
        " items stand in some row in other words, variants with other numbers: neither is counted as hit.\n"
    )


def _origin(manifest: Manifest) -> str:
    rows = [
        [s.name, f.file, f"{f.converter} {f.converter_version}", f"{f.rows:,}", f"{f.examples:,}", f.sha256[:16]]
        for s in manifest.sources
        for f in s.files
    ]
    head = ["source", "file", "converter", "raw rows", "examples", "SHA-256 begins"]
    return (
        f"## Where it came from\n\n{markdown_table(head, rows, left=3)}\n"
        f"Built by caravan {escaped(manifest.caravan)} with seed {manifest.seed}; content hash"
        f" `{escaped(manifest.content_hash)}`. `manifest.json` holds the recipe, every filter's settings and limits,"
        " and all counts on this page.\n"
    )


def _title(manifest: Manifest) -> str:
    name = manifest.recipe.get("name")
    return name if isinstance(name, str) and name else "Instruction mixture"


def _listed(sources: Iterable[SourceRecord]) -> list[str]:
    return [one for s in sources for one in (s.licences or [UNKNOWN])] or [UNKNOWN]


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "n>1B")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A Markdown table; the first `left` columns are text, the others numbers, aligned right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    lines = [map(escaped, head), rule, *(map(escaped, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escaped(value: str) -> str:
    """Text as Markdown that shows it: one line, no markup, no HTML."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in value)
    return re.sub(r"([\\`*<>\[\]|&#!~$])", r"\\\1", shown)


def yaml_text(value: str) -> str:
    """A double-quoted YAML string that any parser reads back as `value`."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value) + '"'
