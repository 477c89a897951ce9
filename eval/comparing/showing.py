"""The comparison for people and programs: tables in the terminal, Markdown, and one JSON object."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from caravan import terminal
from caravan.eval.comparing.compare import Bench, Comparison, Pair, Score
from caravan.eval.scores import flat
from caravan.eval.statistics import Estimate, seeds

ITEMS_ONLY = "One training seed a run: its intervals and tests cover the items, not another training."


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its title and cells; the first `words` columns and the last `tail` ones are text."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1
    tail: int = 0


def print_comparison(comparison: Comparison) -> None:
    """Print the comparison on standard output."""
    for table in (scores_table(comparison, True), pairs_table(comparison, True)):
        if table.rows:
            terminal.table(table.title, table.header, table.rows, text_columns=table.words)
    for line in verdicts(comparison):
        terminal.out(terminal.printable(line))
    for table in (scores_table(comparison, False), pairs_table(comparison, False)):
        if table.rows:
            terminal.table(table.title, table.header, table.rows, text_columns=table.words)
    for line in [*published(comparison), *comparison.notes, *foot(comparison)]:
        terminal.out(terminal.printable(line))


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    parts = [f"# {_cell(title(comparison))}"]
    tables = [
        *(make(comparison, headline) for headline in (True, False) for make in (scores_table, pairs_table)),
        others_table(comparison),
        figures_table(comparison),
    ]
    said = [f"- {_cell(line)}" for line in verdicts(comparison)]
    for n, table in enumerate(table for table in tables if table.rows):
        width, right = len(table.header), len(table.header) - table.tail
        rule = "|" + "|".join("---:" if table.words <= column < right else "---" for column in range(width)) + "|"
        rows = ["| " + " | ".join(map(_cell, row)) + " |" for row in (table.header, *table.rows)]
        parts += [f"## {_cell(table.title)}", "\n".join([rows[0], rule, *rows[1:]])]
        if n == 0 and said:
            parts += ["## What it shows", "\n".join(said)]
    notes = [f"- {_cell(line)}" for line in (*published(comparison), *comparison.notes, *foot(comparison))]
    return "\n\n".join([*parts, *(["## Notes", "\n".join(notes)] if notes else [])]) + "\n"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as a value of JSON; shares are 0..1, what is not known is null."""
    return {
        "arms": comparison.arms,
        "baseline": comparison.arms[0],
        "benchmarks": [_bench(bench) for bench in comparison.benches],
        "figures": [{"arm": arm, **asdict(figure)} for arm, figure in comparison.figures],
        "notes": comparison.notes,
        "tests_adjusted_together": comparison.family,
    }


def title(comparison: Comparison) -> str:
    """What the comparison is called."""
    first, *others = comparison.arms
    if not others:
        return first
    return f"{others[0] if len(others) == 1 else f'{len(others)} runs'} against {first}"


def scores_table(comparison: Comparison, headline: bool) -> Table:
    """Each arm's score on each benchmark."""
    header = ("benchmark", "metric", "run", "items", "score", "95% interval", "no value", "no answer found")
    rows = [
        (
            *(bench.name, bench.key[2], _named(score)),
            *(f"{score.estimate.n:,}", value(bench, score.estimate.value), interval(bench, score.estimate)),
            *(f"{sum(score.without.values()):,}", f"{score.unextractable:,}"),
        )
        for bench in _of(comparison, headline)
        for score in bench.scores
    ]
    return Table("Scores" if headline else "Scores by further metrics", header, rows, 3)


def pairs_table(comparison: Comparison, headline: bool) -> Table:
    """Each arm against the baseline."""
    rows = [row for bench in _of(comparison, headline) for row in _pair_rows(bench, bench.pairs, False)]
    header = ("benchmark", "run", "items", "difference", "95% interval", "better", "worse", "p", "adjusted p")
    words = "" if headline else " by further metrics"
    return Table(f"Against {comparison.arms[0]}{words}, item by item", header, rows, 2)


def others_table(comparison: Comparison) -> Table:
    """Pairs without the baseline."""
    rows = [row for bench in _of(comparison, True) for row in _pair_rows(bench, bench.others, True)]
    header = ("benchmark", "runs", "items", "difference", "95% interval", "better", "worse", "p", "adjusted p", "")
    return Table("Other pairs", header, rows, 2, 1)


