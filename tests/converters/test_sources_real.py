"""Real files of alpaca and the like: rows, examples, refusals; golden numbers, or numbers counted from the JSON."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caravan.converters.pairs import is_no_input
from caravan.converters.schema import MESSAGES, Converted, RawRow, Rejected, to_json
from caravan.plugins import find, load

pytestmark = pytest.mark.real

NO_INPUT = re.compile(
    r"\W*(no ?input|noinput|none|n/?a|nil|null|empty|not applicable|no input (required|needed|provided))\W*",
    re.IGNORECASE,
)
Codes = dict[str, int]


def load_rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line.strip()]
    )
    return found


def run(converter: str, path: Path, **options: object) -> tuple[list[Converted], list[Rejected]]:
    module = load("converters", converter)
    settings = module.Options.model_validate(options)
    made: list[Converted | Rejected] = []
    for number, row in enumerate(load_rows(path), 1):
        results = list(module.convert([RawRow(number, row)], settings))
        assert results
        assert all(result.rows == (number,) for result in results)
        made += results
    examples = [m for m in made if isinstance(m, Converted)]
    for example in examples:
        MESSAGES.validate_python(example.messages, strict=True)
    return examples, [m for m in made if isinstance(m, Rejected)]


# fmt: off
FILES: list[tuple[str, str, int, int, Codes]] = [
    # converter, file, rows, examples, refusals
    ("alpaca", "alpaca/alpagasus_random_9k.json", 9229, 9211, {"no_output_marker": 14, "empty_response": 4}),
    ("alpaca", "alpaca/codealpaca_new.json", 4535, 4535, {}),
    ("alpaca", "alpaca/code_alpaca_2k.json", 2017, 2015, {"empty_response": 2}),
    ("alpaca", "alpaca/gpteacher_roleplay.json", 1923, 1923, {}),
    ("alpaca", "alpaca/llamafactory_alpaca_en_demo.json", 999, 999, {}),
    ("alpaca", "alpaca/alpaca_chinese_part_18.json", 1000, 2000, {}),
    ("alpaca_cot", "alpaca/alpaca_cot_aqua_train.json", 2728, 2728, {}),
    ("alpaca_cot", "alpaca/alpaca_cot_strategyqa_train.json", 2061, 2061, {}),
    ("alpaca_cot", "alpaca/alpaca_cot_qasc_train.json", 1084, 1084, {}),
    ("dolly", "dolly/alpagasus_dolly_3k.json", 2996, 2996, {}),
    ("dolly", "dolly/global_test.json", 80, 80, {}),
    ("self_instruct", "self_instruct/seed_tasks.jsonl", 175, 175, {}),
    ("self_instruct", "self_instruct/user_oriented_instructions.jsonl", 252, 252, {}),
    ("self_instruct", "self_instruct/gpteacher_code_seed_tasks.jsonl", 21, 21, {}),
    ("unnatural", "unnatural/uinst_valid_converted.jsonl", 1050, 1050, {}),
    ("lima", "messages/lima_llamafactory.json", 1029, 1029, {}),
    ("messages", "messages/open_instruct_sft_sample.jsonl", 100, 100, {}),
    ("messages", "messages/llamafactory_v1_sft_demo.jsonl", 500, 500, {}),
    ("messages", "messages/llamafactory_reason_tool_use_50.jsonl", 50, 50, {}),
    ("messages", "oasst/vigogne_fr_1k.jsonl", 1183, 0, {"unknown_role:UTILISATEUR": 1183}),
]
# fmt: on


@pytest.mark.parametrize(("converter", "file", "rows", "examples", "codes"), FILES, ids=[f[1] for f in FILES])
def test_rows_examples_and_refusals(
    real_data: Path, converter: str, file: str, rows: int, examples: int, codes: Codes
) -> None:
    assert len(load_rows(real_data / file)) == rows
    made, refused = run(converter, real_data / file)
    assert (len(made), Counter(r.code for r in refused)) == (examples, codes)


@pytest.mark.parametrize(("converter", "file"), [f[:2] for f in FILES], ids=[f[1] for f in FILES])
def test_each_file_is_guessed(real_data: Path, converter: str, file: str) -> None:
    sample = load_rows(real_data / file)[:20]
    sure = {n: load("converters", n).matches(sample, Path(file).name).confidence for n in find("converters")}
    assert max(sure, key=lambda name: sure[name]) == converter
    assert sorted(sure.values())[-2] < sure[converter]


@pytest.mark.parametrize(("file", "count"), [("alpagasus_random_9k", 131), ("llamafactory_alpaca_en_demo", 8)])
def test_spellings_of_no_input(real_data: Path, file: str, count: int) -> None:
    path = real_data / "alpaca" / f"{file}.json"
    rows = load_rows(path)
    expected = [n for n, r in enumerate(rows, 1) if NO_INPUT.fullmatch(r["input"].strip())]
    assert len(expected) == count
    assert [n for n, r in enumerate(rows, 1) if is_no_input(r["input"])] == expected
    made, refused = run("alpaca", path)
    tagged = [(m.rows or ())[0] for m in made if "no_input" in m.tags]
    assert tagged == [n for n in expected if (n,) not in [r.rows for r in refused]]


def test_instruction_and_input_are_found_again(real_data: Path) -> None:
    path = real_data / "alpaca" / "alpagasus_random_9k.json"
    rows = load_rows(path)
    for made in run("alpaca", path)[0]:
        raw = rows[(made.rows or (0,))[0] - 1]
        for place in made.fields:
            content = made.messages[place["message"]]["content"]
            assert content[place["start"] : place["end"]] == raw[place["name"]]
        asked = [raw["instruction"]] + [raw["input"]] * bool(raw["input"].strip() and "no_input" not in made.tags)
        assert made.messages[0]["content"] == "\n\n".join(asked)


def test_one_language_of_the_bilingual_file(real_data: Path) -> None:
    path = real_data / "alpaca" / "alpaca_chinese_part_18.json"
    made = run("alpaca", path, language_prefix="zh")[0]
    assert [m.messages[1]["content"] for m in made] == [r["zh_output"] for r in load_rows(path)]


def test_dolly_has_all_its_rows_and_loses_its_citation_marks(real_data: Path) -> None:
    paths = [
        *(real_data / "dolly" / f"partition_{n}.json" for n in range(10)),
        real_data / "dolly" / "global_test.json",
    ]
    rows = [row for path in paths for row in load_rows(path)]
    made = [m for path in paths for m in run("dolly", path)[0]]
    assert len(made) == len(rows) == 15011
    mark = re.compile(r"(?<=[\w.,;:)\"'])\[(?:citation needed|(?:note|nb|Note) \d+)\]")
    before = sum(len(mark.findall(row["context"] + "\n" + row["response"])) for row in rows)
    assert before > 150
    assert sum(len(mark.findall(m["content"])) for example in made for m in example.messages) == 0
    unmarked = [row for row in rows if "[" not in row["context"] + row["response"]]
    kept = [m for m in made if "citation_marks" not in m.tags]
    assert len(unmarked) <= len(kept)
    brackets = sum((row["context"] + row["response"]).count("[") for row in rows)
    left = sum((m["content"]).count("[") for example in made for m in example.messages) - sum(
        row["instruction"].count("[") for row in rows
    )
    assert brackets - left == sum(int(str(m.tags.get("citation_marks", 0))) for m in made)


def test_lima_has_its_dialogues(real_data: Path) -> None:
    made = run("lima", real_data / "messages" / "lima_llamafactory.json")[0]
    assert Counter(len(m.messages) // 2 - 1 for m in made) == {0: 1000, 1: 15, 2: 10, 3: 3, 9: 1}


def test_typed_parts_weights_and_tools(real_data: Path) -> None:
    made = run("messages", real_data / "messages" / "llamafactory_reason_tool_use_50.jsonl")[0]
    roles = Counter(m["role"] for example in made for m in example.messages)
    assert roles == {"assistant": 112, "user": 70, "system": 50, "tool": 42}
    fields: list[dict[str, list[str]]] = [f for m in made for f in json.loads(to_json(m.tags["message_fields"]))]
    assert sum(len(f["reasoning"]) for f in fields if "reasoning" in f) == 112
    calls = [c for m in made for t in m.messages if t["role"] == "assistant" for c in t["content"].split("\n\n")]
    assert sum(c.startswith('{"name"') for c in calls) == 68
    made = run("messages", real_data / "messages" / "llamafactory_v1_sft_demo.jsonl")[0]
    assert all(m.tags["weights"] == [0, 1] for m in made)


def test_french_roles_by_option(real_data: Path) -> None:
    path = real_data / "oasst" / "vigogne_fr_1k.jsonl"
    made, refused = run("messages", path, roles={"UTILISATEUR": "user"})
    assert (len(made), refused) == (1183, [])
    assert Counter(m["role"] for example in made for m in example.messages) == {"user": 1936, "assistant": 1936}


def test_columns_read_dolly_and_sharegpt(real_data: Path) -> None:
    described = {"user": "instruction", "query": "context", "assistant": "response"}
    path = real_data / "dolly" / "global_test.json"
    plain = run("dolly", path, citation_marks="keep")[0]
    assert [m.messages for m in run("columns", path, columns=described)[0]] == [m.messages for m in plain]
    described = {"messages": "conversations", "role": "from", "content": "value"}
    path = real_data / "sharegpt" / "glaive_toolcall_en_demo.json"
    made = run("columns", path, columns=described)[0]
    assert Counter(m["role"] for x in made for m in x.messages) == {"user": 746, "assistant": 746 + 211, "tool": 211}
