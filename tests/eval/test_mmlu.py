"""MMLU: the prompts of the three protocols, the letter that counts, and what is known of the real files."""

import csv
import math
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Item, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import mmlu
from caravan.eval.scoring.mmlu_subjects import CATEGORIES, CATEGORY_OF, FIELD_OF, FIELDS

Cells = tuple[str, str, str, str, str, str]

TIDE: Cells = ("What raises the tide?", "The Moon", "Wind", "None", "Fish", "A")
ROCK: Cells = ("Which rock is light?", "Slate", "Pumice", "Marble", "none", "B")


def put(folder: Path, split: str, subject: str, *rows: Cells) -> None:
    (folder / split).mkdir(parents=True, exist_ok=True)
    with (folder / split / f"{subject}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)


def only(folder: Path, variant: str = "0-shot") -> Problem:
    (problem,) = mmlu.problems(folder, variant)
    return problem


def scored(
    problem: Problem, protocol: Rules = "strict", *, text: str = "", logprobs: tuple[float, ...] = ()
) -> Verdict:
    return mmlu.score(problem, [Answer(text, logprobs)], Setting("0-shot", protocol))


SEA = Problem(Item("x/test/0", "Q?", "b", "x", ("a", "b", "c", "d")), ("B",))


# prompts


def test_the_published_prompt_to_the_letter(tmp_path: Path) -> None:
    put(tmp_path, "test", "earth_science", TIDE)
    put(tmp_path, "dev", "earth_science", ROCK, ROCK)
    problem = only(tmp_path, "5-shot")
    ask = mmlu.ask(problem, Setting("5-shot", "tulu"))
    rock = "Which rock is light?\nA. Slate\nB. Pumice\nC. Marble\nD. none\nAnswer: B\n\n"
    assert ask.text == (
        "The following are multiple choice questions (with answers) about  earth science.\n\n"
        + rock * 2
        + "What raises the tide?\nA. The Moon\nB. Wind\nC. nan\nD. Fish\nAnswer:"
    )
    assert (ask.ending, ask.opener) == ("", "The answer is:")
    assert ask.choices == (" A", " B", " C", " D")
    assert ask.new_tokens == 0


def test_none_is_nan_by_tulu_alone_and_only_as_pandas_has_it(tmp_path: Path) -> None:
    put(tmp_path, "test", "logic", ("None", "NA", " None", "007", "nan", "D"))
    problem = only(tmp_path)
    body = {rules: mmlu.ask(problem, Setting("0-shot", rules)).text.split("\n\n", 1)[1] for rules in RULES}
    assert body["tulu"] == "nan\nA. nan\nB.  None\nC. 007\nD. nan\nAnswer:"
    assert body["strict"] == body["original"] == "None\nA. NA\nB.  None\nC. 007\nD. nan\nAnswer:"
    assert problem.item.choices == ("NA", " None", "007", "nan")


def test_one_space_before_the_subject_by_strict_and_two_by_the_others(tmp_path: Path) -> None:
    put(tmp_path, "test", "us_law", TIDE)
    header = {rules: mmlu.ask(only(tmp_path), Setting("0-shot", rules)).text.split("\n")[0] for rules in RULES}
    assert header["strict"].endswith("about us law.")
    assert header["tulu"] == header["original"]
    assert header["tulu"].endswith("about  us law.")


def test_the_first_five_of_dev_are_shown_and_val_is_not(tmp_path: Path) -> None:
    put(tmp_path, "test", "geology", TIDE)
    put(tmp_path, "val", "geology", TIDE)
    put(tmp_path, "dev", "geology", *[(f"Number {n}?", "a", "b", "c", "d", "C") for n in range(7)])
    shots = only(tmp_path, "5-shot").shots
    assert [s.item.id for s in shots] == [f"geology/dev/{n}" for n in range(5)]
    assert only(tmp_path, "0-shot").shots == ()


def test_a_subject_without_examples_is_named(tmp_path: Path) -> None:
    put(tmp_path, "test", "geology", TIDE)
    with pytest.raises(UserError, match="mmlu:0-shot"):
        list(mmlu.problems(tmp_path, "5-shot"))
    put(tmp_path, "dev", "anatomy", ROCK)
    with pytest.raises(UserError, match="no dev examples of geology") as caught:
        list(mmlu.problems(tmp_path, "5-shot"))
    assert "mmlu:0-shot" in caught.value.fix
    assert len(list(mmlu.problems(tmp_path, "0-shot"))) == 1


@pytest.mark.parametrize("letter", ["", "E", "AB", "a"])
def test_a_row_without_an_answer_letter_is_refused(letter: str, tmp_path: Path) -> None:
    put(tmp_path, "test", "geology", TIDE, (*ROCK[:5], letter))
    with pytest.raises(UserError, match="one of A, B, C, D") as caught:
        list(mmlu.items(tmp_path))
    assert caught.value.where.endswith("geology_test.csv:2")


def test_two_options_of_one_text_keep_the_letter_of_the_file(tmp_path: Path) -> None:
    put(tmp_path, "test", "geology", ("Which?", "same", "same", "same", "other", "C"))
    assert only(tmp_path).golds == ("C",)


def test_the_hub_s_files_give_the_same_problems(tmp_path: Path) -> None:
    put(tmp_path / "csv", "test", "geology", TIDE, ROCK)
    put(tmp_path / "csv", "dev", "geology", ROCK)
    (tmp_path / "hub/all").mkdir(parents=True)
    for split, rows in (("test", [TIDE, ROCK]), ("dev", [ROCK])):
        table = [
            {"question": q, "subject": "geology", "choices": cells[:4], "answer": "ABCD".index(cells[4])}
            for q, *cells in rows
        ]
        pq.write_table(pa.Table.from_pylist(table), tmp_path / f"hub/all/{split}-00000-of-00001.parquet")
    assert list(mmlu.problems(tmp_path / "hub", "5-shot")) == list(mmlu.problems(tmp_path / "csv", "5-shot"))


def test_questions_about_one_passage_are_a_cluster(tmp_path: Path) -> None:
    passage = "This question refers to the following letter. " + "The harbour was quiet that year. " * 12
    other = "This question refers to the following speech. " + "Let us mend the roads first. " * 12

    def row(question: str) -> Cells:
        return (question, "a", "b", "c", "d", "A")

    put(
        tmp_path,
        "test",
        "history",
        *map(row, [f"{passage}\n\nWho wrote?", "Alone?", f"{passage}\n\nWhen?", f"{other} Where?", "Twice?", "Twice?"]),
    )
    put(tmp_path, "test", "law", row(f"{passage}\n\nWho wrote?"))
    clusters = [p.cluster for p in mmlu.problems(tmp_path, "0-shot")]
    assert clusters == ["history/test/0", "", "history/test/0", "", "history/test/4", "history/test/4", ""]


# scores of log-probabilities


@pytest.mark.parametrize("protocol", RULES)
def test_the_likeliest_letter_counts_and_of_equal_ones_the_first(protocol: Rules) -> None:
    assert scored(SEA, protocol, logprobs=(-2.0, -1.0, -3.0, -4.0)) == Verdict(
        "scored", {"accuracy": 1.0}, "B", "the likeliest letter"
    )
    tied = scored(SEA, protocol, logprobs=(-1.0, -1.0, -3.0, -4.0))
    assert (tied.values, tied.extracted) == ({"accuracy": 0.0}, "A")
    assert "first" in tied.rule
    assert scored(SEA, protocol, logprobs=(-math.inf, -1e300, -math.inf, -math.inf)).extracted == "B"


def test_no_probability_at_all_is_a_by_the_published_argmax_and_no_answer_by_strict() -> None:
    nothing = (-math.inf,) * 4
    assert scored(SEA, "tulu", logprobs=nothing).extracted == "A"
    strict = scored(SEA, "strict", logprobs=nothing)
    assert (strict.status, strict.values) == ("unextractable", {"accuracy": 0.0})


@pytest.mark.parametrize("logprobs", [(-1.0, -2.0, -3.0), (-1.0, math.nan, -2.0, -3.0), (-1.0,) * 5])
def test_what_are_not_four_log_probabilities_is_a_failure(logprobs: tuple[float, ...]) -> None:
    verdict = scored(SEA, logprobs=logprobs)
    assert (verdict.status, dict(verdict.values)) == ("failed", {})


@pytest.mark.parametrize("protocol", RULES)
def test_a_failed_generation_is_never_a_wrong_answer(protocol: Rules) -> None:
    answer = Answer("B", ended="failed", error="timeout")
    assert mmlu.score(SEA, [answer], Setting("0-shot", protocol)) == Verdict("failed", rule="no answer came")


# scores of texts


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        (" B.\n", "B"),
        ("**B**", "B"),
        ("B. Pumice", "B"),
        ("B) Pumice", "B"),
        ("B\nbecause it floats", "B"),
        ("(B) Pumice", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B", "B"),
        ("The correct answer is: B, since A dog cannot fly.", "B"),
        ("I would choose option C here.", "C"),
        ("Answer: **D**", "D"),
        ("So it must be $\\boxed{\\text{A}}$", "A"),
        ("Pumice floats. Therefore (B).", "B"),
        ("The answer is (B) Pumice. So the answer is B.", "B"),
        ("A or B", ""),
        ("(A) or (B)", ""),
        ("The answer is A. No: the answer is B.", ""),
        ("B. Pumice, although the answer is (C)", ""),
        ("A stone that floats", ""),
        ("a", "A"),
        ("The answer is a stone", ""),
        ("The answer is Basalt", ""),
        ("E", ""),
        ("Pumice", ""),
        ("...", ""),
        ("I don't know", ""),
    ],
)
def test_one_marked_letter_is_the_answer_of_a_text(said: str, letter: str) -> None:
    assert mmlu.answer_letter(said)[0] == letter


