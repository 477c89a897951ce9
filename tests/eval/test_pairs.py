import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caravan.errors import UserError
from caravan.eval.pairs import Pair, read_pairs


def write(path: Path, rows: list[Any]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_files_join_by_id_and_one_of_them_may_lack_the_prompts(tmp_path: Path) -> None:
    a = write(
        tmp_path / "a.jsonl", [{"id": n, "prompt": f"p{n}", "output": f"a{n}", "model": "oak"} for n in (3, 1, 2)]
    )
    b = write(tmp_path / "b.json", [{"id": str(n), "response": f"b{n}"} for n in (1, 2, 3)])
    found = read_pairs(a, b)
    assert found.pairs == [Pair(str(n), f"p{n}", f"a{n}", f"b{n}") for n in (3, 1, 2)]
    assert (found.a, found.b, found.notes) == ("oak", "b", [])


def test_lists_without_ids_join_by_prompt(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", [{"instruction": f"i{n}", "output": f"a{n}", "generator": "elm"} for n in range(3)])
    b = write(tmp_path / "b.json", [{"instruction": f"i{n}", "output": f"b{n}", "generator": "ash"} for n in (2, 0)])
    found = read_pairs(a, b)
    assert [(pair.id, pair.a, pair.b) for pair in found.pairs] == [("i0", "a0", "b0"), ("i2", "a2", "b2")]
    assert (found.a, found.b) == ("elm", "ash")
    assert found.notes == [f"{a}: 1 have no partner in the other file, and are left out"]


def test_an_input_belongs_to_the_prompt(tmp_path: Path) -> None:
    rows = [{"id": "x", "instruction": "Sum up.", "input": "A text.", "output": "o"}]
    assert read_pairs(write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", rows)).pairs[0].prompt == (
        "Sum up.\n\nA text."
    )


def test_what_does_not_join_is_counted(tmp_path: Path) -> None:
    a = [{"id": n, "prompt": f"p{n}", "output": "a"} for n in (1, 2, 3, 3, 4)] + [
        {"id": 5, "prompt": "p", "output": None}
    ]
    b = [{"id": n, "prompt": "other" if n == 2 else f"p{n}\n", "output": ""} for n in (1, 2, 3, 5, 9)]
    left, right = write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", b)
    found = read_pairs(left, right)
    assert [pair.id for pair in found.pairs] == ["1", "3"]
    assert found.notes == [
        f"{left}: 1 repeat an id, and are left out",
        f"{left}: 1 were never answered, and are left out",
        f"{left}: 1 have no partner in the other file, and are left out",
        f"{right}: 2 have no partner in the other file, and are left out",
        f"1 have another prompt in {right} than in {left}, and are left out",
    ]


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": "p", "output": "o", "model": "oak"}]
    found = read_pairs(write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", rows))
    assert (found.a, found.b) == ("oak (A)", "oak (B)")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": 1, "prompt": "p"}, r"a\.jsonl:1: no answer"),
        ({"output": "o"}, r"a\.jsonl:1: no id and no prompt"),
        ({"id": ["x"], "prompt": "p", "output": "o"}, r"a\.jsonl:1: an id that is no text"),
        ({"id": 1, "prompt": ["p"], "output": "o"}, r"a\.jsonl:1: 'prompt' is a list"),
        ({"id": 1, "prompt": "p", "output": 7}, r"a\.jsonl:1: 'output' is a number"),
        ({"id": 8, "prompt": "p", "output": "o"}, "nothing to judge"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, row: dict[str, Any], what: str) -> None:
    b = write(tmp_path / "b.jsonl", [{"id": 1, "prompt": "p", "output": "o"}])
    with pytest.raises(UserError, match=what):
        read_pairs(write(tmp_path / "a.jsonl", [row]), b)


def test_prompts_that_nobody_has_are_asked_for(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{x}.jsonl", [{"id": 1, "output": "o"}]) for x in "ab")
    with pytest.raises(UserError, match="neither file has its prompt"):
        read_pairs(a, b)


def test_runs_are_joined_by_item_and_ask_the_benchmark_for_its_questions(tmp_path: Path) -> None:
    from caravan.eval.choose import folder_of
    from caravan.plugins import load

    items = list(load("benchmarks", "alpaca_eval").items(folder_of("alpaca_eval", "samples")))[:3]
    folders = []
    for model in ("oak", "birch"):
        folder = tmp_path / f"run-{model}"
        folder.mkdir()
        ended = ["stop", "stop", "failed" if model == "oak" else "stop"]
        rows = [
            {"benchmark": "alpaca_eval", "variant": "v", "id": i.id, "outputs": [f"{model} {i.id}"], "ended": [e]}
            for i, e in zip(items, ended, strict=True)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
        (folder / "run.json").write_text(json.dumps({"model": model}), encoding="utf-8")
        folders.append(folder)
    found = read_pairs(folders[0], folders[1], data_dir="samples")
    assert [(pair.prompt, pair.a, pair.b) for pair in found.pairs] == [
        (i.question, f"oak {i.id}", f"birch {i.id}") for i in items[:2]
    ]
    assert (found.a, found.b) == ("oak", "birch")
    assert found.notes[0] == f"{folders[0]}: 1 were never answered, and are left out"
    with pytest.raises(UserError, match=r"no items\.parquet"):
        read_pairs(tmp_path, folders[0])
