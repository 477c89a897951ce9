"""Stored outputs of anybody's model: read, scored by every protocol, and nothing lost on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from caravan.errors import UserError
from caravan.eval.choose import load_problems
from caravan.eval.outputs import score_outputs

PROBLEMS = load_problems("mmlu", "5-shot", "samples").problems


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_text_for_each_item_is_a_score_with_its_error(tmp_path: Path) -> None:
    rows = [{"id": p.item.id, "output": f"The answer is ({p.golds[0]})."} for p in PROBLEMS]
    rows[0]["output"] = "I would say A or B"
    rows[1]["output"] = ""
    (scored,) = score_outputs("mmlu", written(tmp_path, rows), data_dir="samples")
    told = scored.as_json()
    assert told["n"] == len(PROBLEMS) - 1
    assert told["score"] == pytest.approx((len(PROBLEMS) - 2) / (len(PROBLEMS) - 1))
    assert told["failures"] == {"unextractable": 1, "empty": 1, "failed": 0, "unjudged": 0}
    assert told["stderr"] > 0
    low, high = told["bounds"]
    assert low == pytest.approx((len(PROBLEMS) - 2) / len(PROBLEMS))
    assert high == pytest.approx((len(PROBLEMS) - 1) / len(PROBLEMS))


def test_protocols_that_disagree_say_about_which_item_and_why(tmp_path: Path) -> None:
    rows = [{"id": p.item.id, "output": p.golds[0]} for p in PROBLEMS]
    rows[2]["output"] = f"It must be ({PROBLEMS[2].golds[0]})"
    (scored,) = score_outputs("mmlu", written(tmp_path, rows), data_dir="samples")
    (item,) = scored.disagreements
    assert item["id"] == PROBLEMS[2].item.id
    assert (item["strict"]["value"], item["tulu"]["value"]) == (1.0, 0.0)
    assert "tulu read ''" in item["why"]
    assert scored.by_protocol["strict"]["score"] > scored.by_protocol["tulu"]["score"]


def test_items_without_an_output_and_outputs_without_an_item_are_named(tmp_path: Path) -> None:
    rows = [{"id": p.item.id, "output": "A"} for p in PROBLEMS[:-2]] + [{"id": "nobody/test/7", "output": "B"}]
    (scored,) = score_outputs("mmlu", written(tmp_path, rows), data_dir="samples")
    assert scored.missing == [p.item.id for p in PROBLEMS[-2:]]
    assert any("2 of" in note and "no output" in note for note in scored.notes)
    assert any("nobody/test/7" in note for note in scored.notes)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"id": "x/test/0", "output": "A"}], "no output is for an item"),
        ([{"id": PROBLEMS[0].item.id}], "not an id and an output"),
        ([{"id": PROBLEMS[0].item.id, "output": 7}], "not an id and an output"),
        ([{"output": "A"}], "not an id and an output"),
        ([{"id": PROBLEMS[0].item.id, "output": ["A", None]}], "not an id and an output"),
        ([{"id": PROBLEMS[0].item.id, "output": "A"}] * 2, "a second output for"),
        ([], "no outputs in it"),
    ],
)
def test_what_is_no_list_of_outputs_is_one_clear_line(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(UserError, match=says):
        score_outputs("mmlu", written(tmp_path, rows), data_dir="samples")


def test_files_that_are_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        score_outputs("mmlu", tmp_path / "none.jsonl", data_dir="samples")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "x", "output": "A"}\n{"id": ')
    with pytest.raises(UserError, match=r"broken\.jsonl:2: not JSON"):
        score_outputs("mmlu", broken, data_dir="samples")
    with pytest.raises(UserError, match="neither a run nor published outputs"):
        score_outputs("mmlu", tmp_path, data_dir="samples")