def test_a_text_by_strict_by_original_and_by_the_published_code() -> None:
    for said, strict, tulu in [
        ("B", 1.0, 1.0),
        (" B\n", 1.0, 1.0),
        ("(B)", 1.0, 0.0),
        ("The answer is (B).", 1.0, 0.0),
        ("C", 0.0, 0.0),
        ("BB", 0.0, 0.0),
    ]:
        assert scored(SEA, "strict", text=said).values == {"accuracy": strict}
        assert scored(SEA, "original", text=said) == scored(SEA, "strict", text=said)
        assert scored(SEA, "tulu", text=said).values == {"accuracy": tulu}
    several = scored(SEA, "strict", text="Either (A) or (B).")
    assert (several.status, several.extracted, several.rule) == ("unextractable", "", "several letters marked: A, B")
    assert scored(SEA, "tulu", text="(B)").status == "unextractable"


@pytest.mark.parametrize("said", ["", " \n\t"])
def test_an_empty_text_is_an_error_class_of_its_own(said: str) -> None:
    assert scored(SEA, "strict", text=said) == Verdict("empty", rule="an empty answer")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_gives_one_letter_or_none(said: str) -> None:
    letter, rule = mmlu.answer_letter(said)
    assert letter in ("", "A", "B", "C", "D")
    assert rule
    assert letter == "" or letter in said.upper()


