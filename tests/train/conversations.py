"""Ragged conversations on the disk, as any Parquet of messages."""

from pathlib import Path

import polars as pl

from rawrows import sentence

GREETINGS = ["Hello.", "Thanks!", "Go on, please.", "What else?"]


def write_conversations(path: Path, count: int, first: int = 0) -> Path:
    """`count` conversations of one to three exchanges and of a few to 30 words; gives `path`."""
    rows = []
    for n in range(first, first + count):
        messages = [{"role": "system", "content": "Be brief."}] if n % 5 == 0 else []
        for turn in range(n % 3 + 1):
            asked = sentence(1000 * n + turn, 4 + n % 7) if not turn else GREETINGS[(n + turn) % 4]
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": sentence(5000 * n + turn, 3 + (7 * n + turn) % 6)})
        rows.append({"messages": messages, "source": "ab"[n % 2], "row_id": f"row-{n}"})
    pl.DataFrame(rows).write_parquet(path)
    return path
