"""HumanEval: what is asked, which program is run, and what pass@k says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import SAMPLES, Answer, Problem, Setting
from caravan.eval.benchmarks import humaneval
from caravan.eval.choose import choose
from caravan.eval.outputs import score_outputs

STRICT, TULU = Setting("pass@1", "strict"), Setting("pass@1", "tulu")


def first() -> Problem:
    return next(humaneval.problems(SAMPLES / "humaneval", "pass@1"))


def test_every_sample_item_is_solved_by_its_own_solution() -> None:
    for problem in humaneval.problems(SAMPLES / "humaneval", "pass@1"):
        for setting in (STRICT, TULU):
            verdict = humaneval.score(problem, [Answer(problem.item.answer)], setting)
            assert verdict.values == {"pass@1": 1.0}, problem.item.id


@pytest.mark.parametrize(
    ("wrap", "strict", "tulu"),
    [
        ("{body}", 1.0, 1.0),
        ("Here you are:\n```python\n{prompt}{body}\n```\nIt walks the list once.", 1.0, 0.0),
        ("{prompt}{body}", 1.0, 1.0),
        ("```\n{body}\n```", 1.0, 0.0),
        ("```python\n{prompt}{body}", 1.0, 0.0),
        ("    return None\n", 0.0, 0.0),
        ("I cannot write this function.", 0.0, 0.0),
    ],
)
def test_strict_takes_a_function_however_a_chat_model_hands_it_over(wrap: str, strict: float, tulu: float) -> None:
    problem = first()
    output = wrap.format(prompt=problem.item.question, body=problem.item.answer)
    assert humaneval.score(problem, [Answer(output)], STRICT).values["pass@1"] == strict
    assert humaneval.score(problem, [Answer(output)], TULU).values["pass@1"] == tulu


def test_helpers_before_the_function_stay_when_it_is_given_whole() -> None:
    prompt = 'from math import sqrt\n\ndef half(x):\n    return x / 2\n\ndef f(x):\n    """The root of half of x."""\n'
    item = first().item
    more = {"entry_point": "f", "test": "def check(c):\n    assert c(8) == 2"}
    problem = Problem(type(item)("x", prompt), more=more)
    whole = "```python\ndef f(x):\n    return sqrt(half(x))\n```"
    assert humaneval.score(problem, [Answer(whole)], STRICT).values == {"pass@1": 1.0}


def test_ten_samples_give_pass_at_ten_and_failed_ones_are_left_out() -> None:
    problem = first()
    answers = [Answer(problem.item.answer), *[Answer("    return -1\n")] * 9, Answer(ended="failed", error="cut off")]
    verdict = humaneval.score(problem, answers, STRICT)
    assert verdict.values == pytest.approx({"pass@1": 0.1, "pass@10": 1.0})
    assert verdict.extracted == "1 of 10 right"
    assert humaneval.score(problem, [Answer(ended="failed")], STRICT).status == "failed"
    assert humaneval.score(problem, [Answer(" \n")], STRICT).status == "empty"
    assert humaneval.score(problem, [Answer(" \n")], TULU).values == {"pass@1": 0.0}


@given(st.integers(1, 60), st.data())
def test_pass_at_k_is_the_share_of_draws_of_k_with_a_right_one(n: int, data: st.DataObject) -> None:
    k, right = data.draw(st.integers(1, n)), data.draw(st.integers(0, n))
    product = 1.0
    for i in range(k):  # the chance of drawing k wrong ones, one after the other
        product *= max(n - right - i, 0) / (n - i)
    assert humaneval.pass_at(k, n, right) == pytest.approx(1 - product, abs=1e-12)


def test_programs_are_run_only_when_asked_for(tmp_path: Path) -> None:
    outputs = tmp_path / "samples.jsonl"
    outputs.write_text('{"task_id": "HumanEval/0", "completion": "    return 3"}\n')
    with pytest.raises(UserError, match="--run-code"):
        score_outputs("humaneval", outputs, data_dir="samples")
    _, notes = choose(None, "samples")
    assert any("--run-code" in note for note in notes)


def test_one_line_for_each_sample_as_published(tmp_path: Path) -> None:
    problem = first()
    lines = [problem.item.answer, "    return -1", problem.item.answer]
    outputs = tmp_path / "samples.jsonl"
    outputs.write_text("".join(json.dumps({"task_id": problem.item.id, "completion": x}) + "\n" for x in lines))
    (scored,) = score_outputs("humaneval", outputs, data_dir="samples", run_code=True)
    assert scored.told["score"] == pytest.approx(2 / 3)


def test_the_variant_says_which_figure_is_the_headline(tmp_path: Path) -> None:
    problem = first()
    outputs = tmp_path / "samples.jsonl"
    outputs.write_text(json.dumps({"id": problem.item.id, "output": [problem.item.answer] + ["    return -1"] * 9}))
    for variant, expected in (("pass@1", 0.1), ("pass@10", 1.0)):
        (scored,) = score_outputs("humaneval", outputs, variant=variant, data_dir="samples", run_code=True)
        assert (scored.told["metric"], scored.told["score"]) == (variant, pytest.approx(expected))


@pytest.mark.real
def test_all_canonical_solutions_pass(real_data: Path) -> None:
    problems = list(humaneval.problems(real_data / "benchmarks" / "humaneval", "pass@1"))
    assert len(problems) == 164
    for problem in problems:
        answers = [Answer(problem.item.answer), Answer(f"```python\n{problem.item.question}{problem.item.answer}\n```")]
        assert humaneval.score(problem, answers, STRICT).values["pass@1"] == 1.0, problem.item.id