# reports


def test_57_subjects_in_17_fields_and_4_categories() -> None:
    assert len(FIELD_OF) == len(CATEGORY_OF) == 57
    assert sorted(f for fields in CATEGORIES.values() for f in fields) == sorted(FIELDS)
    assert Counter(CATEGORY_OF.values()) == {
        "STEM": 18,
        "humanities": 13,
        "social sciences": 12,
        "other (business, health, misc.)": 14,
    }
    assert mmlu.category("anatomy") == "other (business, health, misc.)"
    assert mmlu.category("my_own_subject") == "no category"


def test_published_figures_pool_items_and_leave_failures_out() -> None:
    def one(subject: str, value: float | None) -> tuple[Problem, Verdict]:
        verdict = Verdict("failed") if value is None else Verdict("scored", {"accuracy": value})
        return Problem(Item("i", "q", group=subject)), verdict

    found = mmlu.published(
        [one("virology", 1), one("virology", 0), one("marketing", 1), one("anatomy", None), one("jurisprudence", 0)]
    )
    assert found == {
        "average_acc": 0.5,
        "subcat_acc": {"business": 1.0, "health": 0.5, "law": 0.0},
        "cat_acc": {"humanities": 0.0, "other (business, health, misc.)": 2 / 3},
    }
    assert mmlu.published([]) == {"subcat_acc": {}, "cat_acc": {}}


def test_the_sample_has_examples_and_a_none() -> None:
    problems = list(mmlu.problems(SAMPLES / "mmlu", "5-shot"))
    assert [p.item for p in problems] == list(mmlu.items(SAMPLES / "mmlu"))
    assert all(len(p.shots) == 5 for p in problems)
    assert {s.golds[0] for p in problems for s in p.shots} == {"A", "B", "C", "D"}
    differing = [
        p
        for p in problems
        if mmlu.ask(p, Setting("5-shot", "tulu")).text != mmlu.ask(p, Setting("5-shot", "original")).text
    ]
    assert len(differing) == 1


# the published files


@pytest.mark.real
def test_mmlu_as_published_whole(real_data: Path) -> None:
    problems = list(mmlu.problems(real_data / "benchmarks/mmlu", "5-shot"))
    assert len(problems) == 14042
    assert Counter(p.golds[0] for p in problems) == {"A": 3222, "B": 3462, "C": 3582, "D": 3776}
    assert all(len(p.shots) == 5 for p in problems)
    nan = [
        p.item.group
        for p in problems
        if mmlu.ask(p, Setting("5-shot", "tulu")).text != mmlu.ask(p, Setting("5-shot", "original")).text
    ]
    assert len(nan) == 10
    assert len(set(nan)) == 4
    clusters = Counter((p.item.group, p.cluster) for p in problems if p.cluster)
    assert (len(clusters), clusters.total()) == (281, 786)
    history = Counter(subject for subject, _ in clusters if subject.endswith("_history"))
    assert history == {
        "high_school_european_history": 57,
        "high_school_us_history": 63,
        "high_school_world_history": 72,
    }
    assert not any(p.cluster for p in problems if p.item.group == "moral_scenarios")
    assert Counter(mmlu.category(p.item.group) for p in problems) == {
        "STEM": 3018,
        "humanities": 4705,
        "social sciences": 3077,
        "other (business, health, misc.)": 3242,
    }


@pytest.mark.real
def test_the_first_git_version_has_no_examples(real_data: Path) -> None:
    folder = real_data / "benchmarks/mmlu_git2020"
    with pytest.raises(UserError, match="mmlu:0-shot"):
        list(mmlu.problems(folder, "5-shot"))
    assert all(not p.shots for p in mmlu.problems(folder, "0-shot"))
