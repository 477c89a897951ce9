"""Tokens made up in a test, where no tokenizer is needed."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from caravan.train.tokens import Tokens


def tokens_of(
    ids: Sequence[Sequence[int]], turns: Sequence[Sequence[int]], source: Sequence[int] | None = None
) -> Tokens:
    """Rows of these ids and turns, of sources `a`, `b`, ..."""
    source = source or [0] * len(ids)
    return Tokens(
        ids=np.array([i for row in ids for i in row], np.int32),
        turns=np.array([t for row in turns for t in row], np.uint8),
        offsets=np.cumsum([0, *map(len, ids)]).astype(np.int64),
        source=np.array(source, np.int16),
        sources=[chr(97 + n) for n in range(max(source) + 1)],
        row=np.arange(len(ids)),
        row_ids=[f"row {n}" for n in range(len(ids))],
        account={},
        fingerprint="made up",
        records=pl.DataFrame(),
    )


def random_tokens(seed: int, rows: int, vocabulary: int, longest: int = 60) -> Tokens:
    """Ragged rows of random tokens, about half of them supervised in two turns; each has some supervision."""
    rng = np.random.default_rng(seed)
    ids, turns = [], []
    for _ in range(rows):
        length = int(rng.integers(4, longest))
        ids.append(rng.integers(0, vocabulary, length).tolist())
        first, second = sorted(rng.integers(1, length, 2).tolist())
        turns.append([0] * first + [1] * (second - first) + [0] * (length - second - 1) + [2])
    return tokens_of(ids, turns, [n % 3 for n in range(rows)])
