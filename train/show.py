"""How the results of `train` look on a terminal, and as JSON."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from caravan.terminal import out, print_json, printable, table
from caravan.train.examples import Example, Piece

if TYPE_CHECKING:  # heavy ones: the caller has them already
    from caravan.train.audit import Audit, Finding
    from caravan.train.fit import Trained
    from caravan.train.replay import Replayed
    from caravan.train.resumption import Resumed

# Two shades each, by turns, show where tokens begin and end. Colours of the 256 that every terminal has.
LOSS = ("color(16) on color(151)", "color(16) on color(114)")
CONTEXT = ("color(244)", "color(247)")
SPECIAL_LOSS, SPECIAL_CONTEXT = "bold color(90) on color(183)", "bold color(134)"
CUT = ("strike color(131)", "strike color(167)")
SEVERITIES = {"fail": "bold red", "warn": "bold yellow", "note": "bold blue"}
OPEN, SHUT, SPECIAL_OPEN, SPECIAL_SHUT = "⟦", "⟧", "⟨", "⟩"
PLAIN_WIDTH = 130


def examples(shown: Sequence[Example], max_length: int, as_json: bool) -> None:
    """Each row with what carries loss: coloured on a terminal, between brackets elsewhere."""
    if as_json:
        print_json({"max_length": max_length, "examples": [asdict(example) for example in shown]})
        return
    console = _console()
    coloured = console.color_system is not None and not os.environ.get("NO_COLOR")
    if coloured:
        _print(console, _legend())
    else:
        special = f"{SPECIAL_OPEN}special token{SPECIAL_SHUT}"
        out(f"{OPEN}carries loss{SHUT}  {special}  the number at the left is the answer's")
    for example in shown:
        _print(console, Text(), *_header(example))
        if coloured:
            _print(console, _coloured(example, max_length))
        else:
            for gutter, text in _plain(example, max_length):
                out(f"{gutter:>3} │ {text}".rstrip())


def _header(example: Example) -> Iterator[Text]:
    left_out = example.code is not None
    share = example.supervised / max(example.kept, 1)
    counts = f"{example.tokens:,} tokens, {example.supervised:,} carry loss ({share:.0%})"
    answers = f"{example.answers} answer{'' if example.answers == 1 else 's'}"
    yield Text(f"━━ {printable(example.source)} · {printable(example.row_id)} · {counts}, {answers}", "bold")
    if left_out:
        yield Text(f"   left out: {example.code}: {printable(example.detail)}", "bold red")
    if example.notes:
        yield Text(f"   noticed: {', '.join(example.notes)}", "yellow")


def _legend() -> Text:
    legend = Text("Legend: ")
    for words, shades in ((("carries", " loss"), LOSS), (("con", "text"), CONTEXT), (("cut", " away"), CUT)):
        for word, shade in zip(words, shades, strict=True):
            legend.append(word, shade)
        legend.append("  ")
    legend.append("<special>", SPECIAL_LOSS).append(" ").append("<special>", SPECIAL_CONTEXT)
    return legend.append("  the number at the left is the answer's; shades change from token to token")


def _lines(example: Example) -> Iterator[list[tuple[int, Piece]] | None]:
    """The pieces, each with its number, line by line; None where the length cuts."""
    line: list[tuple[int, Piece]] = []
    for number, piece in enumerate(example.pieces):
        if not piece.kept and (number == 0 or example.pieces[number - 1].kept):
            if line:
                yield line
            yield None
            line = []
        *whole, last = piece.text.split("\n")
        for part in whole:
            line.append((number, Piece(part + "\n", piece.turn, piece.special, piece.kept)))
            yield line
            line = []
        if last:
            line.append((number, Piece(last, piece.turn, piece.special, piece.kept)))
    if line:
        yield line


def _cut_words(example: Example, max_length: int) -> str:
    lost = f"{example.tokens - example.kept:,} tokens, {example.cut_supervised:,} of which would carry loss"
    return f"max_length {max_length:,} cuts here: {lost}"


def _coloured(example: Example, max_length: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    for line in _lines(example):
        if line is None:
            grid.add_row(Text("✂", "bold red"), Text(_cut_words(example, max_length), "bold red"))
            continue
        text = Text()
        for number, piece in line:
            text.append(_visible(piece.text), _style(number, piece))
        turn = max(piece.turn for _, piece in line)
        shade = "color(240)" if not turn else "color(71)" if line[0][1].kept else "color(131)"
        grid.add_row(Text(f"{turn} ▌" if turn else "▏", shade), text)
    return grid


def _style(number: int, piece: Piece) -> str:
    if not piece.kept:
        return CUT[number % 2]
    if piece.special:
        return SPECIAL_LOSS if piece.turn else SPECIAL_CONTEXT
    return (LOSS if piece.turn else CONTEXT)[number % 2]


def _visible(text: str) -> str:
    """A token's text on one line: ends of lines, tabs and control characters as something to see."""
    return printable(text.replace("\n", "⏎").replace("\t", "→   "))