def figures_table(comparison: Comparison) -> Table:
    """What logs publish, against what their items give."""
    rows = [
        (arm, figure.what, _figure(figure.published), _figure(figure.recomputed), figure.verdict, figure.why)
        for arm, figure in comparison.figures
    ]
    return Table("Published figures", ("run", "figure", "published", "from its items", "", "why"), rows, 2, 2)


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each headline and arm, with what else than the model differs."""
    return [
        f"{bench.name}, {pair.arm} against {pair.base}: {pair.verdict}.{marked(pair)}"
        for bench in _of(comparison, True)
        for pair in bench.pairs
    ]


def published(comparison: Comparison) -> list[str]:
    """How many published figures were found again, and why the others were not."""
    counted = Counter(figure.verdict for _, figure in comparison.figures)
    lines = []
    if counted:
        words = {"equal": "equal what the items give", "differs": "differ from it", "refused": "cannot be checked"}
        said = [f"{n:,} {words[verdict]}" for verdict, n in sorted(counted.items())]
        lines.append(f"Published figures: {', '.join(said)}.")
    for arm, figure in comparison.figures:
        if figure.verdict == "differs":
            found = f"{_figure(figure.published)} is published, the items give {_figure(figure.recomputed)}"
            lines.append(f"{arm}: {figure.what}: {found}")
    reasons = Counter((arm, figure.why) for arm, figure in comparison.figures if figure.verdict == "refused")
    lines += [f"{arm}: not checked ({n:,}): {why}" for (arm, why), n in reasons.items()]
    return lines


def foot(comparison: Comparison) -> list[str]:
    """How the figures were made."""
    pairs = [pair for bench in comparison.benches for pair in bench.pairs]
    lines = []
    if pairs:
        lines.append(
            f"Differences are of the items that both runs have a value for; p-values of {comparison.family:,} "
            f"comparisons are adjusted together (Holm)."
        )
        if any(score.seeds == 1 for bench in comparison.benches for score in bench.scores):
            lines.append(ITEMS_ONLY)
    estimates = [score.estimate for bench in comparison.benches for score in bench.scores]
    estimates += [pair.difference.estimate for pair in pairs]
    methods = dict.fromkeys(estimate.method.removesuffix(f"; {seeds.ITEMS_ONLY}") for estimate in estimates)
    lines += [f"Intervals: {method}." for method in methods]
    return lines


def value(bench: Bench, number: float) -> str:
    """A score: a share in per cent, or as it is."""
    return "–" if math.isnan(number) else f"{_number(bench, number)} %" if bench.share else _number(bench, number)


def interval(bench: Bench, estimate: Estimate, signed: bool = False) -> str:
    """The two ends of an interval."""
    if math.isnan(estimate.low):
        return "–"
    return " to ".join(_number(bench, x, "+" if signed else "") for x in (estimate.low, estimate.high))


def difference(bench: Bench, estimate: Estimate) -> str:
    """A difference: of shares in points."""
    return "–" if math.isnan(estimate.value) else _number(bench, estimate.value, "+")


def _number(bench: Bench, number: float, sign: str = "") -> str:
    if bench.share:
        return f"{100 * number:{sign}.1f}"
    return f"{number:{sign}.3f}" if abs(number) < 1e6 else f"{number:{sign}.3g}"


def probability(p: float) -> str:
    """A p-value."""
    return "–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _of(comparison: Comparison, headline: bool) -> Iterator[Bench]:
    return (bench for bench in comparison.benches if bench.headline == headline)


def _pair_rows(bench: Bench, pairs: Sequence[Pair], both: bool) -> Iterator[tuple[str, ...]]:
    for pair in pairs:
        found = pair.difference
        ups, downs = (found.b_only, found.a_only) if bench.lower_is_better else (found.a_only, found.b_only)
        cells = (
            *(bench.name, f"{pair.arm} against {pair.base}" if both else pair.arm, f"{pair.used:,}"),
            *(difference(bench, found.estimate), interval(bench, found.estimate, signed=True)),
            *(f"{ups:,}", f"{downs:,}", probability(found.p), probability(pair.p)),
        )
        yield (*cells, pair.verdict) if both else cells


def marked(pair: Pair) -> str:
    """What else than the model differs, and the items that do not count."""
    counts = [
        (f"items only in {pair.base}", pair.base_only),
        (f"items only in {pair.arm}", pair.arm_only),
        ("shared items without a value in one of them", pair.shared - pair.used),
    ]
    said = "; ".join([*pair.marks, *(f"{words}: {n:,}" for words, n in counts if n)])
    if pair.marks:
        return f" But: {said}."
    return f" {said[0].upper()}{said[1:]}." if said else ""


def _named(score: Score) -> str:
    return score.arm if score.seeds == 1 else f"{score.arm} ({score.seeds} seeds)"


def _figure(number: float | None) -> str:
    return "–" if number is None else f"{number:.6g}"


def _bench(bench: Bench) -> dict[str, Any]:
    benchmark, variant, metric = bench.key
    return {
        "benchmark": benchmark,
        "variant": variant,
        "metric": metric,
        "headline": bench.headline,
        "lower_is_better": bench.lower_is_better,
        "scores": [_score(score) for score in bench.scores],
        "pairs": [_pair(pair) for pair in (*bench.pairs, *bench.others)],
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "arm": score.arm,
        "seeds": score.seeds,
        "items": score.items,
        **flat(score.estimate),
        "without_value": dict(score.without),
        "unextractable": score.unextractable,
        "groups": {name: flat(one) for name, one in score.groups.items()},
        "about": dict(score.about),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    found = flat(pair.difference.estimate)
    found["difference"] = found.pop("score")
    return {
        "base": pair.base,
        "arm": pair.arm,
        **found,
        "arm_higher": pair.difference.a_only,
        "base_higher": pair.difference.b_only,
        "p": None if math.isnan(pair.difference.p) else pair.difference.p,
        "adjusted_p": None if math.isnan(pair.p) else pair.p,
        "needed": pair.difference.needed,
        "verdict": pair.verdict,
        "marks": pair.marks,
        "shared": pair.shared,
        "used": pair.used,
        "base_only": pair.base_only,
        "arm_only": pair.arm_only,
    }


def _cell(text: str) -> str:
    """Text that stays text in Markdown: no link, no tag, no table of its own."""
    whole = "".join(c if c.isprintable() else " " for c in text)
    return "".join(f"\\{c}" if c in "\\|<>[]`*_#" else c for c in whole)
