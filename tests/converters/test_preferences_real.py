"""Real files of preferences: every row becomes one, with the texts that the JSON holds."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caravan.curate.single import convert

pytestmark = pytest.mark.real

# fmt: off
FILES: list[tuple[str, str, int, float]] = [
    # file, converter, rows, how often the longer answer is the chosen one (equal lengths counted half)
    ("llamafactory/dpo_en_demo.json", "sharegpt_dpo", 300, 0.4383),
    ("llamafactory/dpo_zh_demo.json", "sharegpt_dpo", 300, 0.6233),
    ("llamafactory/v1_dpo_demo.jsonl", "ultrafeedback", 10, 0.4),
    ("medicalgpt/dpo_zh_500.jsonl", "sharegpt_dpo", 500, 0.5780),
    ("medicalgpt/toolcall_dpo_zh_demo.jsonl", "sharegpt_dpo", 11, 0.9091),
]
# fmt: on


def load_rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]
    )
    return found


def text(answer: Any) -> str:
    """The answer in a raw side: a text, a turn, or the last of typed messages."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, dict):
        return str(answer["value"])
    return "".join(part["value"] for part in answer[-1]["content"])


@pytest.mark.parametrize(("file", "converter", "rows", "longer"), FILES, ids=[f[0] for f in FILES])
def test_rows_answers_and_the_share_of_longer_ones(
    real_data: Path, file: str, converter: str, rows: int, longer: float
) -> None:
    path = real_data / "prefs" / file
    raw = load_rows(path)
    made = convert(path)
    assert made.guesses[str(path)].converter == converter
    (books,) = made.gathered.files
    assert (books.rows, books.cited, books.examples, books.rejected, books.quarantined) == (rows, rows, rows, 0, 0)
    assert made.frame["id"].n_unique() == rows
    chosen, rejected = (made.frame[side].to_list() for side in ("chosen", "rejected"))
    for side, answers in (("chosen", chosen), ("rejected", rejected)):
        wanted = [text(row.get(side, row.get(f"{side}_messages"))) for row in raw]
        assert [answer["content"] for (answer,) in answers] == wanted
    lengths = [(len(a["content"]), len(b["content"])) for (a,), (b,) in zip(chosen, rejected, strict=True)]
    assert round(sum((a > b) + (a == b) / 2 for a, b in lengths) / rows, 4) == longer


def test_prompts_keep_system_turns_calls_and_observations(real_data: Path) -> None:
    def shapes(file: str) -> Counter[tuple[str, ...]]:
        prompts = convert(real_data / "prefs" / file).frame["prompt"].to_list()
        return Counter(tuple(m["role"] for m in prompt) for prompt in prompts)

    assert shapes("llamafactory/dpo_zh_demo.json") == {("user",): 236, ("system", "user"): 64}
    assert shapes("llamafactory/dpo_en_demo.json")["system", "user"] == 80
    assert shapes("llamafactory/v1_dpo_demo.jsonl") == {("system", "user"): 10}
    assert shapes("medicalgpt/toolcall_dpo_zh_demo.jsonl") == {("user",): 7, ("user", "assistant", "tool"): 4}


def test_tools_are_tags(real_data: Path) -> None:
    path = real_data / "prefs" / "medicalgpt" / "toolcall_dpo_zh_demo.jsonl"
    tags = convert(path).frame["tags"].to_list()
    assert [json.loads(tag)["tools"] for tag in tags] == [row["tools"] for row in load_rows(path)]
