"""Scores on the items that did not leak into a mixture, and how they differ from the scores on all."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from caravan.errors import UserError
from caravan.eval.benchmark import Item, Problem
from caravan.eval.choose import load_problems, module_of
from caravan.eval.clean import clean_score, leaked_items
from caravan.eval.statistics import Average
from caravan.terminal import Progress

GSM8K = load_problems("gsm8k", module_of("gsm8k").VARIANTS[0], "samples")


def mixture(folder: Path, questions: list[str]) -> Path:
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": "Let me think."}] for q in questions]
    pl.DataFrame({"messages": turns}).write_parquet(folder / "mix.parquet")
    return folder


def test_the_items_that_stand_in_the_mixture_are_found(tmp_path: Path, own_cache: Path) -> None:
    copied = GSM8K.problems[1].item
    folder = mixture(tmp_path, ["How do I bake bread without yeast, and how long does it take?", copied.question])
    assert leaked_items(str(folder), [GSM8K], Progress(quiet=True)) == {"gsm8k": {copied.id}}


def test_a_folder_without_a_mixture_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no mixture here"):
        leaked_items(str(tmp_path), [GSM8K], Progress(quiet=True))


def problems(n: int) -> list[Problem]:
    return [Problem(Item(f"{g}/{i}", "?", group=g)) for g in ("a", "b") for i in range(n)]


def test_the_clean_score_and_both_differences() -> None:
    items = problems(4)
    valued = list(zip(items, [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], strict=True))
    told = clean_score(valued, {"a/0", "a/1", "b/1"}, "micro")
    assert told["leaked"] == 3
    assert told["n"] == 5
    assert told["score"] == pytest.approx(2 / 5)
    assert told["clean_minus_leaked"]["score"] == pytest.approx(2 / 5 - 1)
    assert told["clean_minus_all"]["score"] == pytest.approx(2 / 5 - 5 / 8)


def test_a_macro_score_weighs_groups_alike_before_and_after() -> None:
    items = problems(4)
    valued = list(zip(items, [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], strict=True))
    told = clean_score(valued, {"a/0", "a/1", "a/3"}, "macro")
    assert told["score"] == pytest.approx((0 + 1 / 2) / 2)
    assert told["clean_minus_all"]["score"] == pytest.approx((0 + 1 / 2) / 2 - (3 / 4 + 1 / 2) / 2)


def test_nothing_leaked_and_all_leaked() -> None:
    valued = [(p, 1.0) for p in problems(3)]
    assert "clean_minus_all" not in clean_score(valued, set(), "micro")
    assert clean_score(valued, {p.item.id for p, _ in valued}, "micro")["why_not"]


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_the_interval_of_the_difference_covers_the_truth(average: Average) -> None:
    """Leaked items are answered rightly with 0.9, clean ones with 0.5: 95% of intervals must hold the true shift."""
    rng = np.random.default_rng(7)
    items = problems(100)
    leaked = {p.item.id for p in items if int(p.item.id[2:]) < 30}
    truth = 0.5 - (0.3 * 0.9 + 0.7 * 0.5)
    hits = 0
    for _ in range(400):
        chance = [0.9 if p.item.id in leaked else 0.5 for p in items]
        values = (rng.random(len(items)) < chance).astype(float)
        shift = clean_score(list(zip(items, values.tolist(), strict=True)), leaked, average)["clean_minus_all"]
        hits += shift["low"] <= truth <= shift["high"]
    assert 0.92 <= hits / 400 <= 0.98
