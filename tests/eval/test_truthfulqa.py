"""TruthfulQA: MC1 and MC2 by label, the answers of both files, the primer, and what is known of the real files."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import truthfulqa

HEADER = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
OWL = ["x", "Birds", "Do owls see at noon?", "Yes", "Yes; Owls see by day", "No; They are blind.; ", "url"]
TASK: dict[str, Any] = {
    "question": "Do owls see at noon?",
    "mc1_targets": {"No.": 0, "Yes.": 1, "They are blind.": 0},
    "mc2_targets": {"No.": 0, "Owls see by day.": 1, "Yes.": 1, "They are blind.": 0},
}


def put(folder: Path, *rows: list[str], tasks: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "TruthfulQA.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([HEADER, *rows])
    if tasks is not None:
        (folder / "mc_task.json").write_text(json.dumps(tasks), encoding="utf-8")
    return folder


def only(folder: Path) -> Problem:
    (problem,) = truthfulqa.problems(folder, "mc")
    return problem


def scored(problem: Problem, *logprobs: float, protocol: Rules = "strict") -> Verdict:
    return truthfulqa.score(problem, [Answer(logprobs=logprobs)], Setting("mc", protocol))


@pytest.fixture
def owl(tmp_path: Path) -> Problem:
    """Options in the order of the task file: No (false), Owls see by day (true), Yes (best), They are blind (false)."""
    return only(put(tmp_path, OWL, tasks=[TASK]))


# asking


def test_the_question_and_every_answer(owl: Problem) -> None:
    ask = truthfulqa.ask(owl, Setting("mc"))
    assert (ask.text, ask.ending, ask.opener) == ("Q: Do owls see at noon?", "\nA:", "A:")
    assert ask.choices == (" No.", " Owls see by day.", " Yes.", " They are blind.")
    assert owl.golds == ("Owls see by day.", "Yes.")
    assert (owl.item.id, owl.item.group, owl.item.answer) == ("v1/0", "Birds", "Yes")


def test_the_primer_stands_before_the_question_where_there_is_one(tmp_path: Path) -> None:
    put(tmp_path / "v1", OWL, tasks=[TASK])
    bare = only(tmp_path)
    assert scored(bare, -1, -2, -3, -4).rule.endswith(", no primer")
    (tmp_path / "primer.txt").write_text("Q: Is ice cold?\nA: It is.\n\nQ: Is fire?\nA: No.\n\n", encoding="utf-8")
    problem = only(tmp_path)
    text = truthfulqa.ask(problem, Setting("mc", "tulu")).text
    assert text == "Q: Is ice cold?\nA: It is.\n\nQ: Is fire?\nA: No.\n\nQ: Do owls see at noon?"
    assert "primer" not in scored(problem, -1, -2, -3, -4).rule


def test_a_period_is_put_behind_each_answer_by_the_published_code_alone(tmp_path: Path) -> None:
    task = TASK | {
        "mc1_targets": {"Yes": 1, "No": 0, "They are blind.": 0},
        "mc2_targets": {"Yes": 1, "Owls see by day": 1, "No": 0, "They are blind.": 0},
    }
    problem = only(put(tmp_path, OWL, tasks=[task]))
    assert truthfulqa.ask(problem, Setting("mc")).choices == (" Yes", " Owls see by day", " No", " They are blind.")
    closed = truthfulqa.ask(problem, Setting("mc", "tulu")).choices
    assert closed == (" Yes.", " Owls see by day.", " No.", " They are blind.")


# scores


def test_mc1_and_mc2_by_hand(owl: Problem) -> None:
    # e^-1, e^-2 true; e^0 and e^-3 false
    verdict = scored(owl, 0.0, -2.0, -1.0, -3.0)
    true, false = math.exp(-1) + math.exp(-2), 1 + math.exp(-3)
    assert verdict.values == {"mc1": 0.0, "mc2": pytest.approx(true / (true + false))}
    assert (verdict.status, verdict.extracted) == ("scored", "No.")
    # the other true answer is no rival of the best one
    assert scored(owl, -3.0, 0.0, -1.0, -2.0).values["mc1"] == 1.0
    # and is none for it
    assert scored(owl, -1.0, 0.0, -2.0, -3.0).values["mc1"] == 0.0


def test_the_label_counts_not_the_place(tmp_path: Path) -> None:
    turned = TASK | {"mc1_targets": dict(reversed([*TASK["mc1_targets"].items()]))}
    for number, task in enumerate([TASK, turned]):
        problem = only(put(tmp_path / str(number), OWL, tasks=[task]))
        assert [scored(problem, *x).values["mc1"] for x in [(-2, -9, -1, -3), (-1, -9, -2, -3)]] == [1.0, 0.0]


@pytest.mark.parametrize("protocol", RULES)
def test_equally_likely_is_not_likelier(owl: Problem, protocol: Rules) -> None:
    assert scored(owl, -1.0, -1.0, -1.0, -1.0, protocol=protocol).values == {"mc1": 0.0, "mc2": 0.5}


def test_answers_of_a_thousand_tokens_do_not_underflow(owl: Problem) -> None:
    verdict = scored(owl, -5001.0, -5000.0, -6000.0, -7000.0)
    assert verdict.values["mc2"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert scored(owl, -math.inf, -5000.0, -math.inf, -math.inf).values == {"mc1": 0.0, "mc2": 1.0}


@given(st.lists(st.floats(-300, 0), min_size=4, max_size=4), st.floats(-2000, 0))
def test_mc2_is_a_share_that_a_common_factor_does_not_move(logprobs: list[float], shift: float) -> None:
    labels = truthfulqa.Labels((2,), (0, 3), (1, 2), (0, 3))
    item = next(truthfulqa.items(SAMPLES / "truthfulqa"))
    problem = Problem(item, more={"options": ("n", "o", "y", "b"), "strict": labels, "primer": ""})
    value = scored(problem, *logprobs).values["mc2"]
    assert 0.0 <= value <= 1.0
    assert scored(problem, *(x + shift for x in logprobs)).values["mc2"] == pytest.approx(value, rel=1e-9, abs=1e-12)
    opposite = scored(problem, *(logprobs[n] for n in (1, 0, 3, 2))).values["mc2"]  # true and false change places
    assert value + opposite == pytest.approx(1.0)


def test_errors_are_classes_of_their_own(owl: Problem) -> None:
    nothing = scored(owl, *[-math.inf] * 4)
    assert (nothing.status, nothing.values) == ("unextractable", {"mc1": 0.0, "mc2": 0.0})
    assert scored(owl, -1.0, -2.0, -3.0).status == "failed"
    assert scored(owl, -1.0, math.nan, -3.0, -4.0).status == "failed"
    text = truthfulqa.score(owl, [Answer("Yes.")], Setting("mc"))
    assert (text.status, dict(text.values)) == ("unjudged", {})
    failed = Answer(ended="failed", error="timeout")
    assert truthfulqa.score(owl, [failed], Setting("mc", "tulu")) == Verdict("failed", rule="no answer came")


def test_an_answer_listed_as_true_and_false_is_both_as_published_and_what_the_task_says_by_strict(
    tmp_path: Path,
) -> None:
    row = [*OWL[:4], "Yes; Unknown", "No; Unknown", "url"]
    task = TASK | {
        "mc1_targets": {"Yes.": 1, "No.": 0, "Unknown.": 0},
        "mc2_targets": {"Yes.": 1, "No.": 0, "Unknown.": 0},
    }
    third = math.log(1 / 3)
    joined = only(put(tmp_path / "a", row, tasks=[task]))
    assert scored(joined, third, third, third).values["mc2"] == pytest.approx(1 / 3)
    assert scored(joined, third, third, third, protocol="original").values["mc2"] == pytest.approx(1 / 2)
    alone = only(put(tmp_path / "b", row))
    assert alone.more["options"] == ("Yes.", "Unknown.", "No.")
    assert scored(alone, third, third, third).values["mc2"] == pytest.approx(1 / 2)  # neither: Yes against No
    assert scored(alone, -2.0, -1.0, -3.0).values["mc1"] == 1.0
    assert scored(alone, -2.0, -1.0, -3.0, protocol="tulu").values["mc1"] == 0.0


# files


def test_without_a_task_file_the_answers_are_those_of_the_csv(tmp_path: Path) -> None:
    problem = only(put(tmp_path, OWL))
    assert truthfulqa.ask(problem, Setting("mc")).choices == (" Yes.", " Owls see by day.", " No.", " They are blind.")
    assert problem.more["strict"] == problem.more["published"] == truthfulqa.Labels((0,), (2, 3), (0, 1), (2, 3))


def test_answers_are_joined_by_the_question_whatever_the_order(tmp_path: Path) -> None:
    other = [*OWL[:2], " Do bats? ", "No", "No", "Yes", "url"]
    bats = {"question": "Do bats?", "mc1_targets": {"No.": 1, "Yes.": 0}, "mc2_targets": {"No.": 1, "Yes.": 0}}
    first, second = truthfulqa.problems(put(tmp_path, OWL, other, tasks=[bats, TASK]), "mc")
    assert first.more["options"][1] == "Owls see by day."
    assert (second.item.id, second.more["options"]) == ("v1/1", ("No.", "Yes."))


def test_what_does_not_join_is_an_error(tmp_path: Path) -> None:
    other = [*OWL[:2], "Do bats?", "No", "No", "Yes", "url"]
    with pytest.raises(UserError, match="no answers to choose from") as caught:
        list(truthfulqa.problems(put(tmp_path / "a", OWL, other, tasks=[TASK]), "mc"))
    assert caught.value.where.endswith("TruthfulQA.csv:3")
    with pytest.raises(UserError, match="1 questions with answers to choose from are not in"):
        list(truthfulqa.problems(put(tmp_path / "b", OWL, tasks=[TASK, TASK | {"question": "New?"}]), "mc"))
    with pytest.raises(UserError, match="for the second time"):
        list(truthfulqa.problems(put(tmp_path / "c", OWL, tasks=[TASK, TASK]), "mc"))


@pytest.mark.parametrize(
    "targets",
    [None, [], {}, {"Yes.": 1}, {"Yes.": 1, "No.": 2}, {"Yes.": "1", "No.": 0}, {"choices": [], "labels": []}],
)
def test_answers_without_a_true_and_a_false_one_are_refused(targets: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'mc1_targets' has no answers") as caught:
        list(truthfulqa.problems(put(tmp_path, OWL, tasks=[TASK | {"mc1_targets": targets}]), "mc"))
    assert caught.value.where.endswith("mc_task.json:1")


@pytest.mark.parametrize(("true", "false"), [("", "No"), ("Yes", " ; "), ("Yes", "Yes")])
def test_a_row_without_a_true_and_a_false_answer_is_refused(true: str, false: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="true or") as caught:
        list(truthfulqa.problems(put(tmp_path, [*OWL[:4], true, false, "url"]), "mc"))
    assert caught.value.where.endswith("TruthfulQA.csv:2")


def test_the_hub_s_files_give_the_same_problems(tmp_path: Path) -> None:
    put(tmp_path / "csv", OWL, tasks=[TASK])
    row = {
        "type": "x",
        "category": "Birds",
        "question": OWL[2],
        "best_answer": "Yes",
        "correct_answers": ["Yes", "Owls see by day"],
        "incorrect_answers": ["No", "They are blind.", ""],
    }
    lists = {key: {"choices": [*TASK[key]], "labels": [*TASK[key].values()]} for key in ("mc1_targets", "mc2_targets")}
    for config, value in (("generation", row), ("multiple_choice", {"question": OWL[2], **lists})):
        (tmp_path / "hub" / config).mkdir(parents=True)
        path = tmp_path / "hub" / config / "validation-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist([value]), path)
    assert only(tmp_path / "hub") == only(tmp_path / "csv")


def test_the_sample_can_be_asked() -> None:
    problems = list(truthfulqa.problems(SAMPLES / "truthfulqa", "mc"))
    assert [p.item for p in problems] == list(truthfulqa.items(SAMPLES / "truthfulqa"))
    for problem in problems:
        labels = problem.more["strict"]
        assert labels.best[0] in labels.true
        assert not {*labels.true} & {*labels.false}
        assert scored(
            problem, *(0.0 if n in labels.true else -9.0 for n in range(len(problem.more["options"])))
        ).values["mc1"]


# the published files


@pytest.mark.real
def test_both_versions_as_published_whole(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "benchmarks/truthfulqa"
    for name in ("TruthfulQA.csv", "mc_task.json"):
        shutil.copy(folder / name, tmp_path / name)
    # questions, options of MC1, options of MC2, true ones; questions in which the csv's labels are others
    for files, version, counts in (
        (folder, "v1", (817, 4186, 6204, 2835, 2)),
        (tmp_path, "v2", (790, 4057, 6045, 2778, 24)),
    ):
        problems = list(truthfulqa.problems(files, "mc"))
        labels: list[truthfulqa.Labels] = [p.more["strict"] for p in problems]
        published: list[truthfulqa.Labels] = [p.more["published"] for p in problems]
        assert counts == (
            len(problems),
            sum(len(x.best) + len(x.rivals) for x in labels),
            sum(len(x.true) + len(x.false) for x in labels),
            sum(len(x.true) for x in labels),
            sum([{*a} for a in x] != [{*b} for b in y] for x, y in zip(labels, published, strict=True)),
        )
        assert all(len(x.best) == 1 for x in labels)
        assert {p.item.id.split("/")[0] for p in problems} == {version}


@pytest.mark.real
def test_a_file_of_the_other_version_does_not_join(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "benchmarks/truthfulqa"
    shutil.copy(folder / "TruthfulQA.csv", tmp_path / "TruthfulQA.csv")
    shutil.copy(folder / "v1/mc_task.json", tmp_path / "mc_task.json")
    with pytest.raises(UserError, match="answers to choose from"):
        list(truthfulqa.problems(tmp_path, "mc"))