def _plain(example: Example, max_length: int) -> Iterator[tuple[str, str]]:
    """Lines without colour, each with what stands in its gutter; loss stays bracketed over ends of lines."""
    for line in _lines(example):
        if line is None:
            yield "✂", _cut_words(example, max_length)
            continue
        text, inside = "", 0
        for _, piece in line:
            if piece.turn != inside:
                text += (SHUT if inside else "") + (OPEN if piece.turn else "")
                inside = piece.turn
            shown = piece.text.replace("\t", "→   ")
            for mark in (OPEN, SHUT, SPECIAL_OPEN, SPECIAL_SHUT):
                shown = shown.replace(mark, f"\\u{ord(mark):04x}")
            ends = shown.endswith("\n")
            shown = printable(shown.removesuffix("\n")) + ("⏎" if ends and inside else "")
            text += f"{SPECIAL_OPEN}{shown}{SPECIAL_SHUT}" if piece.special else shown
        turn = max(piece.turn for _, piece in line)
        yield str(turn or ""), text + (SHUT if inside else "")


def checked(audit: "Audit", as_json: bool) -> None:
    """The tables of `train check`: by source, by length, how it packs, and what was found."""
    if as_json:
        print_json(audit.json())
        return
    table(
        f"{audit.data}, template: {audit.template}",
        ["source", "rows", "used", "left out", "tokens", "carry loss", "share", "rows cut", "loss cut"],
        [
            *([name, *_source_row(audit, [name])] for name in audit.sources),
            ["all", *_source_row(audit, list(audit.sources))],
        ],
    )
    everything = sum(source.supervised + source.cut_supervised for source in audit.sources.values())
    table(
        "What a maximal length cuts",
        ["length", "", "longer rows", "rows lost", "tokens", "loss, cut at turns", "share", "cut anywhere"],
        [
            [
                f"{cut.length:,}",
                _length_words(audit, cut.length),
                cut.rows,
                cut.lost_rows,
                cut.tokens,
                cut.supervised,
                f"{cut.supervised / max(everything, 1):.1%}",
                f"{cut.supervised_plain / max(everything, 1):.1%}",
            ]
            for cut in audit.lengths
        ],
        text_columns=2,
    )
    packed = audit.packed
    seen = "" if packed.steps == packed.steps_an_epoch else f" (the first {packed.steps:,} were packed)"
    out(
        f"Packing for {packed.gpus} GPUs: {packed.rows:,} rows in {packed.bins:,} bins of {packed.capacity:,} tokens, "
        f"{packed.fill:.1%} full; GPUs wait {packed.idle:.1%} of the time for the longest bin of a round. "
        f"{packed.steps_an_epoch:,} steps an epoch{seen}, {packed.steps_in_all:,} in all."
    )
    console = _console()
    for finding in audit.findings:
        _print(console, Text(), _finding(finding))
    out()
    what = f"{audit.answers:,} answers and {audit.prompts:,} prompts were compared"
    fails = sum(finding.severity == "fail" for finding in audit.findings)
    out(f"{what}: {fails} finding{'' if fails == 1 else 's'} to mend first." if fails else f"{what}: nothing fails.")


def _source_row(audit: "Audit", names: list[str]) -> list[object]:
    sources = [audit.sources[name] for name in names]
    rows, used = sum(s.rows for s in sources), sum(s.used for s in sources)
    tokens, carry = sum(s.tokens for s in sources), sum(s.supervised for s in sources)
    lost = sum(s.cut_supervised for s in sources)
    share, cut = f"{carry / max(tokens, 1):.1%}", f"{lost / max(carry + lost, 1):.1%}"
    return [rows, used, rows - used, tokens, carry, share, sum(s.cut_rows for s in sources), cut]


def _length_words(audit: "Audit", length: int) -> str:
    words = ["chosen"] if length == audit.max_length else []
    return ", ".join(words + (["recommended"] if length == audit.recommended_length else []))


