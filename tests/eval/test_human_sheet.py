import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from caravan.errors import UserError
from caravan.eval.human.votes import by_pair, read_votes

HEADER = (
    *("id", "instance_index", "instance_id", "prompt", "model_a", "model_b", "completion_a", "completion_b"),
    *("completion_a_is_acceptable", "completion_b_is_acceptable", "preference", "instance_quality", "comment"),
    *("evaluator", "timestamp"),
)


def row(index: object, who: str, preference: str | None, day: int, **more: Any) -> list[Any]:
    """A row of a sheet; what is not said is usual."""
    values: dict[str, Any] = dict.fromkeys(HEADER)
    values |= {"instance_index": index, "evaluator": who, "preference": preference, "model_a": "oak", "model_b": "elm"}
    values |= {"completion_a_is_acceptable": "yes", "completion_b_is_acceptable": "no", "instance_id": f"task-{index}"}
    values |= {"timestamp": datetime(2024, 3, day, 9, 30)} | more
    return [values[name] for name in HEADER]


def sheet(path: Path, rows: Sequence[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for one in [list(HEADER), *rows]:
        page.append(one)
    book.save(path)
    return path


def test_rows_become_votes(tmp_path: Path) -> None:
    path = sheet(tmp_path / "s.xlsx", [row(4.0, "ada", "b-is-slightly-better", 2)])
    (vote,) = read_votes(path).rows
    assert (vote.item, vote.annotator, vote.left, vote.right) == ("4", "ada", "oak", "elm")
    assert (vote.preference, vote.left_ok, vote.right_ok) == (1, True, False)
    assert (vote.toward("elm"), vote.toward("oak")) == (1, -1)
    assert vote.models == ("elm", "oak")


def test_cells_that_look_like_formulas_are_text_and_blank_rows_are_no_rows(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        row(1, "ada", "tie", 1, completion_a="=SUM(A1:A9)", completion_b="#f58282", prompt="=1+1"),
        [None] * len(HEADER),
        row(2, "=ben", "tie", 1),
        *[[None] * len(HEADER)] * 3,
        *[["  "]] * 3,
    ]
    votes = read_votes(sheet(tmp_path / "s.xlsx", rows))
    assert [vote.annotator for vote in votes.rows] == ["ada", "=ben"]
    assert votes.notes == ["7 blank rows passed over"]


def test_a_persons_latest_word_counts_and_the_first_person_comes_first(tmp_path: Path) -> None:
    rows = [
        row(1, "ben", "tie", 5),
        row(1, "ada", "b-is-better", 4),
        row(1, "ada", "a-is-better", 3),
        row(1, "cy", "a-is-better", 9),
        row(2, "ada", "tie", 1),
        row(1, "cy", "tie", 2),
    ]
    votes = read_votes(sheet(tmp_path / "s.xlsx", rows))
    assert votes.replaced == 2
    pairs = by_pair(votes.rows)
    assert [(v.annotator, v.preference) for v in pairs["elm", "oak", "1"]] == [("ada", 2), ("ben", 0), ("cy", -2)]


def test_of_equal_times_the_later_row_counts(tmp_path: Path) -> None:
    rows = [row(1, "ada", "tie", 1), row(1, "ada", "a-is-better", 1)]
    assert [vote.preference for vote in read_votes(sheet(tmp_path / "s.xlsx", rows)).rows] == [-2]


def test_names_are_compared_whole_and_sides_do_not_matter(tmp_path: Path) -> None:
    rows = [
        row(1, "ada", "a-is-better", 1, model_a="oak", model_b="oak-2"),
        row(1, "ada", "a-is-better", 1, model_a="oak", model_b="elm"),
        row(1, "ben", "a-is-better", 2, model_a="oak-2", model_b="oak"),
    ]
    pairs = by_pair(read_votes(sheet(tmp_path / "s.xlsx", rows)).rows)
    assert {key: [v.toward("oak") for v in votes] for key, votes in pairs.items()} == {
        ("oak", "oak-2", "1"): [2, -2],
        ("elm", "oak", "1"): [2],
    }


def test_a_row_without_a_preference_is_kept_as_not_judged(tmp_path: Path) -> None:
    rows = [row(1, "ada", None, 1), row(2, "ada", " Tie ", 1), row(3, "ada", "", 1, instance_quality="invalid")]
    votes = read_votes(sheet(tmp_path / "s.xlsx", rows)).rows
    assert [(vote.preference, vote.reason) for vote in votes] == [(None, "no preference"), (0, ""), (None, "invalid")]
    assert len(by_pair(votes)) == 1


def test_csv_with_few_columns_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["instance_id", "model_a", "model_b", "preference", "evaluator", "group"])
        table.writerow(["x", "oak", "elm", "a-is-better", "ada", "students"])
        table.writerow(["x", "elm", "oak", "tie", "ben", ""])
    votes = read_votes(path, {"ben": "paid"}).rows
    assert [(vote.annotator, vote.group, vote.left_ok) for vote in votes] == [
        ("ada", "students", None),
        ("ben", "paid", None),
    ]
    with pytest.raises(UserError, match="'cy' has not voted; known: ada, ben"):
        read_votes(path, {"cy": "paid"})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"preference": "a wins"}, r"s\.xlsx:3: 'preference' is 'a wins'; write one of a-is-better"),
        ({"completion_a_is_acceptable": "maybe"}, "'completion_a_is_acceptable' is 'maybe'"),
        ({"timestamp": "yesterday"}, "'timestamp' is 'yesterday'"),
        ({"evaluator": None}, "'evaluator' is empty"),
        ({"model_a": "elm"}, "both answers are by 'elm'"),
        ({"instance_index": None, "instance_id": " "}, "'instance_index' is empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    usual = row(1, "ada", "tie", 1)
    broken = [changes.get(name, value) for name, value in zip(HEADER, usual, strict=True)]
    with pytest.raises(UserError, match=what):
        read_votes(sheet(tmp_path / "s.xlsx", [usual, broken]))


def test_what_is_no_sheet_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"PK no workbook")
    with pytest.raises(UserError, match="not a workbook"):
        read_votes(broken)
    with pytest.raises(UserError, match="cannot be read"):
        read_votes(tmp_path / "missing.xlsx")
    with pytest.raises(UserError, match="is not there"):
        read_votes(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="no store of votes, and no sheet"):
        read_votes(tmp_path / "notes.txt")
    (tmp_path / "few.csv").write_text("model_a,model_b,prefrence,evaluator,instance_id\n")
    with pytest.raises(UserError, match="no column 'preference'; did you mean 'prefrence'"):
        read_votes(tmp_path / "few.csv")
    with pytest.raises(UserError, match="no row in it"):
        read_votes(sheet(tmp_path / "empty.xlsx", []))
