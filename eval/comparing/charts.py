"""Figures of a comparison, as inline SVG whose colours are classes of the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from caravan import pages
from caravan.eval.statistics import Estimate
from caravan.pages import text

RADIUS, MIDDLE_X, MIDDLE_Y = 130.0, 230.0, 165.0
LABEL = 10


@dataclass(frozen=True, slots=True)
class Whisker:
    """A row of a forest plot: what it is, its point and interval, the value as text, and the class of its colour."""

    label: str
    estimate: Estimate
    shown: str
    colour: str
    note: str = ""


def forest(rows: Sequence[Whisker], low: float, high: float, mark: float | None = None) -> Markup:
    """Intervals one under another on one scale from `low` to `high`; `mark` is a line to compare with."""
    lines = [
        Markup("<li>{}{}<b>{}</b>{}</li>").format(
            pages.named(row.label, row.colour),
            _whisker(row, low, high, mark),
            text(row.shown),
            Markup('<span class="soft said">{}</span>').format(text(row.note)) if row.note else "",
        )
        for row in rows
    ]
    return Markup('<ul class="forest">{}</ul>').format(Markup("").join(lines))


def _whisker(row: Whisker, low: float, high: float, mark: float | None) -> Markup:
    def at(x: float) -> str:
        return f"{100 * min(max((x - low) / (high - low), 0.0), 1.0):.3f}%"

    one = row.estimate
    shown = Markup('<rect class="track" y="5" width="100%" height="10" rx="5"/>')
    if mark is not None:
        shown += Markup('<rect class="mark" x="{}" width="1" height="20"/>').format(at(mark))
    if not math.isnan(one.low):
        width = f"{100 * (min(one.high, high) - max(one.low, low)) / (high - low):.3f}%"
        shown += Markup('<rect class="{} between" x="{}" y="7" width="{}" height="6" rx="3"/>').format(
            row.colour, at(one.low), width
        )
    if not math.isnan(one.value):
        shown += Markup('<circle class="{}" cx="{}" cy="10" r="5"/>').format(row.colour, at(one.value))
    said = f"{row.label}: {row.shown}"
    return Markup('<svg height="20" role="img" aria-label="{0}"><title>{0}</title>{1}</svg>').format(text(said), shown)


def axis(low: str, middle: str, high: str) -> Markup:
    """What the two ends and the middle of a forest's scale are."""
    return Markup('<p class="scale soft"><span>{}</span><span>{}</span><span>{}</span></p>').format(
        text(low), text(middle), text(high)
    )


def radar(axes: Sequence[str], arms: Sequence[tuple[str, str, Sequence[float]]]) -> Markup:
    """Shares on three axes or more: for each arm its name, the class of its colour, and a value (0..1) an axis.

    Axes with long names are numbered, with a list below, so that the figure fits a phone.
    """
    labels = list(axes) if max(map(len, axes)) <= LABEL else [str(n) for n in range(1, len(axes) + 1)]
    turns = [2 * math.pi * n / len(axes) - math.pi / 2 for n in range(len(axes))]
    shown = Markup("")
    for ring in (0.25, 0.5, 0.75, 1.0):
        shown += Markup('<polygon class="ring" points="{}"/>').format(_points(turns, [ring] * len(axes)))
        shown += Markup('<text class="soft small" x="{}" y="{}">{}</text>').format(
            f"{MIDDLE_X + 3:.1f}", f"{MIDDLE_Y - RADIUS * ring + 10:.1f}", f"{ring:.0%}"
        )
    for turn, label, name in zip(turns, labels, axes, strict=True):
        x, y = MIDDLE_X + (RADIUS + 12) * math.cos(turn), MIDDLE_Y + (RADIUS + 12) * math.sin(turn)
        side = "middle" if abs(math.cos(turn)) < 0.2 else "start" if math.cos(turn) > 0 else "end"
        shown += Markup('<text x="{}" y="{}" text-anchor="{}">{}<title>{}</title></text>').format(
            f"{x:.1f}", f"{y + 4:.1f}", side, text(label), text(name)
        )
    for name, colour, values in arms:
        shown += Markup('<polygon class="{} area" points="{}"><title>{}</title></polygon>').format(
            colour, _points(turns, values), text(name)
        )
    said = "; ".join(
        f"{name}: " + ", ".join(f"{axis} {value:.1%}" for axis, value in zip(axes, values, strict=True))
        for name, _, values in arms
    )
    return Markup(
        '<figure><svg class="radar" viewBox="0 0 460 330" role="img" aria-label="{}">{}</svg>{}</figure>'
    ).format(text(said), shown, pages.legend((name, colour) for name, colour, _ in arms))


def group_bar(estimate: Estimate, colour: str, shown: str, highest: float) -> Markup:
    """A bar with its interval, as a share of `highest`, and the value beside it."""
    one = estimate
    drawn = Markup('<rect class="track" y="4" width="100%" height="10" rx="2"/>')
    drawn += Markup('<rect class="{}" y="4" width="{}" height="10" rx="2"/>').format(colour, _part(one.value / highest))
    if not math.isnan(one.low):
        low, high = max(one.low, 0.0) / highest, min(one.high / highest, 1.0)
        drawn += Markup('<rect class="mark" x="{}" y="8" width="{}" height="2"/>').format(_part(low), _part(high - low))
    return Markup('<div class="bar"><svg height="18" role="img" aria-label="{0}">{1}</svg><b>{0}</b></div>').format(
        text(shown), drawn
    )


def _points(turns: Sequence[float], values: Sequence[float]) -> str:
    return " ".join(
        f"{MIDDLE_X + RADIUS * value * math.cos(turn):.1f},{MIDDLE_Y + RADIUS * value * math.sin(turn):.1f}"
        for turn, value in zip(turns, values, strict=True)
    )


def _part(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.3f}%"
