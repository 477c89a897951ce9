"""The comparison as one HTML file that works offline: intervals, radar, bars by group, and a table of items.

The page holds no output's text, only the first characters of what was read from it. Its Content-Security-Policy lets
in the two style sheets and the one script, by their hashes, and nothing from elsewhere; the items are JSON, in which
"<" cannot stand, and the script writes them as text.
"""

import json
import math
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

from caravan import pages
from caravan.eval.comparing import charts, showing
from caravan.eval.comparing.charts import Whisker
from caravan.eval.comparing.compare import Bench, Comparison, Pair
from caravan.pages import text

HERE = Path(__file__).parent
AXES = 16  # of the radar; more cannot be read
ROOM = 8 * 2**20  # characters of item data above which answers are left out
CHOICES = (
    ("all", "all items"),
    ("differ", "the two differ"),
    ("better", "the second is better"),
    ("worse", "the second is worse"),
    ("none", "one has no value"),
)

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
<style>{own}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
""")
_TOOLS = Markup("""<noscript><p class="note">The table of items needs JavaScript; nothing is fetched.</p></noscript>
<div id="items" hidden>
<div class="tools">
<label>Benchmark <select id="bench"></select></label>
<label>First run <select id="base"></select></label>
<label>Second run <select id="arm"></select></label>
<label>Show <select id="show">{choices}</select></label>
<label>Item or group <input id="find" type="search" autocomplete="off"></label>
</div>
<div class="scroll"><table>
<thead><tr id="head"></tr></thead>
<tbody id="body"></tbody>
</table></div>
<div class="tools"><button id="back" type="button">Previous</button><button id="on" type="button">Next</button>
<span id="count" class="soft" role="status"></span></div>
</div>""")


def page(comparison: Comparison) -> str:
    """The whole page."""
    title = showing.title(comparison)
    style, script = (HERE / "page.css").read_text("utf-8"), (HERE / "page.js").read_text("utf-8")
    sheets = " ".join(f"'sha256-{_hash(sheet)}'" for sheet in (pages.STYLE, style))
    policy = f"default-src 'none'; style-src {sheets}; script-src 'sha256-{_hash(script)}'; base-uri 'none'; "
    return str(
        _PAGE.format(
            policy=f"{policy}form-action 'none'",
            title=text(title),
            style=Markup(pages.STYLE),
            own=Markup(style),
            body=_body(comparison, title),
            data=Markup(_embedded(comparison)),
            script=Markup(script),
        )
    )


def _hash(code: str) -> str:
    return b64encode(sha256(code.encode()).digest()).decode()


def _body(comparison: Comparison, title: str) -> Markup:
    headlines = [bench for bench in comparison.benches if bench.headline]
    parts = [
        ("shown", "What it shows", _shown(comparison)),
        ("scores", "Scores", _scores(comparison, headlines)),
        ("differences", f"Against {comparison.arms[0]}", _differences(headlines)),
        ("radar", "All benchmarks", _radar(comparison, headlines)),
        ("groups", "By group", _groups(comparison, headlines)),
        ("list", "Items", [_TOOLS.format(choices=_choices())]),
        ("more", "More", _more(comparison)),
    ]
    kept = [(anchor, words, content) for anchor, words, content in parts if content]
    links = [Markup('<a href="#{}">{}</a>').format(anchor, text(words)) for anchor, words, _ in kept]
    pairs = [pair for bench in headlines for pair in bench.pairs]
    shown = sum(_resolved(pair) for pair in pairs)
    figures = [
        (pages.number(len(comparison.arms)), "runs" if len(comparison.arms) > 1 else "run"),
        (pages.number(len(headlines)), "benchmarks" if len(headlines) > 1 else "benchmark"),
        (pages.number(len(pairs)), "comparisons with the baseline"),
        (pages.number(shown), "of them show a difference"),
    ]
    return pages.join(
        [
            Markup("<h1>{}</h1>").format(text(title)),
            Markup("<nav>{}</nav>").format(Markup(" ").join(links)),
            pages.figures(figures),
            *(pages.section(anchor, words, *content) for anchor, words, content in kept),
        ]
    )


def _shown(comparison: Comparison) -> list[Markup]:
    rows = [
        Markup('<li><b>{}</b> {}: {}. <span class="soft">{}</span></li>').format(
            text(bench.name), text(pair.arm), text(pair.verdict), text(showing.marked(pair).strip())
        )
        for bench in comparison.benches
        if bench.headline
        for pair in bench.pairs
    ]
    if not rows:
        return []
    return [
        Markup('<ul class="told">{}</ul>').format(Markup("").join(rows)),
        *(pages.paragraph(line) for line in showing.foot(comparison)[:2]),
    ]


def _scores(comparison: Comparison, benches: Sequence[Bench]) -> list[Markup]:
    content = [pages.paragraph("A point is the score, the band around it the 95% interval.")]
    for bench in benches:
        rows = []
        for score in bench.scores:
            shown = f"{showing.value(bench, score.estimate.value)} ({showing.interval(bench, score.estimate)})"
            without = ", ".join(f"{n:,} {status}" for status, n in sorted(score.without.items()))
            note = f"no value: {without}" if without else ""
            if score.unextractable:
                note = f"{note}; " * bool(note) + f"no answer was found in {score.unextractable:,}"
            label = f"{score.arm}, {score.seeds} seeds" if score.seeds > 1 else score.arm
            rows.append(Whisker(label, score.estimate, shown, _colour(comparison, score.arm), note))
        low, high = (0.0, 1.0) if bench.share else _range([row.estimate for row in rows])
        content += [_heading(bench), charts.forest(rows, low, high)]
    if benches and all(bench.share for bench in benches):
        content.append(charts.axis("0 %", "50 %", "100 %"))
    return content


def _differences(benches: Sequence[Bench]) -> list[Markup]:
    content = []
    for bench in benches:
        if bench.pairs:
            rows = [_difference(bench, pair) for pair in bench.pairs]
            widest = max(map(abs, _range([pair.difference.estimate for pair in bench.pairs])))
            if bench.share:
                widest = math.ceil(100 * widest) / 100
            ends = f"{100 * widest:.0f}" if bench.share else f"{widest:.3g}"
            content += [
                _heading(bench),
                charts.forest(rows, -widest, widest, 0.0),
                charts.axis(f"−{ends}", "0", f"+{ends}"),
            ]
    words = "Each run minus the baseline, in points where scores are shares; grey: no evidence of a difference."
    return [pages.paragraph(words), *content] if content else []


def _difference(bench: Bench, pair: Pair) -> Whisker:
    found = pair.difference
    shown = f"{showing.difference(bench, found.estimate)} ({showing.interval(bench, found.estimate, signed=True)})"
    better = (found.estimate.value > 0) != bench.lower_is_better
    colour = "unsure" if not _resolved(pair) else "good" if better else "bad"
    note = f"{pair.used:,} items, {found.a_only + found.b_only:,} differ; p {showing.probability(pair.p)}, adjusted"
    return Whisker(pair.arm, found.estimate, shown, colour, note)


def _resolved(pair: Pair) -> bool:
    one = pair.difference.estimate
    return pair.p <= 1 - one.level and (one.low > 0 or one.high < 0)


def _radar(comparison: Comparison, benches: Sequence[Bench]) -> list[Markup]:
    """Benchmarks on which every run has a share."""
    arms = len(comparison.arms)
    fit = [bench for bench in benches if bench.share and len(bench.scores) == arms]
    fit = [bench for bench in fit if not any(math.isnan(score.estimate.value) for score in bench.scores)]
    axes = fit[:AXES]
    if len(axes) < 3:
        return []
    names = [bench.name + (" (lower is better)" if bench.lower_is_better else "") for bench in axes]
    if len({bench.key[0] for bench in axes}) == len(axes) and not any(bench.lower_is_better for bench in axes):
        names = [bench.key[0] for bench in axes]
    shapes = [
        (arm, _colour(comparison, arm), [bench.scores[n].estimate.value for bench in axes])
        for n, arm in enumerate(comparison.arms)
    ]
    words = "A shape is no test: look at the intervals before you call one larger."
    left = f" The first {AXES} of {len(fit)} benchmarks." if len(fit) > AXES else ""
    return [pages.paragraph(words + left), charts.radar(names, shapes)]


def _groups(comparison: Comparison, benches: Sequence[Bench]) -> list[Markup]:
    content = []
    for bench in benches:
        names = list(dict.fromkeys(group for score in bench.scores for group in score.groups))
        if not names or any(one.value < 0 for score in bench.scores for one in score.groups.values()):
            continue
        highest = 1.0 if bench.share else max(one.high for s in bench.scores for one in s.groups.values() if one.n > 1)
        rows: list[list[object]] = []
        for name in names:
            own = [score.groups.get(name) for score in bench.scores]
            cells = [
                "–"
                if one is None
                else charts.group_bar(one, _colour(comparison, score.arm), showing.value(bench, one.value), highest)
                for one, score in zip(own, bench.scores, strict=True)
            ]
            rows.append([name, f"{max(one.n for one in own if one):,}", *cells])
        head = ["group", "items", *(score.arm for score in bench.scores)]
        table = Markup('<div class="groups">{}</div>').format(pages.table(head, rows, "tn" + "t" * len(bench.scores)))
        content.append(pages.fold(bench.name, f"{bench.key[2]}, {len(names)} groups", table))
    words = "A thin line is a group's 95% interval. Groups are shown, not tested: among many some differ by chance."
    return [pages.paragraph(words), *content] if content else []


def _more(comparison: Comparison) -> list[Markup]:
    content = []
    tables = [
        showing.scores_table(comparison, True),
        showing.pairs_table(comparison, True),
        showing.scores_table(comparison, False),
        showing.pairs_table(comparison, False),
        showing.others_table(comparison),
        showing.figures_table(comparison),
    ]
    for table in tables:
        if table.rows:
            middle = len(table.header) - table.words - table.tail
            kinds = "t" * table.words + "n" * middle + "t" * table.tail
            content.append(
                pages.fold(table.title, f"{len(table.rows):,}", pages.table(table.header, table.rows, kinds))
            )
    if settings := [
        (bench.name, score.arm, name, value)
        for bench in comparison.benches
        if bench.headline
        for score in bench.scores
        for name, value in score.about.items()
    ]:
        shown = pages.table(("benchmark", "run", "setting", "value"), settings, "ttti")
        content.append(pages.fold("How it was asked", f"{len(settings):,}", shown))
    lines = [*showing.published(comparison), *comparison.notes, *showing.foot(comparison)]
    items = Markup("").join(Markup("<li>{}</li>").format(text(line)) for line in lines)
    return [*content, Markup('<ul class="told soft">{}</ul>').format(items)] if lines else content


def _heading(bench: Bench) -> Markup:
    words = bench.key[2] + (", lower is better" if bench.lower_is_better else "")
    return Markup('<h3>{} <span class="soft">{}</span></h3>').format(text(bench.name), text(words))


def _choices() -> Markup:
    return Markup("").join(Markup('<option value="{}">{}</option>').format(*choice) for choice in CHOICES)


def _colour(comparison: Comparison, arm: str) -> str:
    return f"c{comparison.arms.index(arm) % pages.COLOURS}"


def _range(estimates: Sequence[Any]) -> tuple[float, float]:
    """From the lowest end of an interval to the highest, never nothing."""
    ends = [x for one in estimates for x in (one.low, one.value, one.high) if not math.isnan(x)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _embedded(comparison: Comparison) -> str:
    """The items as JSON, in which no tag can begin; without answers where they would make the page too large."""
    packed = json.dumps(_items(comparison, True), ensure_ascii=False, separators=(",", ":"))
    if len(packed) > ROOM:
        packed = json.dumps(_items(comparison, False), ensure_ascii=False, separators=(",", ":"))
    return packed.replace("<", "\\u003c")


def _items(comparison: Comparison, answers: bool) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    benches = [_bench(comparison, bench, statuses, answers) for bench in comparison.benches]
    return {"arms": comparison.arms, "benches": benches, "statuses": list(statuses)}


def _bench(comparison: Comparison, bench: Bench, statuses: dict[str, int], answers: bool) -> dict[str, Any]:
    """Ids in the order of the first run, then those that only others have; for each run a column of cells."""
    group_of: dict[str, str] = {}
    for own in bench.tables:
        for own_id, group in zip(own.frame["id"], own.frame["group"], strict=True):
            group_of.setdefault(own_id, group)
    groups = {name: n for n, name in enumerate(sorted(set(group_of.values())))}
    cells = []
    for own in bench.tables:
        columns = [own.frame[name].to_list() for name in ("id", "score", "status", "answer")]
        found = {row[0]: row[1:] for row in zip(*columns, strict=True)}
        rows = [found.get(own_id) for own_id in group_of]
        kept: dict[str, Any] = {
            "scores": [None if row is None or row[0] is None else _compact(row[0]) for row in rows],
            "statuses": [statuses.setdefault("not there" if row is None else row[1], len(statuses)) for row in rows],
        }
        if answers and any(row and row[2] for row in rows):
            kept["answers"] = ["" if row is None else row[2] for row in rows]
        cells.append(kept)
    return {
        "name": f"{bench.name} · {bench.key[2]}",
        "lower": bench.lower_is_better,
        "arms": [comparison.arms.index(own.arm) for own in bench.tables],
        "ids": list(group_of),
        "groups": list(groups),
        "group": [groups[group] for group in group_of.values()],
        "cells": cells,
    }


def _compact(score: float) -> float | int:
    return int(score) if score == int(score) else round(score, 6)
