"""A sheet of human judgements, one a row, with the columns of the published one (Wang et al., 2023).

`model_a`, `model_b`, `preference` (a-is-better, a-is-slightly-better, tie, b-is-slightly-better, b-is-better) and
`evaluator` must be there, and `instance_index` or `instance_id`, which says what was judged. `timestamp`,
`completion_a_is_acceptable`, `completion_b_is_acceptable` (yes, no), `instance_quality` and `group` are read where
they are. A is what stood on the left. Names are compared whole.

Cells are text, also those that begin with "=" (answers of models, which a spreadsheet took for formulas); rows in
which nothing stands are no rows.
"""

import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from caravan.errors import UserError, did_you_mean
from caravan.eval import files

SUFFIXES = (".xlsx", ".csv")
PREFERENCES = {
    "a-is-better": -2,
    "a-is-slightly-better": -1,
    "tie": 0,
    "b-is-slightly-better": 1,
    "b-is-better": 2,
}
YES_NO = {"yes": True, "no": False}
NEEDED = ("model_a", "model_b", "preference", "evaluator")
ITEMS = ("instance_index", "instance_id")


def read(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """The fields of a vote for each row that holds one; `UserError` names a row that cannot be read."""
    cells = _workbook(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    header = [_text(cell).lower() for cell in next(cells, ("", ()))[1]]
    missing = [name for name in NEEDED if name not in header] or ([] if set(ITEMS) & set(header) else [ITEMS[0]])
    if missing:
        raise UserError(
            f"no column {missing[0]!r}", where=str(path), fix=did_you_mean(missing[0], filter(None, header))
        )
    found, blank = [], 0
    for where, values in cells:
        row = dict(zip(header, values, strict=False))
        if any(_text(value) for value in values):
            found.append(_vote(row, where))
        else:
            blank += 1
    if blank:
        notes.append(f"{blank:,} blank rows passed over")
    if not found:
        raise UserError("no row in it", where=str(path), fix="name a sheet of judgements")
    return found


def _vote(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    left, right, annotator = (_needed(row, name, where) for name in ("model_a", "model_b", "evaluator"))
    if left == right:
        raise UserError(f"both answers are by {left!r}", where=where, fix="correct the row, or remove it")
    preference = _word(row, "preference", PREFERENCES, where)
    quality = _text(row.get("instance_quality"))
    return {
        "item": next((_text(row[name]) for name in ITEMS if _text(row.get(name))), "") or _needed(row, ITEMS[0], where),
        "annotator": annotator,
        "group": _text(row.get("group")),
        "left": left,
        "right": right,
        "preference": preference,
        "left_ok": _word(row, "completion_a_is_acceptable", YES_NO, where),
        "right_ok": _word(row, "completion_b_is_acceptable", YES_NO, where),
        "reason": "" if preference is not None else quality or "no preference",
        "at": _time(row.get("timestamp"), where),
    }


def _needed(row: Mapping[str, Any], name: str, where: str) -> str:
    text = _text(row.get(name))
    if not text:
        raise UserError(f"{name!r} is empty", where=where, fix="fill it in, or remove the row")
    return text


def _word(row: Mapping[str, Any], name: str, words: Mapping[str, Any], where: str) -> Any:
    text = _text(row.get(name)).lower()
    if text and text not in words:
        raise UserError(f"{name!r} is {text!r}", where=where, fix=f"write one of {', '.join(words)}")
    return words[text] if text else None


def _time(value: Any, where: str) -> str:
    """A time that sorts as text."""
    if not _text(value):
        return ""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    except ValueError:
        fix = "write times as 2023-05-18 13:05:00"
        raise UserError(f"'timestamp' is {_text(value)!r}", where=where, fix=fix) from None
    return moment.isoformat(timespec="microseconds")


def _text(value: Any) -> str:
    """A cell as text: 3.0 is "3", and nothing is ""."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(getattr(value, "text", value)).strip()


def _workbook(path: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which nobody reads here
            book = openpyxl.load_workbook(path, read_only=True, data_only=False)
            rows = [tuple(row) for row in book.worksheets[0].iter_rows(values_only=True)]
            book.close()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path), fix=files.AGAIN) from None
    except (BadZipFile, KeyError, ValueError, IndexError, TypeError, SyntaxError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"not a workbook: {what}", where=str(path), fix="save it again as .xlsx") from None
    return ((f"{path}:{number}", row) for number, row in enumerate(rows, 1))


def _csv(path: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    return ((where, tuple(cells)) for where, cells in files.csv_records(path))
