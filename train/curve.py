"""The loss curve of a run as one SVG file, from metrics.jsonl alone: for a look, a README, a paper's appendix.

Colours are those of the report (`pages`), written out for light and dark, so that any viewer can draw the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from markupsafe import Markup

from caravan import pages
from caravan.train.metrics import METRICS, read

CURVE = "loss.svg"
WIDTH, LEFT, RIGHT = 960, 60, 790  # of the picture, and of its panels
POINTS = 600  # of a drawn line: more than pixels can show
DOTS = 100  # of an evaluation at most; more would hide the line
SOURCES = 12  # panels at most, of the sources with the most steps
EVALUATIONS = {"validation": ("held-out", "c3"), "training_sample": ("training sample", "c2")}

Point = tuple[float, float | None]


class Panel(NamedTuple):
    """A rectangle of the picture and the ranges that it shows."""

    left: float
    top: float
    right: float
    bottom: float
    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        """Pixels from the left of a step."""
        first, last = self.across
        return self.left + (value - first) / (last - first) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixels from the top of a value; one outside the range lies on the edge."""
        low, high = self.up
        share = (min(max(value, low), high) - low) / (high - low)
        return self.bottom - share * (self.bottom - self.top)


def write(folder: Path) -> Path | None:
    """Write `loss.svg` into a run's folder; None where no step was logged yet."""
    records = read(folder / METRICS)
    if not records:
        return None
    path = folder / CURVE
    path.write_text(picture(records), encoding="utf-8")
    return path


def picture(records: Sequence[Mapping[str, Any]]) -> str:
    """The picture: the loss with its evaluations, the learning rate beneath, a small panel a source."""
    steps = [r["step"] for r in records]
    across = (min(steps), max(max(steps), min(steps) + 1))
    main, height = _loss(records, across)
    rate, height = _rate(records, across, height)
    sources, height = _sources(records, across, height)
    last = next((r["loss"] for r in reversed(records) if r.get("loss") is not None), None)
    said = f"Loss over {max(steps):,} steps; the last is {pages.number(last, 4)}."
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" '
            'aria-label="{2}">\n<title>{2}</title>\n<style>{3}</style>\n<rect class="card" width="{0}" height="{1}"/>\n'
            "{4}\n</svg>\n"
        ).format(WIDTH, round(height), pages.text(said), Markup(_style()), pages.join([main, rate, sources]))
    )


def _loss(records: Sequence[Mapping[str, Any]], across: tuple[float, float]) -> tuple[Markup, float]:
    raw = [(r["step"], r.get("loss")) for r in records]
    smooth = smoothed(raw)
    evaluated = {
        name: [(r["step"], r["eval"][name].get("loss")) for r in records if name in r.get("eval", {})]
        for name in EVALUATIONS
    }
    panel = Panel(LEFT, 62, RIGHT, 342, across, _range([smooth, *evaluated.values()], raw))
    parts = [_heading("Training loss", 28), _grid(panel, f"{{:.{_digits(panel.up)}f}}"), _epochs(records, panel)]
    parts.append(_path(panel, raw, "raw"))
    parts.append(_path(panel, smooth, "line s0"))
    labels = [_last(smooth, "training", "c0")]
    for name, points in evaluated.items():
        said, colour = EVALUATIONS[name]
        parts.append(_path(panel, points, f"thin s{colour[1:]}"))
        parts += [
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>step {}: {:.4f}</title></circle>').format(
                colour, panel.x(step), panel.y(value), step, value
            )
            for step, value in (points if len(points) <= DOTS else [])
            if value is not None
        ]
        labels.append(_last(points, said, colour))
    parts.append(_labels(panel, [label for label in labels if label is not None]))
    return pages.join(parts), panel.bottom


