"""Offline HTML pages: escaping, figures as inline SVG, tables, and the one style sheet.

A page is one file without scripts and without anything loaded from elsewhere, and its Content-Security-Policy holds
browsers to that: only this style sheet, by its hash, is let in (so no `style` attributes anywhere). Every value that
goes into a page passes `text`, or `Markup.format`, which escapes.

Figures are drawn without a viewBox: widths are percentages and heights pixels, so that letters keep their size on a
phone. Colours are classes: `c0` to `c11` tell things apart, `good`, `bad`, `idle` judge them.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from markupsafe import Markup, escape

COLOURS = 12
EMPTY = Markup('<p class="soft">{}</p>')

_LIGHT = """
  --page: #faf9f6; --card: #ffffff; --ink: #1c2430; --soft: #566170; --line: #e2dfd8; --track: #eceae4;
  --good: #1f7a72; --bad: #b5502a; --idle: #b9bec5;
  --c0: #1f7a72; --c1: #d19a2e; --c2: #6d5a9c; --c3: #b5502a;
  --c4: #3d78b4; --c5: #7a9a3c; --c6: #bd5a82; --c7: #2f9fb3;
  --c8: #8d5b34; --c9: #5f6fc4; --c10: #a8a13a; --c11: #7c8794;
  --h1: #e4f0ee; --h2: #c3dfdb; --h3: #93c7c0; --h4: #5fada4;"""
_DARK = """
  --page: #12161b; --card: #1a2027; --ink: #e7eaee; --soft: #a2adb9; --line: #2d3640; --track: #28303a;
  --good: #4fb3a9; --bad: #e2895f; --idle: #525d69;
  --c0: #4fb3a9; --c1: #e0b45a; --c2: #a391d6; --c3: #e2895f;
  --c4: #74aee6; --c5: #a9c76a; --c6: #e28fb1; --c7: #5fc6d8;
  --c8: #c99468; --c9: #98a5f0; --c10: #d6cf6a; --c11: #96a2af;
  --h1: #1c302f; --h2: #1f4643; --h3: #23605b; --h4: #266c66;"""
_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .3rem; letter-spacing: -.005em; }
h3 { font-size: .95rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0 .9rem; max-width: 46rem; }
a { color: var(--good); }
code, .id { font: .86em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.note { border-left: 3px solid var(--c1); padding: .1rem 0 .1rem .8rem; margin: .5rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0 1.6rem; font-size: .92rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.4rem 1.5rem;
  margin: 0 0 1.2rem; }
.figures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1px; padding: 0;
  overflow: hidden; background: var(--line); }
