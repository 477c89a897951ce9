"""Items of benchmarks: from published layouts, in whatever folder they lie, and from files that are broken."""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caravan.errors import UserError
from caravan.eval.benchmark import SAMPLES, Item
from caravan.eval.benchmarks import (
    alpaca_eval,
    bbh,
    gsm8k,
    humaneval,
    ifeval,
    jsonl,
    mgsm,
    mmlu,
    toxigen,
    truthfulqa,
    tydiqa,
)
from caravan.plugins import load


def put(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def put_lines(path: Path, *rows: Any) -> Path:
    return put(path, "".join(json.dumps(row) + "\n" for row in rows))


def put_csv(path: Path, *rows: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


# MMLU


def test_mmlu_takes_test_alone_and_keeps_every_cell_as_text(tmp_path: Path) -> None:
    put_csv(
        tmp_path / "data/test/college_physics_test.csv",
        ["Which of these\nis no number?", "None", "007", "1e3", "NaN", "A"],
        ["How many?", "1", "2", "3", "4", "C"],
    )
    put_csv(tmp_path / "data/dev/college_physics_dev.csv", ["An example?", "1", "2", "3", "4", "D"])
    put_csv(tmp_path / "data/val/college_physics_val.csv", ["Another?", "1", "2", "3", "4", "D"])
    put(tmp_path / "data/test/._college_physics_test.csv", b"\x00\x05\x16\x07")  # as archives made on a Mac carry
    assert list(mmlu.items(tmp_path)) == [
        Item(
            "college_physics/test/0",
            "Which of these\nis no number?",
            "None",
            "college_physics",
            ("None", "007", "1e3", "NaN"),
        ),
        Item("college_physics/test/1", "How many?", "3", "college_physics", ("1", "2", "3", "4")),
    ]


def test_mmlu_names_the_record_that_has_no_answer_letter(tmp_path: Path) -> None:
    path = put_csv(tmp_path / "x_test.csv", ["q", "1", "2", "3", "4", "A"], ["q", "1", "2", "3", "4", "5"])
    with pytest.raises(UserError) as caught:
        list(mmlu.items(tmp_path))
    assert caught.value.where == f"{path}:2"


def test_mmlu_from_the_hub_counts_within_each_subject(tmp_path: Path) -> None:
    table = pa.table(
        {
            "question": ["a?", "b?", "c?"],
            "subject": ["virology", "virology", "anatomy"],
            "choices": [["w", "x", "y", "z"]] * 3,
            "answer": [0, 3, 1],
        }
    )
    (tmp_path / "all").mkdir()
    pq.write_table(table, tmp_path / "all/test-00000-of-00001.parquet")
    pq.write_table(table, tmp_path / "all/validation-00000-of-00001.parquet")
    found = [(i.id, i.answer) for i in mmlu.items(tmp_path)]
    assert found == [("virology/test/0", "w"), ("virology/test/1", "z"), ("anatomy/test/0", "x")]


# BBH, TyDi QA, AlpacaEval


def test_bbh_in_a_folder_of_its_own_beside_prompts_and_outputs(tmp_path: Path) -> None:
    task = {"canary": "x", "examples": [{"input": "Is it?", "target": "Yes"}, {"input": "Is it?", "target": "No"}]}
    put(tmp_path / "bbh/navigate.json", json.dumps(task))
    put(tmp_path / "bbh/outputs/some-model/navigate_0.json", json.dumps({"outputs": []}))
    put(tmp_path / "bbh/files.json", json.dumps({"sha": "0"}))
    assert [i.id for i in bbh.items(tmp_path)] == ["navigate/0", "navigate/1"]
    assert {i.group for i in bbh.items(tmp_path)} == {"navigate"}


def squad(question_id: str, answer: str) -> dict[str, Any]:
    qa = {"question": "Wann?", "id": question_id, "answers": [{"text": answer, "answer_start": 0}]}
    return {"data": [{"title": "t", "paragraphs": [{"context": "1903 war es.", "qas": [qa, qa]}]}]}


def test_tydiqa_keeps_own_ids_and_tells_doubles_apart(tmp_path: Path) -> None:
    put(tmp_path / "german_tydiqa_dev.json", json.dumps(squad("german-7-1", "1903")))
    put(tmp_path / "german_tydiqa_train.json", json.dumps(squad("german-8-1", "1903")))
    first, second = tydiqa.items(tmp_path)
    assert (first.id, first.group, first.answer, first.passage) == ("german-7-1", "german", "1903", "1903 war es.")
    assert second.id == "german-7-1#2"


@pytest.mark.parametrize("name", ["tydiqa-goldp-v1.1-dev.json", "tydiqa-goldp-dev-german.json", "dev.json"])
def test_tydiqa_by_its_other_published_names(name: str, tmp_path: Path) -> None:
    put(tmp_path / "tydiqa-goldp-v1.1-dev" / name, json.dumps(squad("german-7-1", "1903")))
    assert len(list(tydiqa.items(tmp_path))) == 2


def test_tydiqa_with_blanked_answers_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "tydiqa.goldp.de.dev.json", json.dumps(squad("german-7-1", "")))
    with pytest.raises(UserError, match="every answer is blank") as caught:
        list(tydiqa.items(tmp_path))
    assert caught.value.where == str(path)


def test_alpaca_eval_from_the_most_complete_model_outputs(tmp_path: Path) -> None:
    rows = [{"dataset": "koala", "instruction": f"Do {n}.", "output": "done", "generator": "m"} for n in range(3)]
    put(tmp_path / "results/a/model_outputs.json", json.dumps(rows[:2]))
    put(tmp_path / "results/b/model_outputs.json", json.dumps(rows))
    assert [(i.id, i.question, i.answer) for i in alpaca_eval.items(tmp_path)] == [
        ("koala/0", "Do 0.", ""),
        ("koala/1", "Do 1.", ""),
        ("koala/2", "Do 2.", ""),
    ]
    put(tmp_path / "alpaca_eval.json", json.dumps([{"instruction": "Do it.", "dataset": "oasst"}]))
    assert [i.id for i in alpaca_eval.items(tmp_path)] == ["oasst/0"]


def test_alpaca_eval_says_which_file_is_broken_and_takes_no_other(tmp_path: Path) -> None:
    put(tmp_path / "results/a/model_outputs.json", json.dumps([{"instruction": "Do it."}]))
    path = put(tmp_path / "alpaca_eval.json", "[{")
    with pytest.raises(UserError) as caught:
        list(alpaca_eval.items(tmp_path))
    assert caught.value.where == str(path)


# GSM8K, MGSM, TruthfulQA


def test_gsm8k_never_reads_train(tmp_path: Path) -> None:
    put_lines(tmp_path / "train.jsonl", {"question": "Train?", "answer": "1\n#### 1"})
    with pytest.raises(UserError, match=r"test\.jsonl"):
        list(gsm8k.items(tmp_path))
    put_lines(tmp_path / "grade_school_math/data/test.jsonl", {"question": "Test?", "answer": "so\n#### 1,024"})
    assert list(gsm8k.items(tmp_path)) == [Item("test/0", "Test?", "1,024")]


def test_a_line_separator_inside_a_question_ends_no_line(tmp_path: Path) -> None:
    put(tmp_path / "test.jsonl", json.dumps({"question": "a\u2028b", "answer": "#### 2"}, ensure_ascii=False) + "\n")
    put(tmp_path / "mgsm_en.tsv", "Has 3\u2028apples?\t1,200\nLast line\t2")
    assert [i.question for i in gsm8k.items(tmp_path)] == ["a\u2028b"]
    assert [(i.id, i.answer) for i in mgsm.items(tmp_path)] == [("en/0", "1,200"), ("en/1", "2")]


def test_mgsm_keeps_quotation_marks_and_refuses_a_third_column(tmp_path: Path) -> None:
    path = put(tmp_path / "mgsm_fr.tsv", '"Combien"?\t3\n"et alors?\t4\n')
    assert [i.question for i in mgsm.items(tmp_path)] == ['"Combien"?', '"et alors?']
    put(path, "a\tb\tc\n")
    with pytest.raises(UserError, match="3 columns"):
        list(mgsm.items(tmp_path))


def test_truthfulqa_prefers_version_one_and_names_the_version_in_ids(tmp_path: Path) -> None:
    old = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
    new = [*old[:4], "Best Incorrect Answer", *old[4:]]
    put_csv(tmp_path / "TruthfulQA.csv", new, ["T", "Law", "New?", "No", "Yes", "No", "Yes", ""])
    assert list(truthfulqa.items(tmp_path)) == [Item("v2/0", "New?", "No", "Law")]
    put_csv(tmp_path / "v1/TruthfulQA.csv", ["\ufeffType", *old[1:]], ["T", "Law", "Old?", "No", "No", "Yes", ""])
    assert list(truthfulqa.items(tmp_path)) == [Item("v1/0", "Old?", "No", "Law")]


# HumanEval, IFEval, ToxiGen


def test_humaneval_plain_and_gzipped(tmp_path: Path) -> None:
    row = {"task_id": "HumanEval/0", "prompt": "def f():\n", "canonical_solution": "    pass\n", "test": ""}
    data = (json.dumps(row) + "\n").encode()
    put(tmp_path / "data/HumanEval.jsonl.gz", gzip.compress(data))
    assert [(i.id, i.question) for i in humaneval.items(tmp_path)] == [("HumanEval/0", "def f():\n")]
    put(tmp_path / "data/HumanEval.jsonl.gz", gzip.compress(data * 50)[:40])
    with pytest.raises(UserError, match="break off"):
        list(humaneval.items(tmp_path))


def test_the_embedded_programs_pass_their_own_tests() -> None:
    for line in (SAMPLES / "humaneval/HumanEval.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        scope: dict[str, Any] = {}
        exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], scope)
        scope["check"](scope[row["entry_point"]])