def _rate(records: Sequence[Mapping[str, Any]], across: tuple[float, float], above: float) -> tuple[Markup, float]:
    points = [(r["step"], r.get("lr")) for r in records]
    highest = max((lr for _, lr in points if lr is not None), default=0.0)
    panel = Panel(LEFT, above + 24, RIGHT, above + 94, across, (0.0, highest or 1.0))
    parts = [
        Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            panel.left, panel.right, y=y
        )
        for y in (panel.top, panel.bottom)
    ]
    parts += [_text(panel.left - 8, panel.y(value) + 4, f"{value:.2g}", "soft end") for value in sorted({0.0, highest})]
    parts += [_path(panel, points, "line s11"), _text(panel.right + 10, panel.top + 4, "learning rate", "t11")]
    parts += [
        _text(panel.x(step), panel.bottom + 20, f"{step:,.0f}", "soft middle")
        for step in ticks(*across, 8)
        if step == int(step)
    ]
    parts.append(_text(panel.right + 32, panel.bottom + 20, "step", "soft"))
    return pages.join(parts), panel.bottom + 34


def _sources(records: Sequence[Mapping[str, Any]], across: tuple[float, float], above: float) -> tuple[Markup, float]:
    by_name: dict[str, list[Point]] = {}
    for r in records:
        for name, value in r.get("loss_by_source", {}).items():
            by_name.setdefault(name, []).append((r["step"], value))
    names = sorted(sorted(by_name), key=lambda name: -len(by_name[name]))[:SOURCES]
    if len(by_name) < 2:
        return Markup(""), above
    lines = {name: smoothed(by_name[name], share=12) for name in names}
    everything = smoothed([(r["step"], r.get("loss")) for r in records], share=12)
    up = _range(list(lines.values()), [])
    more = f", the {SOURCES} most frequent of {len(by_name)}" if len(by_name) > SOURCES else ""
    parts = [
        _heading("Loss by source", above + 34),
        _text(LEFT, above + 53, f"smoothed; grey: all sources{more}", "soft"),
    ]
    columns, wide, tall = 4, (WIDTH - LEFT - 24) / 4, 150.0
    for at, name in enumerate(names):
        left, top = LEFT + at % columns * wide, above + 96 + at // columns * tall
        panel = Panel(left, top, left + wide - 46, top + 90, across, up)
        parts += [
            _text(left, top - 12, _short(name), f"t{at % pages.COLOURS} name", name),
            _grid(panel, f"{{:.{_digits(up)}f}}" if at % columns == 0 else None, 4),
            _path(panel, everything, "raw"),
            _path(panel, lines[name], f"line s{at % pages.COLOURS}"),
        ]
        last = _last(lines[name], "", "")
        if last is not None:
            parts.append(_text(panel.right + 5, panel.y(last.value) + 4, f"{last.value:.2f}", "soft"))
    return pages.join(parts), above + 96 + math.ceil(len(names) / columns) * tall - 24


