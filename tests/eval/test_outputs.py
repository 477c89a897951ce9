"""Stored outputs of anybody's model: read, scored by every protocol, and nothing lost on the way."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caravan.errors import UserError
from caravan.eval import files
from caravan.eval.choose import load_problems
from caravan.eval.items import SCHEMA
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


def test_several_outputs_for_an_item_are_refused_where_a_benchmark_takes_one(tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "test/0", "output": ["The answer is 1.", "The answer is 2."]}])
    with pytest.raises(UserError, match="2 outputs for test/0, where gsm8k takes one"):
        score_outputs("gsm8k", path, data_dir="samples")


def test_a_variant_that_there_is_not_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "test/0", "output": "The answer is 1."}])
    with pytest.raises(UserError, match="gsm8k has no variant '9-shot'"):
        score_outputs("gsm8k", path, variant="9-shot", data_dir="samples")


ROW: dict[str, Any] = {
    "benchmark": "gsm8k",
    "variant": "8-shot",
    "id": "test/0",
    "outputs": ["The answer is 1."],
    "logprobs": [],
}
ROW |= {"ended": ["stop"], "errors": [""], "judged": [None]}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"benchmark": "gsm8k", "id": "test/0", "outputs": ["1"]}], ":1: 'variant' is missing: not an item of a run"),
        ([ROW | {"errors": []}], ":1: .* differ in length"),
        ([ROW, ROW], ":2: a second row for test/0"),
    ],
)
def test_parquet_that_is_no_run_or_a_broken_one_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], says: str
) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    with pytest.raises(UserError, match=says):
        score_outputs("gsm8k", path, data_dir="samples")
    pq.write_table(pa.Table.from_pylist([ROW], SCHEMA), path)
    assert score_outputs("gsm8k", path, data_dir="samples")[0].told["n"] == 1


def test_parquet_whose_text_is_not_utf8_is_a_clear_line(tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"\xff\xfe")
    broken = pa.StringArray.from_buffers(1, offsets, data)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"benchmark": broken, "id": broken}), path)
    with pytest.raises(UserError, match=r"rows\.parquet: no items of a run: .*utf-8"):
        score_outputs("gsm8k", path, data_dir="samples")
    with pytest.raises(UserError, match=r"rows\.parquet: not Parquet: .*utf-8"):
        list(files.rows(path))
