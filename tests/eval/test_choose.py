"""Which benchmarks are meant, and which of their items are asked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import Item, Problem
from caravan.eval.choose import Chosen, choose, module_of, parse, sample


def chosen(groups: dict[str, int]) -> Chosen:
    problems = [Problem(Item(f"{g}/{n}", "?", group=g), ("a",)) for g, size in groups.items() for n in range(size)]
    return Chosen("bbh", "cot", module_of("bbh"), Path(), False, tuple(problems))


def test_a_choice_names_benchmarks_and_variants_once_each_in_the_order_given() -> None:
    assert parse("bbh:direct, mmlu,bbh:direct,bbh") == [("bbh", "direct"), ("mmlu", "5-shot"), ("bbh", "cot")]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("mmul", "no benchmark 'mmul'; did you mean 'mmlu'?"),
        ("jsonl", "rows can be compared with it, but it says nothing of asking"),
        ("mmlu:3-shot", "mmlu has no variant '3-shot'"),
        (" , ", "no benchmark is named"),
    ],
)
def test_what_is_unknown_is_said_with_the_nearest_known(choice: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(choice)
    assert says in str(raised.value)


def test_an_empty_choice_is_not_all_that_there_is() -> None:
    with pytest.raises(UserError, match="no benchmark is named"):
        choose("", None)


def test_without_a_choice_the_samples_stand_in_and_say_so() -> None:
    found, notes = choose(None, None)
    names = [one.name for one in found]
    assert {"mmlu", "bbh", "tydiqa", "gsm8k"} <= set(names)
    assert "humaneval" not in names
    assert any("samples stand in" in note for note in notes)
    assert any("--run-code" in note for note in notes)
    assert all(one.embedded for one in found)


def test_a_folder_gives_what_it_has_and_names_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    with pytest.raises(UserError, match="no folder mmlu"):
        choose("mmlu", str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        choose("mmlu", str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no benchmark in this folder"):
        choose(None, str(tmp_path / "empty"))


def test_a_sample_is_spread_over_the_groups_and_keeps_the_order_of_the_files() -> None:
    whole = chosen({"a": 40, "b": 5, "c": 40})
    kept = sample(whole, 0, 30)
    ids = [p.item.id for p in kept]
    assert ids == [p.item.id for p in whole.problems if p.item.id in set(ids)]
    counts = {g: sum(p.item.group == g for p in kept) for g in "abc"}
    assert counts["b"] == 5
    assert abs(counts["a"] - counts["c"]) <= 1
    assert sum(counts.values()) == 30


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20))
def test_an_item_is_in_or_out_whatever_other_files_there_are(size: int, other: int, per_group: int) -> None:
    alone = sample(chosen({"a": size}), per_group, 0)
    beside = [p for p in sample(chosen({"a": size, "z": other}), per_group, 0) if p.item.group == "a"]
    assert alone == beside
    assert len(alone) == min(size, per_group)


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_larger_limit_asks_all_that_a_smaller_one_asks(small: int, more: int) -> None:
    whole = chosen({"a": 20, "b": 7, "c": 30})
    few = {p.item.id for p in sample(whole, 0, small)} if small else set()
    assert few <= {p.item.id for p in sample(whole, 0, small + more)}