def smoothed(points: Sequence[Point], share: int = 30) -> list[Point]:
    """The mean of a window around each point, a `share`-th of them wide; values that are missing stay missing."""
    half = len(points) // share // 2
    sums, counts = [0.0], [0]
    for _, value in points:
        sums.append(sums[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    result: list[Point] = []
    for at, (step, value) in enumerate(points):
        near = max(min(half, at, len(points) - 1 - at), half // 2)  # narrower at the ends, which would lag
        low, high = max(at - near, 0), min(at + near, len(points) - 1) + 1
        mean = None if value is None else (sums[high] - sums[low]) / (counts[high] - counts[low])
        result.append((step, mean))
    return result


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    rough = (high - low) / max(about, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(lines: Sequence[Sequence[Point]], noisy: Sequence[Point]) -> tuple[float, float]:
    """What a panel shows: all of the lines, and of noisy points all but the outermost."""
    values = [value for points in lines for _, value in points if value is not None]
    noise = [value for _, value in noisy if value is not None]
    if len(noise) > 1:
        cuts = quantiles(noise, n=50, method="inclusive")
        values += [cuts[0], cuts[-1]]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _digits(up: tuple[float, float]) -> int:
    return min(max(1 - math.floor(math.log10((up[1] - up[0]) / 2)), 1), 6)


def _grid(panel: Panel, shown: str | None, about: int = 5) -> Markup:
    parts = []
    for value in ticks(*panel.up, about):
        y = panel.y(value)
        parts.append(
            Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                panel.left, panel.right, y, y
            )
        )
        if shown is not None:
            parts.append(_text(panel.left - 8, y + 4, shown.format(value), "soft end"))
    return pages.join(parts)


def _epochs(records: Sequence[Mapping[str, Any]], panel: Panel) -> Markup:
    """A line where an epoch ended and another began."""
    ends = []
    for before, after in pairwise(records):
        if before.get("epoch") and math.ceil(after["epoch"]) > math.ceil(before["epoch"]):
            ends.append((before["step"], math.ceil(after["epoch"])))
    if len(ends) > SOURCES:
        return Markup("")
    parts = []
    for step, epoch in ends:
        x = panel.x(step)
        parts.append(
            Markup('<line class="grid dash" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
                x, panel.top - 8, panel.bottom
            )
        )
        parts.append(_text(x + 5, panel.top - 1, f"epoch {epoch}", "soft"))
    return pages.join(parts)


class Label(NamedTuple):
    """What stands at the end of a line."""

    value: float
    said: str
    colour: str


def _last(points: Sequence[Point], said: str, colour: str) -> Label | None:
    return next((Label(value, said, colour) for _, value in reversed(points) if value is not None), None)


def _labels(panel: Panel, labels: Sequence[Label]) -> Markup:
    """Names and values at the right ends, moved apart where they would meet."""
    parts, free = [], panel.top
    for label in sorted(labels, key=lambda label: -label.value):
        y = min(max(panel.y(label.value) + 4, free), panel.bottom)
        free = y + 17
        parts.append(_text(panel.right + 10, y, f"{label.value:.3f} {label.said}", f"t{label.colour[1:]}"))
    return pages.join(parts)


def _path(panel: Panel, points: Sequence[Point], kind: str) -> Markup:
    """A line through the points, broken where a value is missing; a point alone becomes a dot."""
    drawn, pen = [], "M"
    for step, value in _thinned(points):
        if value is None:
            pen = "M"
            continue
        drawn.append(f"{pen}{panel.x(step):.1f},{panel.y(value):.1f}" + ("h.01" if pen == "M" else ""))
        pen = "L"
    return Markup('<path class="{}" d="{}"/>').format(kind, " ".join(drawn))


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """The lowest and the highest of each bucket of points, so that a long line keeps its shape."""
    bucket = math.ceil(len(points) / POINTS) * 2
    if bucket <= 2:
        return points
    kept: list[Point] = []
    for at in range(0, len(points), bucket):
        part = [(value, step) for step, value in points[at : at + bucket] if value is not None]
        ends = sorted({(step, value) for value, step in (min(part), max(part))}) if part else []
        kept += ends or [(points[at][0], None)]
    return kept


def _heading(said: str, y: float) -> Markup:
    return _text(LEFT, y, said, "head")


def _text(x: float, y: float, said: str, kind: str, whole: str = "") -> Markup:
    title = Markup("<title>{}</title>").format(pages.text(whole)) if whole and whole != said else ""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}{}</text>').format(kind, x, y, pages.text(said), title)


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _style() -> str:
    """The rules, with the report's colours of either scheme as they are."""
    colours = re.findall(r"--(\w+): (#[0-9a-f]{6})", pages.STYLE)
    half = len(colours) // 2
    shape = (
        "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;"
        "font-variant-numeric:tabular-nums}.soft{font-size:12px}.head{font-size:17px;font-weight:600}"
        ".name{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}"
        "path{fill:none;stroke-linejoin:round;stroke-linecap:round}.raw{stroke-width:1}.thin{stroke-width:1}"
        ".line{stroke-width:2}.dash{stroke-dasharray:3 4}"
    )
    dark = _paint(dict(colours[half:]))
    return f"{shape}{_paint(dict(colours[:half]))}@media (prefers-color-scheme:dark){{{dark}}}"


def _paint(colours: Mapping[str, str]) -> str:
    rules = [f".{name}{{fill:{colours[name]}}}" for name in ("card", "soft")]
    rules += [f"text{{fill:{colours['ink']}}}", f".grid{{stroke:{colours['line']}}}"]
    rules.append(f".raw{{stroke:{colours['idle']}}}")
    for n in range(pages.COLOURS):
        rules.append(f".s{n}{{stroke:{colours[f'c{n}']}}}.c{n},.t{n}{{fill:{colours[f'c{n}']}}}")
    return "".join(rules)
