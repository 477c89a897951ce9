"""Markdown tables of what a benchmark measured, and the pages in docs/ that they are written into."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from caravan.proportions import wilson

DOCS = Path(__file__).parent.parent / "docs"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table: the first column to the left, all others to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def share(hits: float, of: int) -> str:
    """A proportion with its 95% interval: `66.2% [63.0, 69.2]`; a dash where there was nothing to count."""
    if not of:
        return "-"
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def written_with(*packages: str) -> str:
    """What the figures depend on: Python and the versions of packages, those that are not installed named as such."""
    found = [f"Python {platform.python_version()}"]
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (not installed)")
    return ", ".join(found)


def into(page: str, mark: str, text: str) -> None:
    """Put a text between the marks `<!-- measured MARK: begin -->` and `... end -->` of a page in docs/."""
    path = DOCS / page
    begin, end = f"<!-- measured {mark}: begin -->\n", f"<!-- measured {mark}: end -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path} has no place for {mark!r}: add {begin.strip()} and {end}")
    path.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", encoding="utf-8")