def test_ifeval_ids_are_the_keys(tmp_path: Path) -> None:
    put_lines(tmp_path / "input_data.jsonl", {"key": 1000, "prompt": "Write."}, {"key": 1000, "prompt": "Again."})
    put_lines(tmp_path / "input_response_data_gpt4.jsonl", {"prompt": "Write.", "response": "I did."})
    assert [(i.id, i.question) for i in ifeval.items(tmp_path)] == [("1000", "Write."), ("1000#2", "Again.")]


def test_toxigen_breaks_lines_at_the_literal_mark(tmp_path: Path) -> None:
    put(tmp_path / "prompts/hate_trans_1k.txt", "- one\\n- two\\n-\n- three\\n-\n")
    put(tmp_path / "prompts/neutral_trans_1k.txt", "- four\n")
    found = [(i.id, i.group, i.question) for i in toxigen.items(tmp_path)]
    assert found == [
        ("hate_trans_1k/0", "trans", "- one\n- two\n-"),
        ("hate_trans_1k/1", "trans", "- three\n-"),
        ("neutral_trans_1k/0", "trans", "- four"),
    ]


# the hub's own copies

HUB: dict[str, tuple[str, dict[str, Any], Item]] = {
    "gsm8k": (
        "main/test-00000-of-00001.parquet",
        {"question": "How many?", "answer": "two\n#### 2"},
        Item("test/0", "How many?", "2"),
    ),
    "humaneval": (
        "openai_humaneval/test-00000-of-00001.parquet",
        {"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": " pass"},
        Item("HumanEval/0", "def f():", " pass"),
    ),
    "truthfulqa": (
        "generation/validation-00000-of-00001.parquet",
        {"type": "Adversarial", "category": "Law", "question": "Old?", "best_answer": "No"},
        Item("v1/0", "Old?", "No", "Law"),
    ),
    "tydiqa": (
        "secondary_task/validation-00000-of-00001.parquet",
        {"id": "finnish-1-0", "context": "1903.", "question": "Milloin?", "answers": {"text": ["1903"]}},
        Item("finnish-1-0", "Milloin?", "1903", "finnish", passage="1903."),
    ),
}


