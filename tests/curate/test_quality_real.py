"""The quality score on real answers: people's labels, answers to other prompts, and what the default limit takes.

The bounds are what the score reached when it was made, less about a standard error; docs/filters/quality.md has the
figures themselves.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan.curate.filters import quality

pytestmark = pytest.mark.real
Asked = tuple[str, str]


def scores(rows: Sequence[Asked]) -> list[float]:
    message = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    made = [[{"role": "user", "content": p}, {"role": "assistant", "content": a}] for p, a in rows]
    frame = pl.DataFrame(
        {"messages": made, "tags": ["{}"] * len(rows)}, schema={"messages": message, "tags": pl.String}
    )
    return quality.measure(frame, quality.Settings())["quality"].to_list()


def right(better: Sequence[float], worse: Sequence[float]) -> float:
    """How many pairs are in order; a tie counts half."""
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(better, worse, strict=True))


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return list(map(json.loads, filter(str.strip, text.split("\n")))) if path.suffix == ".jsonl" else json.loads(text)


def asked(path: Path) -> list[Asked]:
    return [(f"{row['instruction']}\n{row['input']}", row["output"]) for row in read(path)]


def test_pandalm(real_data: Path) -> None:
    """894 decided pairs, of which the longer answer is right on 67.4%; 288 prefer the shorter one."""
    better, worse = [], []
    for row in read(real_data / "judged" / "pandalm" / "testset-v1.json"):
        vote, times = Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)[0]
        if vote and times > 1:
            prompt = f"{row['instruction']}\n{row['input'] or ''}"
            better.append((prompt, str(row[f"response{vote}"])))
            worse.append((prompt, str(row[f"response{3 - vote}"])))
    assert len(better) == 894
    first, second = scores(better), scores(worse)
    assert right(first, second) / 894 > 0.70 > 0.674
    shorter = [i for i in range(894) if len(better[i][1]) < len(worse[i][1])]
    assert len(shorter) == 288
    assert right([first[i] for i in shorter], [second[i] for i in shorter]) / 288 > 0.45


def test_oasst_ranks(real_data: Path) -> None:
    """1,026 pairs of ranked siblings, here without the turns before; the longer answer is right on 66.2%."""
    rows = {row["message_id"]: row for row in read(real_data / "judged" / "oasst1" / "en-validation.jsonl")}
    ranked = [row for row in rows.values() if row["role"] == "assistant" and row["rank"] is not None]
    pairs = [(a, b) for a in ranked for b in ranked if a["parent_id"] == b["parent_id"] and a["rank"] < b["rank"]]
    assert abs(len(pairs) - 1026) <= 2  # two groups have a rank twice
    told = [rows[a["parent_id"]]["text"] if a["parent_id"] in rows else "" for a, _ in pairs]
    first = scores([(p, a["text"]) for p, (a, _) in zip(told, pairs, strict=True)])
    second = scores([(p, b["text"]) for p, (_, b) in zip(told, pairs, strict=True)])
    assert right(first, second) / len(pairs) > 0.645


@pytest.mark.parametrize(
    "file", ["dolly/alpagasus_dolly_3k.json", "alpaca/alpagasus_random_9k.json", "lang/alpaca/alpaca_zh_demo.json"]
)
def test_nine_in_ten_good_answers_beat_the_answer_to_another_prompt(real_data: Path, file: str) -> None:
    good = [(p, a) for p, a in asked(real_data / file) if a.strip()]
    chosen = random.Random(11).sample(good, 500)
    swapped = [(prompt, chosen[i - 1][1]) for i, (prompt, _) in enumerate(chosen)]
    assert right(scores(chosen), scores(swapped)) / 500 > 0.9


def test_answers_written_by_people_stay(real_data: Path) -> None:
    rows = asked(real_data / "dolly" / "alpagasus_dolly_3k.json")
    for name in ("seed_tasks.jsonl", "user_oriented_instructions.jsonl"):
        for task in read(real_data / "self_instruct" / name):
            rows += [(f"{task['instruction']}\n{i['input']}", i["output"]) for i in task["instances"]]
    assert len(rows) == 2_996 + 427
    assert sum(score < quality.Limits().minimum for score in scores(rows)) / len(rows) < 0.003