def _finding(finding: "Finding") -> Group:
    head = Text(f"{finding.severity.upper()}  ", SEVERITIES[finding.severity]).append(finding.code, "bold default")
    if finding.of:
        head.append(f"  {finding.count:,} of {finding.of:,} {finding.unit} ({finding.share:.1%})", "default not bold")
    said = [Text(printable(finding.advice))]
    where = [f"{printable(name)} {count:,}" for name, count in finding.sources.items()]
    if where:
        said.append(Text(f"sources: {', '.join(where)}", "dim"))
    if finding.rows:
        said.append(Text(f"rows: {', '.join(map(printable, finding.rows))}", "dim"))
    return Group(head, *(Padding(text, (0, 0, 0, 6)) for text in said))


def trained(result: "Trained", as_json: bool) -> None:
    """The figures of the last step and the last evaluation, memory as predicted and as measured, where it all is."""
    if as_json:
        values = asdict(result) | {"folder": str(result.folder), "model": str(result.model) if result.model else None}
        print_json(values)
        return
    figures = result.figures
    parts = {"last step": figures, **{name.replace("_", " "): part for name, part in figures.get("eval", {}).items()}}
    names = [name for name in LOGGED if any(name in part for part in parts.values())]
    table("Figures", ["", *parts], [[LOGGED[name], *(part.get(name) for part in parts.values())] for name in names])
    for name in ("loss", "margin"):
        by_source = {title: part.get(f"{name}_by_source", {}) for title, part in parts.items()}
        sources = sorted({source for part in by_source.values() for source in part})
        if sources:
            rows = [[source, *(part.get(source) for part in by_source.values())] for source in sources]
            table(f"{name.capitalize()} by source", ["source", *by_source], rows)
    speed = figures.get("speed", {})
    if speed:
        mfu = (
            f", MFU {speed['mfu']:.1%} (6 operations a parameter and token, attention within conversations)"
            if speed.get("mfu") is not None
            else ""
        )
        out(f"speed: {speed['tokens_per_second_per_gpu']:,.0f} tokens a second and GPU{mfu}")
    off = f" ({result.peak_gib / result.predicted_gib - 1:+.0%})" if result.predicted_gib else ""
    out(f"memory: {result.predicted_gib:.2f} GiB predicted, {result.peak_gib:.2f} GiB measured{off}")
    out(f"run: {printable(str(result.folder))}, step {result.steps:,} of {result.total:,}")
    if result.stopped is not None:
        out(f"stopped early ({printable(result.stopped)}): the same command goes on from there")
    if result.model is not None:
        out(f"model: {printable(str(result.model))}")


def replayed(items: "Sequence[Replayed]", as_json: bool) -> None:
    """Each item of the bad bins, computed alone; those that are not finite first."""
    ordered = sorted(items, key=lambda item: item.finite)
    if as_json:
        print_json({"rows": [_strict(asdict(item)) | {"finite": item.finite} for item in ordered]})
        return
    rows = [[", ".join(i.row_ids), i.finite, i.tokens, i.loss, i.largest_gradient] for i in ordered]
    table("Rows of the failed step, each alone", ["row", "finite", "tokens", "loss", "largest gradient"], rows)


def _strict(figures: dict[str, Any]) -> dict[str, Any]:
    """With null for what is not finite, which JSON has no numbers for."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}


def resumed(proof: "Resumed", as_json: bool) -> None:
    """Whether a run that was broken ended in the same bits."""
    if as_json:
        print_json(asdict(proof) | {"same": proof.same})
    elif proof.same:
        out(f"the same bits after {proof.steps} steps, broken in the middle or not: {proof.straight[:12]}")
    else:
        out(f"not the same after {proof.steps} steps: {proof.straight[:12]} in one go, {proof.broken[:12]} broken")


LOGGED = {
    "loss": "loss",
    "margin": "margin",
    "accuracy": "chosen preferred",
    "reproduced": "answers given back word for word",
    "grad_norm": "gradient norm",
}


def _console() -> Console:
    wide = sys.stdout is not None and sys.stdout.isatty()
    return Console(width=None if wide else PLAIN_WIDTH, highlight=False)


def _print(console: Console, *what: Any) -> None:
    """Print on standard output as `terminal.table` does: a reader that has gone away is no error."""
    with console.capture() as captured:
        for renderable in what:
            console.print(renderable, markup=False, soft_wrap=not console.is_terminal and isinstance(renderable, Text))
    out(captured.get().rstrip("\n"))