@pytest.mark.parametrize("name", HUB)
def test_parquet_as_on_the_hub(name: str, tmp_path: Path) -> None:
    path, row, item = HUB[name]
    (tmp_path / path).parent.mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / path)
    assert list(load("benchmarks", name).items(tmp_path)) == [item]
    put(tmp_path / path, b"no Parquet at all")
    with pytest.raises(UserError, match="not Parquet"):
        list(load("benchmarks", name).items(tmp_path))


# any JSON Lines


def test_jsonl_takes_the_usual_keys(tmp_path: Path) -> None:
    path = put_lines(
        tmp_path / "mine.jsonl",
        {"id": "a", "question": "q?", "answer": 3},
        {"prompt": "p", "target": "t", "choices": ["x", 2]},
        {"instruction": "i", "input": "more", "output": "o"},
        {"input": "in"},
        {"problem": "solve"},
        {"id": "a", "text": "t"},
    )
    expected = [
        Item("a", "q?", "3"),
        Item("mine:2", "p", "t", choices=("x", "2")),
        Item("mine:3", "i\n\nmore", "o"),
        Item("mine:4", "in"),
        Item("mine:5", "solve"),
        Item("a#2", "t"),
    ]
    assert list(jsonl.items(tmp_path)) == expected
    assert list(jsonl.items(path)) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"answer": "x"}\n', "no question"),
        (b'{"question": 3}\n', "a number, not a string"),
        (b'{"question": "x"\n', "not JSON"),
        (b"[1]\n", "an object was expected"),
        (b'{"question": "caf\xe9"}\n', "not UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b'{"question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deeply"),
    ],
)
def test_a_broken_line_is_named(data: bytes, says: str, tmp_path: Path) -> None:
    path = put(tmp_path / "mine.jsonl", data)
    with pytest.raises(UserError, match=says) as caught:
        list(jsonl.items(tmp_path))
    assert caught.value.where.startswith(str(path))
    assert caught.value.fix