.figures > div { background: var(--card); padding: 1rem 1.2rem; }
.figures b { display: block; font-size: 1.5rem; line-height: 1.25; font-weight: 600; letter-spacing: -.02em; }
.figures span { display: block; color: var(--soft); font-size: .85rem; line-height: 1.35; }
b, td, text, .figures { font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem 2.5rem; }
.scroll { overflow-x: auto; margin: 0 -.4rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .42rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; font-size: .82rem; line-height: 1.25; vertical-align: bottom; }
thead .n { white-space: normal; overflow-wrap: normal; min-width: 4.2rem; }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 10.5rem; }
td:not([class]) { min-width: 6.5rem; overflow-wrap: anywhere; }
.named { display: flex; align-items: baseline; gap: .45em; }
tbody tr:last-child > * { border-bottom: 0; }
tr.sum > * { border-top: 1.5px solid var(--soft); font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
.w { min-width: 7rem; width: 22%; vertical-align: middle; }
.heat { display: inline-block; min-width: 3.2rem; padding: 0 .4rem; border-radius: 4px; }
.h1 { background: var(--h1); } .h2 { background: var(--h2); }
.h3 { background: var(--h3); } .h4 { background: var(--h4); }
.scroll .first { position: sticky; left: 0; background: var(--card); }
figure { margin: .8rem 0 1.2rem; } figcaption { margin-bottom: .5rem; }
svg { display: block; width: 100%; overflow: visible; }
svg.swatch { flex: none; width: .8em; height: .8em; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .87rem; margin: .5rem 0 0; padding: 0;
  list-style: none; overflow-wrap: anywhere; }
text { fill: var(--ink); font-size: 13px; } text.soft { fill: var(--soft); font-size: 12px; }
.track { fill: var(--track); } .mark { fill: var(--ink); } .ribbon { opacity: .38; } .axis { stroke: var(--line); }
.good { fill: var(--good); } .bad { fill: var(--bad); } .idle { fill: var(--idle); }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); } .c5 { fill: var(--c5); } .c6 { fill: var(--c6); } .c7 { fill: var(--c7); }
.c8 { fill: var(--c8); } .c9 { fill: var(--c9); } .c10 { fill: var(--c10); } .c11 { fill: var(--c11); }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; } summary b { font-weight: 600; }
details[open] summary { margin-bottom: .5rem; }
footer { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  main { padding: 1.4rem .8rem 3rem; } section { padding: 1.1rem .9rem; } h1 { font-size: 1.5rem; }
  .figures { grid-template-columns: 1fr 1fr; padding: 0; } .figures > div { padding: .8rem .9rem; }
  .figures b { font-size: 1.2rem; } tbody th { min-width: 7rem; } text.other { display: none; }
}
@media print { section { break-inside: avoid; } nav { display: none; } }
"""
STYLE = (
    f":root {{ color-scheme: light dark;{_LIGHT} }}\n@media (prefers-color-scheme: dark) {{ :root {{{_DARK} }} }}\n"
    + _RULES
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
</head>
<body>
<main>
{body}
</main>
</body>
</html>
""")


class Part(NamedTuple):
    """A part of a whole: its name, how much it is, and the class of its colour."""

    label: str
    value: float
    colour: str


def page(title: str, body: Markup) -> str:
    """A whole page."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return str(_PAGE.format(policy=policy, title=text(title), style=Markup(STYLE), body=body))


def text(value: object) -> Markup:
    """A value as escaped text; what has no shape on a page (control characters, bidi marks) becomes U+FFFD."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value)))


def join(parts: Iterable[Markup]) -> Markup:
    """Parts one after another, a line each."""
    return Markup("\n").join(parts)


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; a dash where nothing was measured."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(part: float, whole: float = 1.0) -> str:
    """A share in per cent, so that a small one is never shown as none, nor nearly all as all."""
    if not whole:
        return "–"
    share = part / whole
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    return f"{share:.1%}".replace("%", " %")


def section(anchor: str, title: str, *content: Markup) -> Markup:
    """A part of the page with a heading, which the navigation can name."""
    return Markup('<section id="{}">\n<h2>{}</h2>\n{}\n</section>').format(anchor, text(title), join(content))


def paragraph(words: str, kind: str = "soft") -> Markup:
    """One paragraph."""
    return Markup('<p class="{}">{}</p>').format(kind, text(words))


