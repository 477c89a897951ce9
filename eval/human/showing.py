"""The report for people: tables in the terminal, Markdown, and one offline page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from caravan import pages, terminal
from caravan.eval.human.report import WIDTH, Report
from caravan.pages import Part

NO_GROUP = "no group"
REASONS = {"invalid": "no proper question", "hard": "too hard"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its title, what a reader must know, and its cells; the first `words` columns are text."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


def print_report(report: Report) -> None:
    """Print the tables on standard output."""
    for line in _lead(report.told):
        terminal.out(terminal.printable(line))
    for table in tables(report):
        terminal.table(table.title, table.header, table.rows, text_columns=table.words)
        if table.note:
            terminal.out(terminal.printable(table.note))


def markdown(report: Report) -> str:
    """The report as Markdown."""
    parts = ["# What people said", *map(_cell, _lead(report.told))]
    for table in tables(report):
        head = f"| {' | '.join(_cell(cell) for cell in table.header)} |"
        rule = "|" + "|".join("---" if n < table.words else "---:" for n in range(len(table.header))) + "|"
        rows = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]
        parts += [f"## {_cell(table.title)}", "\n".join([head, rule, *rows])] + ([table.note] if table.note else [])
    return "\n\n".join(parts) + "\n"


def page(report: Report) -> str:
    """The report as one page that works offline."""
    told = report.told
    title = "What people said"
    head = [("votes", "votes that count"), ("people", "people"), ("items", "pairs judged")]
    numbers = [(pages.number(told[name]), words) for name, words in head]
    numbers.append((_share(told["position"]), "of decided votes go to the left side"))
    parts = [
        Markup("<h1>{}</h1>").format(title),
        *(pages.paragraph(line) for line in _lead(told)),
        pages.figures(numbers),
        *(_bars(number, one) for number, one in enumerate(told["models"])),
    ]
    for number, table in enumerate(tables(report)):
        kinds = "t" * table.words + "n" * (len(table.header) - table.words)
        notes = [pages.paragraph(table.note)] if table.note else []
        parts.append(pages.section(f"t{number}", table.title, pages.table(table.header, table.rows, kinds), *notes))
    return pages.page(title, pages.join(parts))


def tables(report: Report) -> list[Table]:
    """All tables of the report, in the order in which they are read."""
    told = report.told
    found = [
        Table(
            "Preference",
            "One vote a pair. Intervals are of 95%. Win rate: a tie is half a win for either.",
            ("A", "B", "pairs", "A wins", "tie", "B wins", "win rate of A"),
            [_preference(one) for one in told["models"]],
            2,
        ),
        Table(
            "Acceptable answers",
            "Answers that do what was asked without an important mistake, on the same pairs.",
            ("A", "B", "A acceptable", "B acceptable", "A minus B"),
            [_acceptable(one) for one in told["models"]],
            2,
        ),
        _agreement(told),
    ]
    if told["groups"]:
        found.append(_groups(told["groups"]))
    if any(one["judge"] for one in told["models"]):
        found.append(_judge(told["models"]))
    found += [_position(told), _persons(told["persons"])]
    return found


def _lead(told: dict[str, Any]) -> list[str]:
    counts = f"{told['votes']:,} votes of {told['people']:,} people on {told['items']:,} pairs"
    replaced = f"; {told['replaced']:,} earlier votes were replaced by their own authors" if told["replaced"] else ""
    lines = [f"{counts}, from {Path(told['source']).name}{replaced}.", f"Rule: {told['rule']}."]
    if told["not_judged"]:
        why = ", ".join(f"{REASONS.get(name, name)} {n:,}" for name, n in told["not_judged"].items())
        lines.append(f"Not judged, and in no rate: {why}.")
    return lines + [f"{note}." for note in told["notes"]]


def _preference(one: dict[str, Any]) -> tuple[str, ...]:
    shares = (one["a_wins"], one["ties"], one["b_wins"], one["a_win_rate"])
    return (one["a"], one["b"], f"{one['n']:,}", *map(_interval, shares))


def _acceptable(one: dict[str, Any]) -> tuple[str, ...]:
    difference = one.get("acceptable_difference")
    return (one["a"], one["b"], _interval(one["a_acceptable"]), _interval(one["b_acceptable"]), _interval(difference))


def _agreement(told: dict[str, Any]) -> Table:
    rows = [(f"{one['a']} / {one['b']}", one["agreement"]) for one in told["models"]]
    if len(rows) > 1:
        rows.append(("all", told["agreement"]))
    rows += [(f"within {one['group'] or NO_GROUP}", one["agreement"]) for one in told["groups"]]
    rows += [(" and ".join(name or NO_GROUP for name in one["groups"]), one["agreement"]) for one in told["between"]]
    needed = told["agreement"]["needed"]
    plan = f" For alpha to within {WIDTH}, about {needed:,} pairs must be judged twice." if needed else ""
    return Table(
        "Agreement between people",
        "Same: both name one model, or both a tie; relaxed: a tie against a winner is half. Alpha: 0 is what chance "
        f"gives, 1 is full agreement; it is low where nearly all say the same, however often they agree.{plan}",
        (
            "pairs of",
            "judged twice",
            "same",
            "relaxed",
            "kappa",
            "alpha",
            "alpha, five steps",
            "acceptable: same",
            "its alpha",
        ),
        [(name, *_agreed(agreed)) for name, agreed in rows],
    )


def _agreed(agreed: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{agreed['n']:,}",
        _interval(agreed["raw"]),
        _share(agreed["relaxed"]),
        _coefficient(agreed["kappa"]),
        _coefficients(agreed["alpha"]),
        _coefficients(agreed["alpha_five"]),
        _share(agreed["acceptable_raw"]),
        _coefficients(agreed["acceptable_alpha"]),
    )


def _groups(groups: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for group in groups:
        for one in group["models"]:
            shares = map(_interval, (one["a_win_rate"], one["a_acceptable"], one["b_acceptable"]))
            rows.append((group["group"] or NO_GROUP, f"{one['a']} / {one['b']}", f"{one['n']:,}", *shares))
    note = "Each group's own first vote on a pair."
    header = ("group", "A / B", "pairs", "win rate of A", "A acceptable", "B acceptable")
    return Table("By group of people", note, header, rows, 2)


def _judge(models: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for one in models:
        if found := one["judge"]:
            shares = map(_interval, (found["raw"], found["a_win_rate"], found["people_a_win_rate"]))
            same, rate, people = shares
            orders = ", ".join(f"{order} {_share(one)}" for order, one in found["by_order"].items()) or "–"
            rows.append(
                (
                    *(f"{one['a']} / {one['b']}", f"{found['n']:,}", f"{found['not_understood']:,}", same, orders),
                    *(_share(found["relaxed"]), _coefficient(found["cohen"]), _share(one["agreement"]["raw"])),
                    *(_share(found["flips"]), rate, people, _interval(found.get("difference"))),
                )
            )
    header = (
        *(
            "A / B",
            "pairs",
            "not understood",
            "same as people",
            "in each order",
            "relaxed",
            "kappa",
            "people among themselves",
        ),
        *("flips with the order", "win rate of A: judge", "people", "judge minus people"),
    )
    return Table("A judge against people", "People: the first vote on a pair.", header, rows)


def _position(told: dict[str, Any]) -> Table:
    rows = [("all", told["position"])] + [(one["group"] or NO_GROUP, one["position"]) for one in told["groups"]]
    cells = [(name, f"{one['n'] if one else 0:,}", _interval(one)) for name, one in rows]
    if told["repeats"]:
        again = told["repeats"]
        cells.append(("shown twice: same winner", f"{again['n']:,}", _interval(again)))
        cells.append(("shown twice: same side", f"{again['n']:,}", _percent(again["same_side"])))
    note = "Decided votes that the left side won: without a position effect half of them."
    return Table("Position", note, ("who", "votes", "share"), cells)


def _persons(persons: Sequence[dict[str, Any]]) -> Table:
    rows = [
        (
            *(one["person"], one["group"], f"{one['votes']:,}", f"{one['not_judged']:,}", _percent(one["ties"])),
            *(_percent(one["left"]), _percent(one["acceptable"]), f"{one['shared']:,}", _percent(one["agrees"])),
            pages.number(one["seconds"], 0),
        )
        for one in persons
    ]
    header = (
        *("person", "group", "votes", "not judged", "ties", "left wins", "acceptable", "votes beside others'"),
        *("same winner", "seconds a pair"),
    )
    return Table("Each person", "Seconds: the median of the time that a pair was looked at.", header, rows, 2)


def _bars(number: int, one: dict[str, Any]) -> Markup:
    counts = {name: round(one[name]["value"] * one["n"]) for name in ("a_wins", "ties", "b_wins")}
    names = {"a_wins": (f"{one['a']} wins", "c0"), "ties": ("tie", "idle"), "b_wins": (f"{one['b']} wins", "c3")}
    parts = [Part(names[name][0], counts[name], names[name][1]) for name in counts]
    legend = [(f"{part.label} {pages.percent(part.value, one['n'])}", part.colour) for part in parts]
    clearly = one["clearly"]
    words = f"clearly better: {one['a']} {clearly['a']:,} times, {one['b']} {clearly['b']:,} times"
    title = f"{one['a']} against {one['b']}"
    content = [pages.stack(parts, 22), pages.legend(legend), pages.paragraph(f"{one['n']:,} pairs; {words}.")]
    return pages.section(f"m{number}", title, *content)


def _cell(text: str) -> str:
    """A cell of a Markdown table: on one line, and nothing in it is markup."""
    plain = terminal.printable(text)
    return "".join(f"\\{c}" if c in "\\|*_`[]<>#~" else c for c in plain)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _share(found: dict[str, Any] | None) -> str:
    return "–" if found is None else _percent(found["value"])


def _interval(found: dict[str, Any] | None) -> str:
    """A share with its interval, in per cent."""
    if found is None:
        return "–"
    if found["low"] is None or found["high"] is None:
        return _share(found)
    return f"{100 * found['value']:.1f}% [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _coefficient(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _coefficients(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    if found["low"] is None or found["high"] is None:
        return _coefficient(found["value"])
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