def test_a_folder_that_is_missing() -> None:
    with pytest.raises(UserError, match="no such folder"):
        list(gsm8k.items(Path("no/such/folder")))


# real files; numbers from an independent count of the published data

COUNTS = {
    "alpaca_eval": 805,
    "bbh": 6511,
    "gsm8k": 1319,
    "humaneval": 164,
    "ifeval": 541,
    "mgsm": 2750,
    "mmlu": 14042,
    "truthfulqa": 817,
    "tydiqa": 5077,
}


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_counts(name: str, count: int, real_data: Path) -> None:
    items = list(load("benchmarks", name).items(real_data / "benchmarks" / name))
    assert len(items) == count
    assert len({item.id for item in items}) == count
    assert all(item.question.strip() for item in items)


@pytest.mark.real
def test_mmlu_as_published(real_data: Path) -> None:
    items = list(mmlu.items(real_data / "benchmarks/mmlu"))
    assert len({i.group for i in items}) == 57
    assert sum(c.strip().lower() == "none" for i in items for c in i.choices) == 11
    assert sum("\n" in i.question or any("\n" in c for c in i.choices) for i in items) == 1127
    assert sum(len(i.choices) != len({c.strip() for c in i.choices}) for i in items) == 9


@pytest.mark.real
def test_tydiqa_bbh_and_mgsm_by_group(real_data: Path) -> None:
    folder = real_data / "benchmarks"
    languages = Counter(i.group for i in tydiqa.items(folder / "tydiqa"))
    assert languages == {
        "arabic": 921,
        "bengali": 113,
        "english": 440,
        "finnish": 782,
        "indonesian": 565,
        "korean": 276,
        "russian": 812,
        "swahili": 499,
        "telugu": 669,
    }
    tasks = Counter(i.group for i in bbh.items(folder / "bbh"))
    assert len(tasks) == 27
    small = {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}
    assert {task: n for task, n in tasks.items() if n != 250} == small
    assert set(Counter(i.group for i in mgsm.items(folder / "mgsm")).values()) == {250}
    sources = Counter(i.group for i in alpaca_eval.items(folder / "alpaca_eval"))
    assert sources == {"selfinstruct": 252, "oasst": 188, "koala": 156, "helpful_base": 129, "vicuna": 80}


@pytest.mark.real
def test_mgsm_in_english_is_the_head_of_gsm8k(real_data: Path) -> None:
    first = list(gsm8k.items(real_data / "benchmarks/gsm8k"))[:250]
    english = [i for i in mgsm.items(real_data / "benchmarks/mgsm") if i.group == "en"]
    assert [(i.question, i.answer) for i in english] == [(i.question, i.answer) for i in first]


@pytest.mark.real
def test_the_blanked_copy_and_the_update(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every answer is blank"):
        list(tydiqa.items(real_data / "benchmarks/tydiqa/xtreme"))
    update = (real_data / "benchmarks/truthfulqa/TruthfulQA.csv").read_bytes()
    put(tmp_path / "TruthfulQA.csv", update)
    assert len(list(truthfulqa.items(tmp_path))) == 790