def figures(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Headline figures: (figure, what it is)."""
    cells = [Markup("<div><b>{}</b><span>{}</span></div>").format(text(n), text(what)) for n, what in pairs]
    return Markup('<section class="figures">\n{}\n</section>').format(join(cells))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kinds: str, total: Sequence[object] = ()) -> Markup:
    """A table that scrolls sideways where it must.

    `kinds` has one letter a column: t text, i an id (monospaced), n a number (right-aligned), w a figure (wide).
    Cells are escaped unless they are Markup; the first column heads its row. `total` is a last, emphasised row.
    """
    classes = {"t": "", "i": "id", "n": "n", "w": "w"}

    def line(cells: Sequence[object], tag: str, kind: str) -> Markup:
        done = []
        for at, cell in enumerate(cells):
            name = "" if tag == "head" and kinds[at] == "i" else classes[kinds[at]]
            name = f"{name} first".strip() if at == 0 else name
            shown = cell if isinstance(cell, Markup) else text(cell)
            scope = Markup(' scope="col"') if tag == "head" else Markup(' scope="row"') if at == 0 else ""
            open_ = "th" if tag == "head" or at == 0 else "td"
            done.append(
                Markup("<{0}{1}{2}>{3}</{0}>").format(
                    Markup(open_), scope, Markup(' class="{}"').format(name) if name else "", shown
                )
            )
        return Markup("<tr{}>{}</tr>").format(Markup(f' class="{kind}"') if kind else "", Markup("").join(done))

    body = [line(row, "body", "") for row in rows] + ([line(total, "body", "sum")] if total else [])
    return Markup('<div class="scroll"><table>\n<thead>{}</thead>\n<tbody>\n{}\n</tbody>\n</table></div>').format(
        line(head, "head", ""), join(body)
    )


def heat(share: float, shown: str) -> Markup:
    """A figure on a ground that is the darker the nearer `share` (0..1) is to 1."""
    level = 0 if share <= 0 else 1 if share < 0.05 else 2 if share < 0.2 else 3 if share < 0.5 else 4
    return Markup('<span class="heat h{}">{}</span>').format(level, text(shown))


def fold(title: str, note: str, content: Markup) -> Markup:
    """A part that opens on a click."""
    return Markup('<details><summary><b>{}</b> <span class="soft">{}</span></summary>\n{}\n</details>').format(
        text(title), text(note), content
    )


def named(label: str, colour: str) -> Markup:
    """A label behind a small square in its colour."""
    square = Markup('<svg class="swatch" aria-hidden="true"><rect class="{}" width="100%" height="100%" rx="2"/></svg>')
    return Markup('<span class="named">{}<span>{}</span></span>').format(square.format(colour), text(label))


def legend(parts: Iterable[tuple[str, str]]) -> Markup:
    """What the colours mean: (label, colour)."""
    items = [Markup("<li>{}</li>").format(named(label, colour)) for label, colour in parts]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def bar(share: float, label: str, colour: str = "c0", mark: float | None = None) -> Markup:
    """A horizontal bar of `share` (0..1) on its track; `mark` is a line to compare with (what was asked for)."""
    shown = Markup('<rect class="track" width="100%" height="10" y="3" rx="2"/>')
    shown += Markup('<rect class="{}" width="{}" height="10" y="3" rx="2"/>').format(colour, _part(share))
    if mark is not None:
        shown += Markup('<rect class="mark" x="{}" width="2" height="16"/>').format(_part(min(mark, 0.995)))
    return Markup('<svg height="16" role="img" aria-label="{0}"><title>{0}</title>{1}</svg>').format(text(label), shown)


def stack(parts: Sequence[Part], height: int = 16) -> Markup:
    """One bar divided among parts; their names and values show on hovering and to screen readers."""
    whole = sum(p.value for p in parts)
    said = "; ".join(f"{p.label} {number(p.value)} ({percent(p.value, whole)})" for p in parts if p.value)
    shown, x = Markup('<rect class="track" width="100%" height="{}" rx="2"/>').format(height), 0.0
    for p in parts:
        if p.value:
            shown += Markup('<rect class="{}" x="{}" width="{}" height="{}"><title>{}: {}</title></rect>').format(
                p.colour, _part(x), _part(p.value / whole), height, text(p.label), number(p.value)
            )
            x += p.value / whole
    return Markup('<svg height="{}" role="img" aria-label="{}">{}</svg>').format(height, text(said or "nothing"), shown)


def flow(title: str, parts: Sequence[Part]) -> Markup:
    """Where a whole went: a bar on the left whose parts flow to their names on the right, thickness by count."""
    parts = [p for p in parts if p.value]
    whole = sum(p.value for p in parts)
    if not whole:
        return EMPTY.format(text(f"{title}: none"))
    room, slot, gap = 240.0, 36.0, 8.0
    heights = [max(room * p.value / whole, 1.5) for p in parts]
    slots = [max(h, slot) + gap for h in heights]
    top = (sum(slots) - sum(heights)) / 2
    ribbons, names, left, right = Markup(""), Markup(""), top, 0.0
    for p, h, space in zip(parts, heights, slots, strict=True):
        at = right + (space - h) / 2
        there = f"M2,{left:.1f} C28,{left:.1f} 22,{at:.1f} 50,{at:.1f} V{at + h:.1f}"
        back = f"C22,{at + h:.1f} 28,{left + h:.1f} 2,{left + h:.1f} Z"
        ribbons += Markup('<path class="{} ribbon" d="{}"/>').format(p.colour, f"{there} {back}")
        ribbons += Markup('<rect class="{}" x="0" y="{:.1f}" width="2" height="{:.1f}"/>').format(p.colour, left, h)
        ribbons += Markup('<rect class="{}" x="50" y="{:.1f}" width="1.2" height="{:.1f}"/>').format(p.colour, at, h)
        middle = at + h / 2
        names += Markup('<text x="44%" y="{:.1f}">{}<title>{}</title></text>').format(
            middle - 3, text(_short(p.label)), text(p.label)
        )
        names += Markup('<text class="soft" x="44%" y="{:.1f}">{} · {}</text>').format(
            middle + 12, number(p.value), percent(p.value, whole)
        )
        left, right = left + h, right + space
    said = f"{title}: {number(whole)}, of which " + ", ".join(f"{number(p.value)} {p.label}" for p in parts)
    return Markup(
        '<figure><figcaption>{}</figcaption><svg height="{:.0f}" role="img" aria-label="{}">'
        '<svg width="82%" height="{:.0f}" viewBox="0 0 100 {:.0f}" preserveAspectRatio="none">{}</svg>{}</svg></figure>'
    ).format(text(f"{title}: {number(whole)}"), right, text(said), right, right, ribbons, names)


def histogram(labels: Sequence[str], series: Sequence[Part], counts: Sequence[Sequence[float]], caption: str) -> Markup:
    """Bars side by side for each bin: `counts[s][b]` of series s, each drawn as a share of its own sum."""
    sums = [sum(row) for row in counts]
    shares = [[c / whole if whole else 0.0 for c in row] for row, whole in zip(counts, sums, strict=True)]
    highest = max((s for row in shares for s in row), default=0.0)
    if not highest:
        return EMPTY.format(text(f"{caption}: none"))
    height, wide = 170, 1 / len(labels)
    shown = Markup("")
    for at, label in enumerate(labels):
        for which, (name, row) in enumerate(zip(series, shares, strict=True)):
            tall = max(row[at] / highest * height, 1.0 if row[at] else 0.0)
            thick = wide * 0.8 / len(series)
            shown += Markup(
                '<rect class="{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"><title>{}</title></rect>'
            ).format(
                name.colour,
                _part((at + 0.1) * wide + which * thick),
                height - tall,
                _part(thick),
                tall,
                text(f"{label} · {name.label}: {number(counts[which][at])} ({percent(row[at])})"),
            )
        kind = "soft other" if at % 2 and len(labels) > 8 else "soft"  # every other label leaves a narrow screen
        shown += Markup('<text class="{}" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            kind, _part((at + 0.5) * wide), height + 16, text(label)
        )
    said = "; ".join(
        f"{name.label}: " + ", ".join(f"{label} {percent(s)}" for label, s in zip(labels, row, strict=True))
        for name, row in zip(series, shares, strict=True)
    )
    return Markup(
        '<figure><figcaption>{}</figcaption><svg height="{}" role="img" aria-label="{}">'
        '<line class="axis" x1="0" x2="100%" y1="{}" y2="{}"/>{}</svg>{}</figure>'
    ).format(text(caption), height + 22, text(said), height, height, shown, legend((s.label, s.colour) for s in series))


def _part(share: float) -> str:
    return f"{min(max(share, 0.0), 1.0) * 100:.3f}%"


def _short(label: str, limit: int = 30) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
