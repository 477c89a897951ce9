"""What comes out of files of every kind, whole and broken."""

import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.converters.schema import RawRow
from caravan.curate import read as module
from caravan.curate.input import Input
from caravan.curate.read import TextChanges, Unreadable, expand, head, read
from caravan.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"instruction": "Name a river in Portugal.", "input": "", "output": "The Douro."},
    {"instruction": "Was heißt „gate“?", "input": "im Hafen", "output": "Tor\noder Sperre, {je} nach [Ort]"},
    {"instruction": 'Quote "this" \\ back.', "input": "a,b\tc", "output": '}, {"instruction": 1'},
]


def put(folder: Path, name: str, data: bytes | str) -> Input:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Input(path, name)


def read_all(source: Input, changes: TextChanges | None = None) -> tuple[list[RawRow], list[Unreadable]]:
    items = list(read(source, changes))
    return [i for i in items if isinstance(i, RawRow)], [i for i in items if isinstance(i, Unreadable)]


def values(source: Input) -> list[Any]:
    rows, bad = read_all(source)
    assert bad == []
    assert [r.row for r in rows] == list(range(1, len(rows) + 1))
    return [r.value for r in rows]


def only_bad(source: Input) -> Unreadable:
    rows, bad = read_all(source)
    assert rows == []
    assert len(bad) == 1
    return bad[0]


def as_lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, str]]) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    return "\n".join(",".join(map(cell, line)) for line in [list(rows[0]), *(list(r.values()) for r in rows)])


# Formats


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".txt", ""])
def test_a_list_gives_its_records_whatever_the_file_is_called(tmp_path: Path, indent: int | None, suffix: str) -> None:
    assert values(put(tmp_path, "a" + suffix, json.dumps(ROWS, indent=indent))) == ROWS
    assert values(put(tmp_path, "b" + suffix, json.dumps(ROWS, indent=indent, ensure_ascii=False))) == ROWS


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt"])
def test_json_lines_under_any_name(tmp_path: Path, suffix: str) -> None:
    assert values(put(tmp_path, "a" + suffix, as_lines(ROWS))) == ROWS


def test_one_object_is_one_row(tmp_path: Path) -> None:
    task = {"Definition": ["Add."], "Instances": [{"input": str(n), "output": [str(n + 1)]} for n in range(30_000)]}
    for indent in (None, 2):
        assert values(put(tmp_path, "task.json", json.dumps(task, indent=indent))) == [task]


def test_objects_and_lists_one_after_another(tmp_path: Path) -> None:
    pretty = "\n".join(json.dumps(row, indent=2) for row in ROWS)
    assert values(put(tmp_path, "a.json", pretty)) == ROWS
    assert values(put(tmp_path, "a.jsonl", pretty)) == ROWS
    assert values(put(tmp_path, "b.jsonl", "".join(map(json.dumps, ROWS)))) == ROWS
    assert values(put(tmp_path, "c.jsonl", "\r".join(map(json.dumps, ROWS)))) == ROWS
    assert values(put(tmp_path, "d.json", json.dumps(ROWS) + "\n" + json.dumps(ROWS, indent=1))) == ROWS * 2


