"""GSM8K: prompts, three protocols, published solutions, and numbers as people write them."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Item, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import gsm8k
from caravan.eval.scoring.numbers import numbers, only_number


def problem(gold: str, question: str = "How many?", own_id: str = "test/0") -> Problem:
    return Problem(Item(own_id, question, gold), (gold,))


def verdict(gold: str, said: str, protocol: Rules = "strict") -> Verdict:
    return gsm8k.score(problem(gold), [Answer(said)], Setting("8-shot", protocol))


def worth(gold: str, said: str, protocol: Rules = "strict") -> float:
    return verdict(gold, said, protocol).values["accuracy"]


# Prompts


def test_examples_from_train_are_rewritten_by_rule() -> None:
    one = next(gsm8k.problems(SAMPLES / "gsm8k", "8-shot"))
    assert len(one.shots) == 8
    text = gsm8k.ask(one, Setting("8-shot", "tulu")).text
    assert text.startswith("Answer the following questions.\n\nQuestion: A tram has 5 carriages")
    assert "\nAnswer: The tram has 5*32=160 seats. 160-117=43 seats are free. So the answer is 43.\n\nQuestion:" in text
    assert text.endswith("\n\nQuestion: " + one.item.question)
    assert "<<" not in text
    assert "####" not in text
    assert gsm8k.ask(one, Setting("8-shot", "original")).text.count("\n#### ") == 8
    (note,) = gsm8k.notes(SAMPLES / "gsm8k", "8-shot")
    assert "not the published ones" in note


def test_published_demonstrations_are_read_where_they_lie(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"question": "How many?", "answer": "#### 3"}])
    first = "Question: Two and two?\r\nAnswer: 2 + 2 = 4. So the answer is 4.\r\n"
    second = "Question: Five?\r\nAnswer: So the answer is 5.\r\n"
    (tmp_path / "demonstrations.txt").write_bytes(f"{first}\r\n{second}".encode())
    (one,) = gsm8k.problems(tmp_path, "8-shot")
    asked = gsm8k.ask(one, Setting("8-shot", "tulu"))
    assert asked.text == (
        "Answer the following questions.\n\n"
        "Question: Two and two?\nAnswer: 2 + 2 = 4. So the answer is 4.\n\n"
        "Question: Five?\nAnswer: So the answer is 5.\n\n"
        "Question: How many?"
    )
    assert (asked.ending, asked.opener, asked.stop, asked.chat_stop) == ("\nAnswer:", "Answer:", ("\n",), ())
    assert gsm8k.notes(tmp_path, "8-shot") == []


def test_examples_that_are_missing_or_broken_are_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"question": "How many?", "answer": "#### 3"}])
    with pytest.raises(UserError, match=r"no examples.*gsm8k:0-shot"):
        list(gsm8k.problems(tmp_path, "8-shot"))
    (one,) = gsm8k.problems(tmp_path, "0-shot")
    assert gsm8k.ask(one, Setting("0-shot")).text == "Answer the following question.\n\nQuestion: How many?"
    (tmp_path / "demonstrations.txt").write_text("Question: Two?\nAnswer: So the answer is 2.\n\nSomething else")
    with pytest.raises(UserError, match=r"demonstrations\.txt: block 2 is no example"):
        list(gsm8k.problems(tmp_path, "8-shot"))


def test_an_answer_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"question": "How many?", "answer": "#### many"}])
    with pytest.raises(UserError, match="the answer of test/0 is no number"):
        list(gsm8k.problems(tmp_path, "0-shot"))


# Protocols


@pytest.mark.parametrize(
    ("gold", "said", "tulu", "strict"),
    [
        ("18", "So the answer is 18.", 1.0, 1.0),
        ("18", "So the answer is $18.00.", 0.0, 1.0),  # "18.00" becomes 1800
        ("15", "So the answer is 1.5.", 1.0, 0.0),
        ("-8", "So the answer is 8.", 1.0, 0.0),  # the sign is lost on integers
        ("8", "So the answer is -8.", 1.0, 0.0),
        ("15", "So the answer is 1,5", 1.0, 0.0),  # any comma between digits goes
        ("1,416", "So the answer is 1,416.", 1.0, 1.0),
        ("1416", "So the answer is 1,416 cars.", 1.0, 1.0),
        ("18", "So the answer is 18. She needs 2 days.", 0.0, 1.0),
        ("123", "1,2,3", 0.0, 0.0),  # commas are taken out pairwise: "12,3"
    ],
)
def test_published_faults(gold: str, said: str, tulu: float, strict: float) -> None:
    assert worth(gold, said, "tulu") == tulu
    assert worth(gold, said, "strict") == strict


def test_original_wants_its_mark_and_the_same_signs() -> None:
    assert worth("1416", "It is so.\n#### 1,416", "original") == 1.0
    assert worth("18", "It is so.\n#### 18.00", "original") == 0.0
    assert worth("18", "A: 3\nNo.\nA: 18\n", "original") == 1.0
    assert worth("18", "#### 18\n#### 19", "original") == 1.0
    assert verdict("18", "So the answer is 18.", "original").status == "unextractable"


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("18", "She has 20 - 2 = 18 eggs."),
        ("18", "The answer is: 3 * 6 = $18."),
        ("18", "The final answer is $\\boxed{18}$"),
        ("18", "**Answer:** 18 eggs, for 3 days"),
        ("18", "Answer: first 3 + 3 = 6 eggs. Then 6 * 3 = 18 eggs."),
        ("18", "The answer is 18. I hope that this answer is helpful."),
        ("18", "The answer is that she has 18 left."),
        ("18", "#### 18"),
        ("-8", "The answer is −8 degrees."),
        ("50", "The answer is 50%."),
        ("1416", "The answer is \\$1{,}416."),
    ],
)
def test_strict_reads(gold: str, said: str) -> None:
    assert worth(gold, said) == 1.0


@pytest.mark.parametrize("said", ["I do not know.", "She has 18 eggs, so the answer is", "The answer is eighteen."])
def test_no_number_is_unextractable(said: str) -> None:
    assert verdict("18", said) == Verdict("unextractable", {"accuracy": 0.0}, rule=verdict("18", said).rule)
    assert "no number" in verdict("18", said).rule


def test_failed_and_empty_answers() -> None:
    for rules in RULES:
        setting = Setting("8-shot", rules)
        assert gsm8k.score(problem("1"), [Answer(ended="failed", error="x")], setting).status == "failed"
    statuses = {rules: verdict("1", " ", rules).status for rules in RULES}
    assert statuses == {"strict": "empty", "tulu": "unextractable", "original": "unextractable"}


@given(st.text(max_size=60), st.sampled_from(RULES))
def test_any_text_gets_a_verdict(said: str, protocol: Rules) -> None:
    assert verdict("18", said, protocol).status in ("scored", "unextractable", "empty")


# Numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$1,234.50", ["2469/2"]),
        ("-$8 or $-8", ["-8", "-8"]),
        ("4-12=-8", ["4", "12", "-8"]),
        ("1,2,3", ["1", "2", "3"]),
        ("3.5,4.5", ["7/2", "9/2"]),
        ("3/4, 2 1/2, 1½, \\frac{1}{3}", ["3/4", "5/2", "3/2", "1/3"]),
        ("01/02/2003", ["1", "2", "2003"]),
        ("১২ १,००,००० ๓ ٣٫٥ １２", ["12", "100000", "3", "7/2", "12"]),
        ("1\u00a0000\u202f000", ["1", "0", "0"]),
        ("1\u00a0000\u00a0000", ["1000000"]),
        ("2²", ["2"]),
        ("1/0", []),
        ("9" * 61, []),
        ("...5 v1.2.3", ["5", "1", "2", "3"]),
        ("- 3 apples", ["3"]),
    ],
)
def test_numbers_as_people_write_them(text: str, found: list[str]) -> None:
    assert [str(value) for _, value in numbers(text)] == found


@given(st.integers(-(10**15), 10**15), st.booleans())
def test_integers_come_back(value: int, grouped: bool) -> None:
    written = f"{value:,}" if grouped else str(value)
    assert only_number(written) == value
    assert numbers(f"It is {written}.")[0][1] == value


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=3))
def test_decimals_come_back(value: Any) -> None:
    assert only_number(f"{value:,f}") == Fraction(value)
    written = f"{value:,f}".translate(str.maketrans(",.", ".,"))
    if len(f"{abs(int(value))}") > 3 or abs(value) < 1:  # "2,125" alone is 2125 there
        assert only_number(written, comma=True) == Fraction(value)


# Stored solutions


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


SOLUTIONS = [
    {
        "question": "How many?",
        "ground_truth": "It is so.\nA: 1,416",
        "small": {"is_correct": "True", "solution": "So\nA: 1416"},
        "large": {"is_correct": False, "solution": "So\nA: 7"},
    },
    {
        "question": "How few?",
        "ground_truth": "It is so.\n#### 2",
        "small": {"is_correct": True, "solution": "So"},
    },
]


def test_solutions_of_any_models_stand_alone(tmp_path: Path) -> None:
    found = gsm8k.stored(write_rows(tmp_path / "s.jsonl", SOLUTIONS), None)
    assert found is not None
    assert [(r.problem.item.id, r.model, r.problem.item.answer, r.claimed) for r in found.rows] == [
        ("test/0", "small", "1416", 1.0),
        ("test/1", "small", "2", 1.0),
        ("test/0", "large", "1416", 0.0),
        ("test/1", "large", "2", None),
    ]
    verdicts = [gsm8k.score(r.problem, r.answers, Setting("8-shot", "original")) for r in found.rows]
    assert [v.values.get("accuracy") for v in verdicts] == [1.0, 0.0, 0.0, None]
    assert [v.status for v in verdicts] == ["scored", "unextractable", "scored", "failed"]


def test_solutions_are_joined_to_the_benchmark_by_question(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "s.jsonl", SOLUTIONS)
    own = [problem("2", "How few?", "test/7")]
    found = gsm8k.stored(path, lambda: own)
    assert found is not None
    assert [r.problem.item.id for r in found.rows] == ["test/7", "test/7"]
    assert found.notes == ["1 questions are none of the benchmark's: not scored"]
    with pytest.raises(UserError, match=r"s\.jsonl:2: the answer is '2', that of test/7 is '3'"):
        gsm8k.stored(path, lambda: [problem("3", "How few?", "test/7")])
    write_rows(path, [SOLUTIONS[1], SOLUTIONS[1]])
    with pytest.raises(UserError, match=r"s\.jsonl:2: the question of .*s\.jsonl:1 again"):
        gsm8k.stored(path, lambda: own)


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    assert gsm8k.stored(write_rows(tmp_path / "a.jsonl", [{"id": "test/0", "output": "18"}]), None) is None
    assert gsm8k.stored(write_rows(tmp_path / "b.jsonl", []), None) is None
    assert gsm8k.stored(tmp_path, None) is None


@pytest.mark.real
def test_flags_of_all_rows_of_all_published_models(real_data: Path) -> None:
    folder = real_data / "benchmarks" / "gsm8k"
    own = list(gsm8k.problems(folder, "8-shot"))
    for problems in (None, lambda: own):
        found = gsm8k.stored(folder / "example_model_solutions.jsonl", problems)
        assert found is not None
        right: dict[Rules, Counter[str]] = {rules: Counter() for rules in RULES}
        for row in found.rows:
            for rules in RULES:
                value = gsm8k.score(row.problem, row.answers, Setting("8-shot", rules)).values["accuracy"]
                right[rules][row.model] += int(value)
                if rules == "original":
                    assert value == row.claimed
        assert Counter(r.model for r in found.rows) == dict.fromkeys(right["original"], 1319)
        counted = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}
        assert right["original"] == right["strict"] == counted
        assert right["tulu"] == counted | {"6b_finetuning": 292, "175b_finetuning": 463}


@pytest.mark.real
def test_what_only_tulu_counts_as_right(real_data: Path) -> None:
    """Eleven verdicts of 5,276: a sign lost on an integer, or a point lost."""
    found = gsm8k.stored(real_data / "benchmarks" / "gsm8k" / "example_model_solutions.jsonl", None)
    assert found is not None
    why = Counter[str]()
    for row in found.rows:
        tulu, strict = (gsm8k.score(row.problem, row.answers, Setting("8-shot", r)) for r in ("tulu", "strict"))
        if tulu.values != strict.values:
            read, gold = Fraction(strict.extracted), Fraction(row.problem.item.answer.replace(",", ""))
            why["sign" if read == -gold else "point" if "." in tulu.extracted else "other"] += 1
    assert why == {"sign": 8, "point": 3}


@pytest.mark.real
def test_every_real_answer_is_read_by_every_protocol(real_data: Path) -> None:
    folder = real_data / "benchmarks" / "gsm8k"
    own = list(gsm8k.problems(folder, "8-shot"))
    assert len(own) == 1319
    assert len(own[0].shots) == 8
    for one in own:
        assert worth(one.item.answer, f"So the answer is {one.item.answer}.") == 1.0
        assert worth(one.item.answer, f"So the answer is {one.item.answer}.", "tulu") == 1.0
        assert worth(one.item.answer, f"So\n#### {one.item.answer}", "original") == 1.0
