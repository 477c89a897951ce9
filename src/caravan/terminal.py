"""What a command prints: progress on standard error, results on standard output, one JSON object with `--json`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from typing import Any, NoReturn, TextIO, TypeVar

from caravan.errors import UserError

T = TypeVar("T")
DONE, FOUND, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class Progress:
    """Says what is going on: a bar with rate and time left on a terminal, plain lines otherwise.

    Use it as a context manager around a command; functions take it as an argument and never print themselves.
    """

    def __init__(self, *, quiet: bool = False, warns: bool = True) -> None:
        self._quiet = quiet
        self._warns = warns
        self._bars: Any = None

    def say(self, text: str) -> None:
        """One line for people."""
        if not self._quiet:
            if self._bars is not None:
                self._bars.console.print(printable(text), markup=False, highlight=False)
            else:
                _print(printable(text), sys.stderr)

    def warn(self, text: str) -> None:
        """One line that must not be missed: printed even when quiet, unless another process says it."""
        if not self._warns:
            return
        quiet, self._quiet = self._quiet, False
        self.say(f"warning: {text}")
        self._quiet = quiet

    def track(
        self, items: Iterable[T], label: str, total: float, unit: str, size: Callable[[T], float] = lambda _: 1
    ) -> Iterator[T]:
        """Pass the items on, showing how much of `total` (in `unit`) they amount to."""
        start = time.monotonic()
        done: float = 0
        with self._bar(label, total, unit) as advance:
            for item in items:
                yield item
                done += size(item)
                advance(size(item))
        if self._bars is None and total:
            self.say(f"{label}: {done:,.0f} {unit} in {time.monotonic() - start:.1f} s")

    @contextmanager
    def _bar(self, label: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
        if self._quiet or sys.stderr is None or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True), transient=False) as self._bars:
            task = self._bars.add_task(label, total=total, unit=unit, rate="")

            def advance(amount: float) -> None:
                self._bars.advance(task, amount)
                speed = self._bars.tasks[0].speed
                self._bars.update(task, rate=f"{speed:,.0f}/s" if speed else "")

            try:
                yield advance
            finally:
                self._bars.refresh()
        self._bars = None


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1) -> None:
    """Print a table on standard output; all but the first `text_columns` columns are set to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if sys.stdout is None:
        return
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    grid = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for n, name in enumerate(header):
        grid.add_column(name, justify="left" if n < text_columns else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    with console.capture() as captured:
        console.print(grid, markup=False)
    _print(captured.get().rstrip("\n"), sys.stdout)


def _cell(value: object) -> Any:
    from rich.text import Text

    if value is None:
        return Text("–")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    return Text(printable(str(value)))


def printable(text: str) -> str:
    """Text from data, safe on one line of a terminal: control characters and line breaks become visible."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)


def lines(text: str) -> str:
    """As `printable`, for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    _print(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True), sys.stdout)


def out(text: str = "") -> None:
    """Print a line on standard output."""
    _print(text, sys.stdout)


def _print(text: str, stream: TextIO | None) -> None:
    """Print to a stream that may be closed, or whose reader may have gone away (`| head`): neither is an error."""
    if stream is None:
        return
    try:
        print(text.encode("utf-8", "backslashreplace").decode(), file=stream, flush=True)
    except UnicodeEncodeError:  # the terminal's encoding is not UTF-8
        print(text.encode("ascii", "backslashreplace").decode(), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def exit_for(error: BaseException, how_to_go_on: str) -> NoReturn:
    """End the command for an error that a person can mend; anything else is raised again."""
    if isinstance(error, UserError):
        _print(f"error: {printable(str(error))}", sys.stderr)
        raise SystemExit(BAD_INPUT)
    if hasattr(error, "format_message"):  # typer's own: a wrong option or command
        usage = str(error.format_message())
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "curate"
        if not usage or usage.startswith("Usage:"):
            _print(usage, sys.stderr)
        else:
            _print(f"error: {printable(' '.join(usage.split()).rstrip('.'))}; see `{command} --help`", sys.stderr)
        raise SystemExit(BAD_INPUT)
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _print(f"\ninterrupted: {how_to_go_on}", sys.stderr)
        raise SystemExit(INTERRUPTED)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        fix = (
            "; free some space, or set CARAVAN_CACHE to a folder with room, and run it again"
            if error.errno == ENOSPC
            else ""
        )
        _print(f"error: {printable(where + error.strerror)}{fix}", sys.stderr)
        raise SystemExit(BAD_INPUT)
    raise error