def test_json_lines_of_lists_stay_lists(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Bye"}]]
    assert values(put(tmp_path, "a.jsonl", as_lines(turns))) == turns


def test_json_lines_count_lines_and_blank_ones_are_no_rows(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.jsonl", b'\n{"a": 1}\r\n \t\r\n{"a": 2}\n\n{"a": 3}'))
    assert rows == [RawRow(2, {"a": 1}), RawRow(4, {"a": 2}), RawRow(6, {"a": 3})]
    assert bad == []


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    text = "one\u2028two\x0bthree\u0085four"
    assert values(put(tmp_path, "a.jsonl", json.dumps({"a": text}, ensure_ascii=False))) == [{"a": text}]
    assert values(put(tmp_path, "a.tsv", f"{text}\tyes\nb\tno\n")) == [[text, "yes"], ["b", "no"]]


def test_csv_with_newlines_and_quotes_in_cells(tmp_path: Path) -> None:
    assert values(put(tmp_path, "a.csv", as_csv(ROWS))) == ROWS
    assert values(put(tmp_path, "b.csv", "\ufeff" + as_csv(ROWS).replace("\n", "\r\n") + "\r\n")) == [
        {k: v.replace("\n", "\r\n") for k, v in row.items()} for row in ROWS
    ]
    assert values(put(tmp_path, "mac.csv", "a,b\r1,2\r3,4\r")) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_csv_blank_lines_semicolons_and_columns_of_one_name(tmp_path: Path) -> None:
    assert values(put(tmp_path, "a.csv", "q;a;a\n\n1;2;3\n;;\n")) == [
        {"q": "1", "a": "2", "a_2": "3"},
        {"q": "", "a": "", "a_2": ""},
    ]


def test_csv_rows_that_do_not_fit_are_named_by_record(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.csv", 'a,b\n1,"two\nlines"\n1,2,3\n4\n5,6\n'))
    assert rows == [RawRow(1, {"a": "1", "b": "two\nlines"}), RawRow(4, {"a": "5", "b": "6"})]
    assert [(b.row, b.why) for b in bad] == [
        (2, "3 cells under a header of 2: mend or delete it"),
        (3, "1 cells under a header of 2: mend or delete it"),
    ]


def test_csv_a_quotation_that_never_ends(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.csv", 'a,b\n1,2\n3,"oh\n5,6\n7,8\n'))
    assert rows == [RawRow(1, {"a": "1", "b": "2"})]
    assert [b.row for b in bad] == [2]
    assert "never closed" in bad[0].why
    assert bad[0].raw == "3,oh\n5,6\n7,8\n"


def test_tsv_quotes_nothing_and_has_a_header_only_where_it_looks_like_one(tmp_path: Path) -> None:
    lines = '"Is it?" she said.\tyes\tShe \\n asked.\n"\t"\t"\n'
    cells = [['"Is it?" she said.', "yes", "She \\n asked."], ['"', '"', '"']]
    assert values(put(tmp_path, "bare.tsv", lines)) == cells
    rows, bad = read_all(put(tmp_path, "named.tsv", "input\tanswer\trationale\r\n" + lines))
    assert [r.value for r in rows] == [dict(zip(("input", "answer", "rationale"), c, strict=True)) for c in cells]
    assert [r.row for r in rows] == [2, 3]  # lines of the file: the header is the first
    assert bad == []
    # Words over words are no header, nor is a name that comes twice.
    assert values(put(tmp_path, "words.tsv", "cat\tKatze\ndog\tHund\n")) == [["cat", "Katze"], ["dog", "Hund"]]
    assert values(put(tmp_path, "twice.tsv", "yes\tyes\nIs it?\tno\n")) == [["yes", "yes"], ["Is it?", "no"]]
    assert values(put(tmp_path, "one.tsv", "word\n1 2\n")) == [["word"], ["1 2"]]


def test_parquet_values_become_json(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["é", None],
            "when": pa.array([datetime(2023, 4, 12, 10, 5, 1, 250_000, UTC), None], pa.timestamp("ms", "UTC")),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
            "bytes": pa.array([b"abc", b"\xff\x00"]),
            "score": pa.array([float("nan"), 0.5]),
            "turns": [[{"role": "user", "n": 2**40}], []],
            "kind": pa.array(["x", "x"]).dictionary_encode(),
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    changes = TextChanges()
    rows, bad = read_all(Input(tmp_path / "a.parquet", "a.parquet"), changes)
    assert bad == []
    assert [r.value for r in rows] == [
        {
            "text": "é",
            "when": "2023-04-12T10:05:01.250000+00:00",
            "price": "1.50",
            "bytes": "abc",
            "score": None,
            "turns": [{"role": "user", "n": 2**40}],
            "kind": "x",
            "map": [["k", 1]],
        },
        {
            "text": None,
            "when": None,
            "price": None,
            "bytes": "/wA=",
            "score": 0.5,
            "turns": [],
            "kind": "x",
            "map": [],
        },
    ]
    assert changes == TextChanges(nfc=0, number=1)
    json.dumps([r.value for r in rows], allow_nan=False)


def test_parquet_text_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    bad_text = pa.array([b"one", b"\xff", b"three"]).view(pa.string())
    pq.write_table(pa.table({"a": bad_text}), tmp_path / "a.parquet")
    rows, bad = read_all(Input(tmp_path / "a.parquet", "a.parquet"))
    assert [(r.row, r.value) for r in rows] == [(1, {"a": "one"}), (3, {"a": "three"})]
    assert [b.row for b in bad] == [2]


# Packed


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl", "a.jsonl.zst", "a.gz", "a"])
def test_what_is_packed_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    data = as_lines(ROWS)
    assert values(put(tmp_path, name, gzip.compress(data))) == ROWS
    assert values(put(tmp_path, name, zstandard.compress(data))) == ROWS
    assert values(put(tmp_path, name, data)) == ROWS


def test_archives_of_several_members_and_parquet_in_one(tmp_path: Path) -> None:
    halves = as_lines(ROWS[:1]) + b'{"instruction"', as_lines(ROWS[1:2])[len(b'{"instruction"') :]
    assert values(put(tmp_path, "a.jsonl.gz", b"".join(map(gzip.compress, halves)) + b"\0" * 100)) == ROWS[:2]
    assert values(put(tmp_path, "a.jsonl.zst", b"".join(map(zstandard.compress, halves)))) == ROWS[:2]
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "plain")
    packed = gzip.compress((tmp_path / "plain").read_bytes())
    assert values(put(tmp_path, "a.parquet.gz", packed)) == ROWS
    assert values(put(tmp_path, "a.json", (tmp_path / "plain").read_bytes())) == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("form", ["lines", "list", "tsv", "csv"])
def test_an_archive_that_is_cut_off_gives_what_is_whole_and_one_tail(tmp_path: Path, pack: Any, form: str) -> None:
    noise = Random(0)
    rows = [{"n": str(n), "text": noise.randbytes(20).hex()} for n in range(20_000)]
    tsv = "n\ttext\n" + "".join(f"{row['n']}\t{row['text']}\n" for row in rows)
    data, name = {
        "lines": (as_lines(rows), "a.jsonl"),
        "list": (json.dumps(rows).encode(), "a.json"),
        "tsv": (tsv.encode(), "a.tsv"),
        "csv": (as_csv(rows).encode(), "a.csv"),
    }[form]
    whole = pack(data)
    found, bad = read_all(put(tmp_path, name, whole[: len(whole) // 2]))
    assert 5000 < len(found) < 15_000
    assert [r.value for r in found] == rows[: len(found)]
    assert len(bad) == 1
    assert bad[0].row == found[-1].row + 1
    assert "cut off" in bad[0].why


def test_a_damaged_archive_and_one_inside_another(tmp_path: Path) -> None:
    good = gzip.compress(as_lines(ROWS))
    rows, bad = read_all(put(tmp_path, "a.jsonl.gz", good[:-8] + b"\0" * 8))  # the check sum is wrong
    assert [r.value for r in rows] == ROWS
    assert "damaged" in bad[0].why
    assert "twice" in only_bad(put(tmp_path, "b.jsonl.gz", gzip.compress(good))).why


def test_a_bomb_is_one_unreadable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caravan.curate.records.MAX_RECORD", 1 << 20)
    for pack in (gzip.compress, zstandard.compress):
        bomb = as_lines(ROWS[:1]) + b'{"a": "' + b"x" * (20 << 20) + b'"}\n' + as_lines(ROWS[1:])
        rows, bad = read_all(put(tmp_path, "a.jsonl.gz", pack(bomb)))
        assert [r.row for r in rows] == [1, 3, 4]
        assert [(b.row, len(b.raw)) for b in bad] == [(2, module.RAW_LIMIT)]
        rows, bad = read_all(put(tmp_path, "a.json.gz", pack(b'[{"a": 1}, "' + b"x" * (20 << 20) + b'", {"a": 2}]')))
        assert [r.row for r in rows] == [1]
        assert len(bad) == 1
        assert "longer than" in bad[0].why


# Text and numbers


def test_text_comes_clean_and_every_change_is_counted(tmp_path: Path) -> None:
    lines = [
        '{"a": "Cafe\\u0301 e\\u0301"}',  # decomposed: one string changed, whatever it holds
        '{"a": "Cafe\u0301"}',
        '{"a\\u0000": "b\\u0000\\u0000c"}',  # the key and the value
        '{"a": "raw\0nul"}',
        '{"a": "\\ud83d", "b": "\\ud83d\\ude00", "c": "x\\ude00\\ud83dy"}',
        '{"a": ["\\u212b", {"b": 1}], "plain": "text"}',
    ]
    changes = TextChanges()
    rows, bad = read_all(put(tmp_path, "a.jsonl", "\n".join(lines)), changes)
    assert bad == []
    assert [r.value for r in rows] == [
        {"a": "Café é"},
        {"a": "Café"},
        {"a": "bc"},
        {"a": "rawnul"},
        {"a": "\ufffd", "b": "\U0001f600", "c": "x\ufffd\ufffdy"},
        {"a": ["\u00c5", {"b": 1}], "plain": "text"},
    ]
    assert changes == TextChanges(nfc=3, nul=3, surrogate=2)


def test_a_nul_that_parts_a_letter_from_its_accent(tmp_path: Path) -> None:
    assert values(put(tmp_path, "a.json", '[{"a": "e\\u0000\\u0301"}]')) == [{"a": "é"}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_text_is_cleaned_in_every_format(tmp_path: Path, name: str) -> None:
    dirty, clean = "e\u0301\0", "é"
    if name == "a.parquet":
        pq.write_table(pa.table({"x": [dirty], "y": ["b c"]}), tmp_path / name)
    else:
        data = {
            "a.json": json.dumps([{"x": dirty, "y": "b c"}]),
            "a.jsonl": json.dumps({"x": dirty, "y": "b c"}),
            "a.csv": f"x,y\n{dirty},b c",
            "a.tsv": f"x\ty\n{dirty}\tb c",
        }[name]
        put(tmp_path, name, data)
    changes = TextChanges()
    rows, _ = read_all(Input(tmp_path / name, name), changes)
    assert [r.value for r in rows] == [{"x": clean, "y": "b c"}]
    assert changes == TextChanges(nfc=1, nul=1)


def test_numbers_that_json_cannot_hold_become_null_and_are_counted(tmp_path: Path) -> None:
    line = '{"a": NaN, "b": -Infinity, "c": 1e400, "d": 1.5, "e": 7, "f": 123456789012345678901234, "g": %s}'
    changes = TextChanges()
    rows, bad = read_all(put(tmp_path, "a.jsonl", line % ("9" * 5000)), changes)
    assert bad == []
    assert rows[0].value == {"a": None, "b": None, "c": None, "d": 1.5, "e": 7, "f": 1.2345678901234568e23, "g": None}
    assert changes == TextChanges(number=4)
    same = put(tmp_path, "b.jsonl", '{"f": 123456789012345678901234, "h": 18446744073709551615}')
    assert values(same) == [{"f": 1.2345678901234568e23, "h": 2**64 - 1}]  # as where another number is NaN


def test_of_equal_keys_the_last_wins(tmp_path: Path) -> None:
    assert values(put(tmp_path, "a.jsonl", '{"a": 1, "a": 2}\n{"a": NaN, "a": 3}\n')) == [{"a": 2}, {"a": 3}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    text = {"a.json": json.dumps(ROWS, ensure_ascii=False), "a.csv": as_csv(ROWS)}.get(name, as_lines(ROWS).decode())
    assert values(put(tmp_path, name, text.encode(encoding))) == ROWS


def test_a_lone_surrogate_in_utf_16(tmp_path: Path) -> None:
    changes = TextChanges()
    data = '{"a": "x\ud800y \U0001f600"}'.encode("utf-16", "surrogatepass")
    rows, _ = read_all(put(tmp_path, "a.jsonl", data), changes)
    assert [r.value for r in rows] == [{"a": "x\ufffdy \U0001f600"}]
    assert changes.surrogate == 1


def test_a_byte_order_mark_where_files_were_joined(tmp_path: Path) -> None:
    assert values(put(tmp_path, "a.jsonl", '\ufeff{"a": 1}\n\ufeff{"a": 2}\n')) == [{"a": 1}, {"a": 2}]
    assert values(put(tmp_path, "a.json", '\ufeff[{"a": 1}]\ufeff[{"a": 2}]')) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_what_is_not_utf8_costs_its_row_alone(tmp_path: Path, name: str) -> None:
    texts = ["fine one", "caf\xe9 noir", "fine two"]
    data = {
        "a.jsonl": "\n".join(json.dumps({"q": t, "a": ""}, ensure_ascii=False) for t in texts),
        "a.json": json.dumps([{"q": t, "a": ""} for t in texts], ensure_ascii=False, indent=1),
        "a.csv": "q,a\n" + "".join(f"{t},\n" for t in texts),
        "a.tsv": "q\ta\n" + "".join(f"{t}\t\n" for t in texts),
    }[name]
    rows, bad = read_all(put(tmp_path, name, data.encode("latin-1")))
    assert [r.value for r in rows] == [{"q": "fine one", "a": ""}, {"q": "fine two", "a": ""}]
    assert len(bad) == 1
    assert bad[0].row == rows[0].row + 1
    assert "not UTF-8 at byte" in bad[0].why
    assert "save the file as UTF-8" in bad[0].why
    assert "caf\\xe9 noir" in bad[0].raw


def test_beyond_a_thousand_unreadable_rows_are_counted_not_named(tmp_path: Path) -> None:
    lines = [json.dumps({"a": "é" if n % 2 else "e"}, ensure_ascii=False) for n in range(6000)]
    rows, bad = read_all(put(tmp_path, "a.jsonl", "\n".join(lines).encode("latin-1")))
    assert len(rows) == 3000
    assert len(bad) == module.MOST_UNREADABLE + 1
    assert sum(b.rows for b in bad) == 3000
    assert bad[-1].row == 2 * module.MOST_UNREADABLE + 2
    assert bad[-1].why.startswith("2000 more rows")


# Broken lists


def test_one_broken_record_of_a_list_is_skipped(tmp_path: Path) -> None:
    good = [{"id": n, "text": f"number {n}", "turns": [{"id": n}, {"id": -n}]} for n in range(1, 800)]
    broken = {
        "a quotation mark too many": '{"id": 0, "text": "she said "no", and left", "turns": []}',
        "a quotation mark too few": '{"id": 0, "text": "no, "turns": [], "more": "x"}',
        "a bracket too few": '{"id": 0, "turns": [{"id": 1}, "text": "x"}',
        "a bracket too many": '{"id": 0, "turns": [{"id": 1}]], "text": "x"}',
        "a comma too many": '{"id": 0, "text": "x",}',
        "no colon": '{"id" 0, "text": "}, {"}',
        "too deep": '{"id": ' + "[" * 101 + "]" * 101 + "}",
        "far too deep": '{"id": ' + "[" * 30_000 + "]" * 30_000 + "}",
    }
    for separator in (", ", ",\n"):
        for what, text in broken.items():
            parts = [json.dumps(row) for row in good]
            data = "[" + separator.join([*parts[:400], text, *parts[400:]]) + "]"
            rows, bad = read_all(put(tmp_path, "a.json", data))
            assert [r.value for r in rows] == good, what
            assert [r.row for r in rows] == [n for n in range(1, 801) if n != 401], what
            assert [b.row for b in bad] == [401], what


def test_the_first_record_may_be_the_broken_one(tmp_path: Path) -> None:
    data = '[\n  {\n    "id": "a "b"\n  },\n' + json.dumps([{"id": "c"}, {"id": "d"}], indent=2)[2:]
    rows, bad = read_all(put(tmp_path, "a.json", data))
    assert [tuple(r) for r in rows] == [(2, {"id": "c"}), (3, {"id": "d"})]
    assert [b.row for b in bad] == [1]


def test_a_list_of_nothing_but_broken_records_ends_soon(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.json", "[" + ", ".join(['{"id": 1, "turns": [{"a": 1}'] * 50_000) + "]"))
    assert rows == []
    assert len(bad) < 30
    assert "nothing behind it in the file is read" in bad[-1].why
    rows, bad = read_all(put(tmp_path, "b.json", "[" + ", ".join(['{"id": 1,}', '{"id": 2}'] * 5_000) + "]"))
    assert len(rows) == 5_000
    assert sum(b.rows for b in bad) == 5_000


def test_records_that_all_begin_in_another_way(tmp_path: Path) -> None:
    rows = [{f"key {n}": "x" * 100} for n in range(20_000)]
    assert values(put(tmp_path, "a.json", json.dumps(rows))) == rows


def test_stray_brackets_between_records(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.json", '[{"a": 1}}, {"a": 2}]'))
    assert [r.value for r in rows] == [{"a": 1}, {"a": 2}]
    assert [(b.row, b.raw) for b in bad] == [(2, "}")]


def test_a_list_without_its_end_and_with_a_comma_too_many(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.json", '[{"a": 1}, {"a": 2}'))
    assert [r.row for r in rows] == [1, 2]
    assert [(b.row, b.raw) for b in bad] == [(3, "")]
    assert "not closed after 2 records" in bad[0].why
    assert values(put(tmp_path, "b.json", '[{"a": 1}, {"a": 2},]')) == [{"a": 1}, {"a": 2}]
    assert values(put(tmp_path, "c.json", "[]")) == []


def test_a_cut_off_record_gives_no_row_even_if_rows_lie_inside_it(tmp_path: Path) -> None:
    tree = {"id": 1, "replies": [{"id": 2, "replies": []}, {"id": 3, "replies": []}]}
    text = json.dumps([tree, tree])
    rows, bad = read_all(put(tmp_path, "a.json", text[:-8]))
    assert [r.value for r in rows] == [tree]
    assert [(b.row, b.why) for b in bad] == [(2, "the file breaks off in this record: get it whole")]


def test_a_bare_number_that_the_end_may_have_cut_is_no_row(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.json", "[1, 23, 45"))
    assert [r.value for r in rows] == [1, 23]
    assert [(b.row, b.raw) for b in bad] == [(3, "45")]


# Hostile files


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "empty file"),
        ("a.json", b" \n\t\n", "empty file"),
        ("a.json", b"\xef\xbb\xbf", "empty file"),
        ("a.jsonl.gz", b"", "empty file"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        ("a.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        ("a.json", b"/annex/objects/SHA256E-s1--0.json\n", "git annex get"),
        ("a.jsonl", b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
        ("a.json", b"PK\x03\x04" + bytes(100), "a zip archive: unpack it first"),
        ("a.json", bytes(range(256)) * 40, "binary"),
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(200), "binary"),
        ("a.parquet", b"PAR1" + b"\x15\x04" * 50 + b"PAR1", "damaged Parquet"),
        ("a.parquet", b"PAR1", "damaged Parquet"),
        ("a.parquet", b"instruction,output\n1,2\n", "neither Parquet nor JSON"),
        ("a.json", b"instruction\toutput\n1\t2\n", "name it .csv or .tsv"),
        ("notes.txt", b"Dear all,\n", "no known format"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 40, "gzip archive is damaged"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "zstd archive"),
    ],
)
def test_a_file_that_cannot_be_read_gives_one_clear_sentence(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    bad = only_bad(put(tmp_path, name, data))
    assert says in bad.why
    assert (bad.file, bad.row, bad.rows) == (name, 0, 1)
    assert "\n" not in bad.why


def test_a_line_of_50_mb(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": "x" * 50_000_000}, {"a": 2}]
    assert values(put(tmp_path, "a.jsonl", as_lines(rows))) == rows
    assert values(put(tmp_path, "a.json", json.dumps(rows))) == rows


def test_deep_nesting_is_refused_row_by_row(tmp_path: Path) -> None:
    def deep(levels: int) -> str:
        return '{"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"

    lines = [deep(100), deep(101), deep(900), deep(5000), deep(200_000), '{"a": "' + "[" * 500 + '"}']
    rows, bad = read_all(put(tmp_path, "a.jsonl", "\n".join(lines)))
    assert [r.row for r in rows] == [1, 6]
    assert [b.row for b in bad] == [2, 3, 4, 5]
    assert {b.why for b in bad} == {"nested deeper than 100 levels: flatten it"}
    assert "nested deeper" in only_bad(put(tmp_path, "a.json", "[" * 1_000_000)).why


def test_blocks_of_nul_bytes_are_one_unreadable_line(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.jsonl", as_lines(ROWS * 300) + bytes(4096)))
    assert len(rows) == 900
    assert [b.row for b in bad] == [901]


def test_bad_lines_between_good_ones(tmp_path: Path) -> None:
    rows, bad = read_all(put(tmp_path, "a.jsonl", '# exported\n{"a": 1}\n{"a": 2\n{"a": "x"y"}\n\nnull\n{"a": 3}\n'))
    assert [tuple(r) for r in rows] == [(2, {"a": 1}), (6, None), (7, {"a": 3})]
    assert [b.row for b in bad] == [1, 3, 4]
    assert bad[1].raw == '{"a": 2'
    assert bad[2].why == "not JSON (Expecting ',' delimiter at character 10): mend or delete it"


def test_what_is_no_file_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to("nowhere.json")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.json"))
        found = {one.path.name: only_bad(one).why for one in expand(str(tmp_path))}
    assert found == {
        "link.json": "a link to a file that is not there: put it back or take it out of the recipe",
        "pipe.json": "a pipe, not a file: skipped",
        "socket.json": "a socket, not a file: skipped",
    }
    assert only_bad(Input(tmp_path / "folder.json", "f")).why == "a folder, not a file: skipped"
    assert only_bad(Input(Path("/dev/zero"), "zero")).why == "a device, not a file: skipped"
    assert "not there any more" in only_bad(Input(tmp_path / "gone.json", "gone.json")).why


AS_NOBODY = """
import os, sys
from caravan.curate.read import expand, read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for one in expand(sys.argv[1]):
    for item in read(one):
        print(one.path.name, item.row, getattr(item, "why", item))
"""


def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    # As another user where the tests run as root, whom no permission stops; in a folder that this user can reach.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        put(folder, "a.jsonl", '{"a": 1}')
        put(folder, "b.jsonl", '{"a": 2}').path.chmod(0)
        (folder / "closed").mkdir()
        (folder / "closed").chmod(0)
        folder.chmod(0o755)
        code = [sys.executable, "-W", "error", "-c", AS_NOBODY, name]
        done = subprocess.run(code, capture_output=True, text=True, check=False, cwd="/")
        (folder / "closed").chmod(0o755)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "a.jsonl 1 RawRow(row=1, value={'a': 1})",
        "b.jsonl 0 permission denied: make the file readable for this user",
        "closed 0 a folder, not a file: skipped",
    ]


def test_a_file_that_changes_or_goes_while_it_is_read(tmp_path: Path) -> None:
    source = put(tmp_path, "a.jsonl", as_lines(ROWS))
    items = read(source)
    first = next(items)
    with source.path.open("ab") as file:
        file.write(as_lines(ROWS))
    rest = list(items)
    assert first == RawRow(1, ROWS[0])
    assert isinstance(rest[-1], Unreadable)
    assert "changed while it was read" in rest[-1].why
    items = read(source)
    next(items)
    source.path.unlink()
    last = list(items)[-1]
    assert isinstance(last, Unreadable)
    assert last.row == 0


# Which files


def test_expand_names_files_as_given_and_sorts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names = ["data/b.json", "data/a.JSONL", "data/sub/c.tsv.gz", "data/sub/d.parquet", "home/e.csv", "data/[x].json"]
    for name in [*names, "data/notes.md", "data/.hidden.json", "data/.git/x.json", "data/.ipynb/y.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(path: str) -> list[str]:
        inputs = expand(path)
        assert all(one.path.exists() for one in inputs)
        return [one.name for one in inputs]

    everything = ["data/[x].json", "data/a.JSONL", "data/b.json", "data/sub/c.tsv.gz", "data/sub/d.parquet"]
    assert found("data") == found("./data/") == found("data/**") == everything
    assert found("data/*.json") == ["data/[x].json", "data/b.json"]
    assert found("data/**/*.parquet") == ["data/sub/d.parquet"]
    assert found("data/[x].json") == ["data/[x].json"]  # a file of that very name comes first
    assert found("data/notes.md") == ["data/notes.md"]  # named, so wanted
    assert found("~/e.csv") == [(tmp_path / "home/e.csv").as_posix()]
    assert found(str(tmp_path / "data/b.json")) == [(tmp_path / "data/b.json").as_posix()]


def test_expand_passes_over_mixtures_and_circles(tmp_path: Path) -> None:
    for name in ("in/a.json", "in/mix/mix.parquet", "in/mix/manifest.json", "in/mix/quarantine.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    assert [one.name for one in expand(str(tmp_path / "in"))] == [f"{tmp_path}/in/a.json"]
    assert [one.name for one in expand(str(tmp_path / "in/mix"))] == [f"{tmp_path}/in/mix/mix.parquet"]


def test_expand_says_what_is_wrong_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/empty").mkdir(parents=True)
    for name in ("dolly_train.json", "b.txt", "c.txt", "d.md"):
        (tmp_path / "data" / name).touch()
    (tmp_path / "data/dolly_train.json").rename(tmp_path / "dolly_train.json")

    def error(path: str) -> str:
        with pytest.raises(UserError) as caught:
            expand(path, "source dolly")
        return str(caught.value)

    assert error("doly_train.json") == (
        "source dolly: doly_train.json: no such file or folder; did you mean dolly_train.json?"
    )
    assert error("dta/b.txt").endswith("did you mean data?")
    assert error("zzz").endswith("no such file or folder; . holds data, dolly_train.json")
    assert error("data") == (
        "source dolly: data: no file that can be read, but 2 .txt, 1 .md; "
        "known are .json, .jsonl, .ndjson, .parquet, .csv, .tsv, also as .gz and .zst"
    )
    assert "no file that can be read, but nothing" in error("data/empty")
    assert "no file matches" in error("*.jsonl")
    assert "no file that can be read, but 2 .txt" in error("data/*.txt")
    assert "addresses are not read; download it" in error("https://example.org/a.json")
    assert "is no path" in error("")
    assert "is no path" in error("a\0b")
    assert "no such file" in error("x" * 5000)


def test_head_stops_early(tmp_path: Path) -> None:
    source = put(tmp_path, "a.json", json.dumps(ROWS * 100_000)[:-100] + "}}}broken")
    opened = os.times().user
    assert [r.value for r in head(source, 4)] == [*ROWS, ROWS[0]]
    assert os.times().user - opened < 0.1  # 33 MB: all of it takes longer
    assert [r.row for r in head(put(tmp_path, "b.jsonl", as_lines(ROWS * 10)))] == list(range(1, 21))
    assert head(put(tmp_path, "c.jsonl", b"")) == []


# Properties

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
LEAF = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    LEAF | CELL, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELL, inner, max_size=3), max_leaves=8
)
OBJECTS = st.lists(st.dictionaries(CELL, JSON, max_size=3), max_size=5)


def nfc(value: Any) -> Any:
    from unicodedata import normalize

    if isinstance(value, str):
        return normalize("NFC", value)
    if isinstance(value, list):
        return [nfc(item) for item in value]
    return {nfc(k): nfc(v) for k, v in value.items()} if isinstance(value, dict) else value


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_any_objects_read_back_equal_from_every_form(rows: list[Any], ascii_only: bool, indent: int | None) -> None:
    as_list = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).encode()
    as_json_lines = b"".join(json.dumps(row, ensure_ascii=ascii_only).encode() + b"\n" for row in rows)
    with tempfile.TemporaryDirectory() as name:
        for file, data in {
            "a.json": as_list,
            "a.json.gz": gzip.compress(as_list, 1) if rows else as_list,
            "a.jsonl": as_json_lines,
            "b.json": as_json_lines,
            "a.jsonl.zst": zstandard.compress(as_json_lines),
        }.items():
            if rows or data is as_list:
                assert values(put(Path(name), file, data)) == nfc(rows), file


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": CELL, "b": st.none() | CELL, "c": st.just([1, 2])}), min_size=1))
def test_any_table_reads_back_equal_from_parquet_and_csv(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        assert values(Input(path, "a.parquet")) == nfc(rows)
        texts = [{"a": row["a"], "b": row["b"] or ""} for row in rows]
        assert values(put(Path(name), "a.csv", as_csv(texts))) == nfc(texts)


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.floats(0, 1), st.sampled_from([None, 1]), st.booleans())
def test_a_list_cut_anywhere_gives_its_first_records_and_at_most_one_tail(
    rows: list[Any], part: float, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).encode()
    cut = data[: 1 + int(part * (len(data) - 1))]
    with tempfile.TemporaryDirectory() as name:
        found, bad = read_all(put(Path(name), "a.json", cut))
    assert [r.value for r in found] == nfc(rows)[: len(found)]
    assert len(bad) == (cut != data)
    assert all(b.row == len(found) + 1 for b in bad)


WORDS = b'{"a": 1} {"a": "b" 1e999 NaN tru \\u12 \\ud800 PAR1 \xff'.split(b" ")
FRAGMENTS = st.lists(
    st.sampled_from([c.encode() for c in '{}[]"\\,:\n\r\t \0é\ufeff'] + list(WORDS)),
    max_size=30,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | FRAGMENTS,
    st.sampled_from([".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt"]),
    st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"\xff\xfe", b"[", b'{"a": 1}\n']),
    st.sampled_from([bytes, gzip.compress, zstandard.compress]),
)
def test_no_bytes_make_read_raise(data: bytes, suffix: str, magic: bytes, pack: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = put(Path(name), "a" + suffix, pack(magic + data))
        rows, bad = read_all(source)
        assert head(source, 1000) == rows
    for row in rows:
        json.dumps(row.value, allow_nan=False).encode()  # nothing that is not JSON, no lone surrogate
    assert all(b.why and "\n" not in b.why and b.rows == 1 for b in bad)
    numbers = [r.row for r in rows] + [b.row for b in bad if b.row]
    assert len(numbers) == len(set(numbers))
