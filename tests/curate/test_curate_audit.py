"""`curate audit`: which rows are drawn, what a person reads of them, marks that survive spreadsheets, the report."""

import csv
import io
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.curate.auditing import sheet
from caravan.curate.auditing.audit import Precision, draw, precision
from caravan.curate.auditing.evidence import SHOWN, UNSEEN, clip
from caravan.curate.auditing.sheet import COLUMNS, Line
from caravan.curate.build import build_mix
from caravan.curate.recipe import Recipe
from caravan.errors import UserError
from rawrows import alpaca_rows, sentence

LEAK = (
    "A baker fills 6 trays with 18 rolls each and sells 75 rolls before noon. How many rolls are left for the"
    " afternoon customers?"
)
FRENCH = (
    "Le petit bateau quitte le port avant le lever du soleil, et les pêcheurs regardent longtemps la côte qui"
    " disparaît derrière eux dans la brume. Voyage numéro"
)
LONG = sentence(77, 900)


def raw_rows() -> list[dict[str, str]]:
    """40 good rows; 6 that repeat some, 5 that nearly do, 4 in French, 3 refusals, 1 leak, 2 that say nothing."""
    good = alpaca_rows(40)
    near = [row | {"output": row["output"].replace("The scene shows", "The scene now shows")} for row in good[10:14]]
    late = {"instruction": "Tell the whole story.", "input": "", "output": LONG}
    return [
        *good,
        *(good[n] for n in (0, 0, 1, 2, 3, 4)),
        *near,
        late,
        late | {"output": LONG[:-40] + "and so it ends, at last."},
        *(
            {
                "instruction": f"Écris une histoire de la mer, s'il te plaît, la {n}e.",
                "input": "",
                "output": f"{FRENCH} {n}.",
            }
            for n in ("premièr", "deuxièm", "dixièm", "centièm")
        ),
        *(
            {
                "instruction": f"Tell me something about {what}.",
                "input": "",
                "output": "I'm sorry, but I can't help with that request.",
            }
            for what in ("tides and the moon", "old copper kettles", "the feathers of a heron")
        ),
        {"instruction": LEAK, "input": "", "output": "=6*18-75, which is 33 rolls that are left for the afternoon."},
        *({"instruction": f"Name a colour, the {n}.", "input": "", "output": "\u200b"} for n in ("first", "second")),
    ]


def built(folder: Path, *, minimum: float = 0.15) -> Path:
    folder.mkdir()
    (folder / "rows.json").write_text(json.dumps(raw_rows()), encoding="utf-8")
    table = {
        "sources": {"faq": {"paths": [str(folder / "rows.json")], "converter": "alpaca"}},
        "filters": {"quality": {"minimum": minimum}},
        "size": 10,
    }
    build_mix(Recipe.model_validate(table), out=folder / "mix")
    return folder / "mix"


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("audit") / "built")


@pytest.fixture
def mix(built_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built_once, tmp_path / "mix"))


def cells(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def drawn(mix: Path, n: int = 200, seed: int = 0, name: str = "audit.csv") -> list[dict[str, str]]:
    draw(mix, mix / name, n=n, seed=seed)
    return cells(mix / name)


def save(path: Path, rows: list[dict[str, str]], delimiter: str = ",", encoding: str = "utf-8-sig") -> None:
    """As a spreadsheet would."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))


def mark(path: Path, marks: dict[str, str]) -> None:
    save(path, [row | {"mark": marks.get(row["id"], row["mark"])} for row in cells(path)])


def refused(path: Path, mix: Path) -> str:
    with pytest.raises(UserError) as caught:
        precision(mix, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the draw


def test_every_reason_is_drawn_and_counted(mix: Path) -> None:
    result = draw(mix, mix / "audit.csv", n=3, seed=0)
    rows = cells(mix / "audit.csv")
    lost = pl.read_parquet(mix / "dropped.parquet").filter(pl.col("fate") == "dropped")
    counts = Counter(lost["reason"].to_list())
    assert counts["exact_duplicate"] == 6
    assert counts["near_duplicate"] == 5
    assert counts["language"] == 4
    assert counts["refusal"] == 3
    assert counts["contaminated"] == 1
    assert counts["empty_response"] == 2
    assert {r.reason: (r.drawn, r.dropped) for r in result.reasons} == {k: (min(v, 3), v) for k, v in counts.items()}
    assert {r.reason: r.filter for r in result.reasons}["refusal"] == "quality"
    assert {(row["reason"], row["dropped"]) for row in rows} == {(k, str(v)) for k, v in counts.items()}
    assert dict(lost.select("id", "reason").iter_rows()).items() >= {row["id"]: row["reason"] for row in rows}.items()
    assert list(rows[0]) == list(COLUMNS)
    assert {row["mark"] for row in rows} == {""}


def test_a_larger_draw_begins_with_the_smaller_one(mix: Path) -> None:
    def ids(rows: list[dict[str, str]], reason: str) -> list[str]:
        return [row["id"] for row in rows if row["reason"] == reason]

    small, large, other = drawn(mix, 2), drawn(mix, 4), drawn(mix, 4, seed=1, name="b.csv")
    for reason in {row["reason"] for row in large}:
        assert ids(large, reason)[:2] == ids(small, reason)
    assert ids(large, "exact_duplicate") != ids(other, "exact_duplicate")


def test_the_draw_does_not_depend_on_the_order_of_rows(mix: Path) -> None:
    draw(mix, mix / "a.csv", n=2, seed=3)
    table = pl.read_parquet(mix / "dropped.parquet")
    table.reverse().write_parquet(mix / "dropped.parquet")
    draw(mix, mix / "b.csv", n=2, seed=3)
    assert (mix / "a.csv").read_bytes() == (mix / "b.csv").read_bytes()


def test_nothing_dropped_and_no_mixture(mix: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest.*build-mix"):
        draw(tmp_path / "nowhere", tmp_path / "audit.csv", n=1, seed=0)
    with pytest.raises(UserError, match="no such folder"):
        draw(mix, tmp_path / "nowhere" / "audit.csv", n=1, seed=0)
    table = pl.read_parquet(mix / "dropped.parquet")
    table.filter(pl.col("fate") != "dropped").write_parquet(mix / "dropped.parquet")
    with pytest.raises(UserError, match="nothing to mark"):
        draw(mix, mix / "audit.csv", n=1, seed=0)
    assert not (mix / "audit.csv").exists()


# --- what a person reads


def test_a_duplicate_stands_beside_the_row_that_stays_also_when_that_is_not_in_the_mixture(mix: Path) -> None:
    ledger = pl.read_parquet(mix / "ledger.parquet")
    fates = dict(ledger.filter(pl.col("id").is_not_null()).select("id", "fate").iter_rows())
    partners = dict(ledger.select("id", "duplicate_of").iter_rows())
    rows = [row for row in drawn(mix) if row["filter"] == "duplicates"]
    assert "not_drawn" in {fates[partners[row["id"]]] for row in rows}
    for row in rows:
        assert f"repeats {partners[row['id']]} (faq, " in row["evidence"]
        assert "which stays; compared by conversation, similarity" in row["evidence"]
        assert row["prompt"] == row["beside_prompt"] != ""
        assert (row["answer"] == row["beside_answer"]) == (row["reason"] == "exact_duplicate")
    said = [row["evidence"] for row in rows if row["reason"] == "near_duplicate"]
    words = ('answers: here "now", there nothing', 'answers: here nothing, there "now"')
    assert sum(s.startswith("repeats") and s.endswith(words) and "prompts: the same; " in s for s in said) == 4


def test_long_texts_are_shown_where_they_differ(mix: Path) -> None:
    (row,) = [row for row in drawn(mix) if row["prompt"] == "Tell the whole story."]
    assert {row["answer"][-10:], row["beside_answer"][-10:]} == {LONG[-10:], "s, at last."[-10:]}
    assert all("characters left out" in row[name] and len(row[name]) < 1000 for name in ("answer", "beside_answer"))


def test_a_leak_stands_beside_the_question_and_its_answer(mix: Path) -> None:
    (row,) = [row for row in drawn(mix) if row["reason"] == "contaminated"]
    assert row["beside_prompt"] == LEAK
    assert "33" in row["beside_answer"]
    assert row["evidence"].startswith("100% of gsm8k ")
    assert "(verbatim)" in row["evidence"]
    assert "shared: A baker fills 6 trays" in row["evidence"]
    assert row["answer"].startswith("'=6*18")


def test_benchmarks_that_are_not_as_they_were_read_are_not_shown(mix: Path) -> None:
    path = mix / "manifest.json"
    record = json.loads(path.read_text())
    (found,) = [f for f in record["filters"] if f["name"] == "contamination"]
    for change in ({"fingerprint": {"benchmarks": {"gsm8k": "another"}}}, {"settings": {"benchmarks": "gone/"}}):
        found.update(change)
        path.write_text(json.dumps(record))
        (row,) = [row for row in drawn(mix) if row["reason"] == "contaminated"]
        assert row["beside_prompt"] == "[the files of gsm8k are not as the build read them]"


def test_the_other_filters_say_what_they_saw(mix: Path) -> None:
    said = {row["reason"]: row for row in drawn(mix)}
    assert said["language"]["evidence"].startswith("language fr, score 0.")
    assert said["language"]["evidence"].endswith("; kept here: en")
    assert "the least that stays is 0.150; faults found (1: none): refusal 0." in said["refusal"]["evidence"]
    assert said["empty_response"]["evidence"].endswith("no answer has any text")
    assert said["empty_response"]["answer"] == UNSEEN


def test_a_filter_that_is_gone_and_evidence_that_is_damaged(mix: Path) -> None:
    path = mix / "manifest.json"
    record = json.loads(path.read_text())
    record["filters"] = [f for f in record["filters"] if f["name"] != "language"]
    path.write_text(json.dumps(record))
    table = pl.read_parquet(mix / "dropped.parquet").drop("duplicate_messages")
    broken = pl.when(pl.col("reason") == "refusal").then(pl.lit("{")).otherwise("evidence").alias("evidence")
    table.with_columns(broken).write_parquet(mix / "dropped.parquet")
    said = {row["reason"]: row for row in drawn(mix)}
    assert said["language"]["filter"] == ""
    assert "language fr" in said["language"]["evidence"]
    assert "not kept with this mixture" in said["near_duplicate"]["beside_answer"]
    assert said["refusal"]["evidence"].startswith("quality None")
    assert [one.filter for one in precision(mix, mix / "audit.csv").filters][-1] == ""


@given(st.text(max_size=9000), st.integers(0, 9000))
def test_what_is_clipped_is_counted(text: str, at: int) -> None:
    shown = clip(text, min(at, max(len(text) - 1, 0)))
    if len(text) <= SHOWN:
        assert shown == text
    else:
        assert "characters left out" in shown
        assert len(shown) < SHOWN + 100


# --- spreadsheets

LINE = Line("", "", "r", "", "", "", "", "", "", "s", "", "id", "f", 1, "b")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+49", "-x", "@a", "\tx", "'=x", "'", " =1", "＝1", "3/4", "12", "1e5", "1.2.24", "TRUE", "May 5", "1,5"],
)  # fmt: skip
def test_no_cell_is_taken_for_a_formula_a_number_or_a_date(text: str) -> None:
    assert sheet.guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["", "A", "yes", "two words", "5 apples", "May", "3 marbles", "don't", "a=b"])
def test_other_cells_are_left_alone(text: str) -> None:
    assert sheet.guarded(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40))
def test_every_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert sheet.unguarded(sheet.guarded(text)) == text
    path = tmp_path_factory.mktemp("sheet") / "a.csv"
    sheet.write([replace(LINE, note=text, prompt=text)], path)
    (line,), _ = sheet.read(path)
    assert line.note == text


@pytest.mark.parametrize("id_", ["=1", "-7", "00012", "12345678901234567890123456789012", "1e10", "'x", "@me", "+-'"])
def test_ids_come_back_exactly(tmp_path: Path, id_: str) -> None:
    sheet.write([replace(LINE, id=id_)], tmp_path / "a.csv")
    assert sheet.read(tmp_path / "a.csv")[0][0].id == id_


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "utf-8"), ("\t", "utf-8"), (",", "utf-16")],
)
def test_what_spreadsheets_save_is_read(mix: Path, delimiter: str, encoding: str) -> None:
    rows = drawn(mix)
    path = mix / "audit.csv"
    spelled = ["Right", " W ", "unsure", "YES", "no", "?", "", "r", "n"]
    for row, one in zip(rows, spelled, strict=False):
        row["mark"] = one
    rows[0]["note"] = 'a "note";\nof two lines, ärger'
    save(path, [*rows, dict.fromkeys(COLUMNS, "")], delimiter, encoding)  # and an empty line at the end
    lines, foreign = sheet.read(path)
    marks = ["right", "wrong", "unsure", "right", "wrong", "unsure", "", "right", "wrong"]
    assert [line.mark for line in lines[:9]] == marks
    assert foreign == []
    assert [line.id for line in lines] == [row["id"] for row in rows]
    assert lines[0].note == 'a "note";\nof two lines, ärger'


def test_sorted_and_shortened_files_are_read(mix: Path) -> None:
    rows = drawn(mix)
    path = mix / "audit.csv"
    mark(path, {row["id"]: "r" for row in rows})
    left = [row for row in reversed(cells(path)) if row["reason"] != "language"]
    save(path, [dict(sorted(row.items())) for row in left])
    found = {one.reason: one for one in precision(mix, path).reasons}
    assert (found["language"].dropped, found["language"].share) == (4, None)  # found again from the folder
    assert found["exact_duplicate"].right == 6


# --- marks are never lost


def test_marks_go_over_into_a_larger_draw(mix: Path) -> None:
    path = mix / "audit.csv"
    rows = drawn(mix, 2)
    mark(path, {row["id"]: "wrong" for row in rows[:3]})
    noted = cells(path)
    noted[-1]["note"] = "=look again"
    save(path, noted, ";")
    assert draw(mix, path, n=50, seed=0).carried == 3
    after = {row["id"]: row for row in cells(path)}
    assert len(after) > len(rows)
    assert [after[row["id"]]["mark"] for row in rows[:3]] == ["wrong"] * 3
    assert sum(row["mark"] != "" for row in after.values()) == 3
    assert after[rows[-1]["id"]]["note"] == "'=look again"


def test_a_draw_that_would_lose_a_mark_is_refused(mix: Path) -> None:
    path = mix / "audit.csv"
    rows = drawn(mix, 4)
    last = [row["id"] for row in rows if row["reason"] == "exact_duplicate"][-1]
    mark(path, {last: "r"})
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"1 marked rows, and 1 of them are not in this draw; name another file"):
        draw(mix, path, n=1, seed=0)
    assert path.read_bytes() == before
    draw(mix, path, n=4, seed=0)
    assert {row["id"]: row["mark"] for row in cells(path)}[last] == "right"


def test_a_file_without_marks_is_drawn_anew(mix: Path) -> None:
    drawn(mix, 4)
    assert len(drawn(mix, 1, seed=9)) < len(drawn(mix, 4, seed=0))


@pytest.mark.parametrize("content", [b"", b"my,own,table\r\n1,2,3\r\n", b"PK\x03\x04...", b"\xff\xff\x00"])
def test_no_other_file_is_written_over(mix: Path, content: bytes) -> None:
    (mix / "audit.csv").write_bytes(content)
    with pytest.raises(UserError):
        draw(mix, mix / "audit.csv", n=1, seed=0)
    assert (mix / "audit.csv").read_bytes() == content


def test_columns_of_a_person_are_not_lost(mix: Path) -> None:
    rows = drawn(mix, 1)
    save(mix / "audit.csv", [row | {"Second reader": "r"} for row in rows])
    with pytest.raises(UserError, match="a column 'second reader' that would be lost"):
        draw(mix, mix / "audit.csv", n=1, seed=0)
    assert precision(mix, mix / "audit.csv").reasons  # and it does no harm to the report


# --- the report


def hand_made(path: Path, marks: dict[tuple[str, str, str, int], str]) -> None:
    """Lines by (filter, reason, source, dropped), with a letter a line; `-` is unmarked."""
    letters = {"r": "right", "w": "wrong", "u": "unsure", "-": ""}
    lines = [
        replace(LINE, mark=letters[one], filter=f, reason=r, source=s, dropped=d, id=f"{r}{s}{n}")
        for (f, r, s, d), word in marks.items()
        for n, one in enumerate(word)
    ]
    sheet.write(lines, path)


def figures(one: Precision) -> tuple[int, int, int, int]:
    return one.right, one.wrong, one.unsure, one.unmarked


def test_precision_with_its_interval(tmp_path: Path) -> None:
    hand_made(
        tmp_path / "a.csv",
        {
            ("q", "low", "a", 900): "r" * 7 + "w" + "uu---",
            ("q", "low", "b", 900): "rw",
            ("q", "refusal", "a", 100): "rrrrw",
            ("q", "empty", "a", 50): "--u",
            ("l", "language", "a", 10): "rrr",
        },
    )
    found = precision(tmp_path, tmp_path / "a.csv")
    low, refusal, empty, language = found.reasons
    assert figures(low) == (8, 2, 2, 3)
    assert low.dropped == 900
    # Wilson's interval of 8 in 10, by hand: (.8 + z²/20 ± z·sqrt(.016 + z²/400)) / (1 + z²/10), z = 1.959964
    assert (low.share, low.low, low.high) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)
    assert figures(empty) == (0, 0, 1, 2)
    assert (empty.share, empty.low, empty.high) == (None, None, None)
    assert (language.share, language.high) == (1.0, 1.0)
    assert language.low == pytest.approx(0.438503, abs=1e-6)
    assert refusal.share == 0.8
    by_source = {(one.reason, one.source): figures(one) for one in found.sources}
    assert by_source["low", "a"] == (7, 1, 2, 3)
    assert by_source["low", "b"] == (1, 1, 0, 0)
    assert found.wrong == {"low": ["lowa7", "lowb1"], "refusal": ["refusala4"]}
    assert any("nothing is marked of empty" in note for note in found.notes)


def test_reasons_weigh_by_how_often_they_occur(tmp_path: Path) -> None:
    hand_made(tmp_path / "a.csv", {("q", "many", "a", 900): "r" * 9 + "w", ("q", "few", "a", 100): "r" * 2 + "w" * 8})
    (whole,) = precision(tmp_path, tmp_path / "a.csv").filters
    assert whole.share == pytest.approx(0.9 * 0.9 + 0.1 * 0.2)
    effective = 1 / (0.81 / 10 + 0.01 / 10)
    z = 1.959964
    middle = (0.83 + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z * math.sqrt(0.83 * 0.17 / effective + z * z / (4 * effective**2)) / (1 + z * z / effective)
    assert (whole.low, whole.high) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert whole.dropped == 1000
    assert figures(whole) == (11, 9, 0, 0)


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5))
def test_a_filters_figure_lies_among_those_of_its_reasons(
    tmp_path_factory: pytest.TempPathFactory, reasons: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("report") / "a.csv"
    hand_made(path, {("f", f"r{n}", "a", d): "r" * a + "w" * b + "-" for n, (d, a, b) in enumerate(reasons)})
    found = precision(path.parent, path)
    (whole,) = found.filters
    shares = [one.share for one in found.reasons if one.share is not None]
    if not shares:
        assert whole.share is None
        return
    assert whole.share is not None
    assert whole.low is not None
    assert whole.high is not None
    assert min(shares) - 1e-9 <= whole.share <= max(shares) + 1e-9
    assert 0 <= whole.low <= whole.share <= whole.high <= 1


def test_a_folder_that_was_built_again_is_noticed(mix: Path, tmp_path: Path) -> None:
    rows = drawn(mix)
    path = mix / "audit.csv"
    mark(path, {row["id"]: "r" for row in rows})
    assert precision(mix, path).notes == []
    elsewhere = precision(tmp_path / "nowhere", path)
    assert "no mixture in" in elsewhere.notes[0]
    assert elsewhere.reasons == precision(mix, path).reasons
    other = built(tmp_path / "other", minimum=0)
    assert "was built again since" in precision(other, path).notes[0]


# --- what is wrong with a file, in one line


def test_a_mark_that_is_none_names_its_row(mix: Path) -> None:
    drawn(mix)
    path = mix / "audit.csv"
    rows = cells(path)
    rows[4]["mark"] = "=maybe"
    save(path, rows)
    assert refused(path, mix) == f"{path}:6: no mark '=maybe'; write right, wrong or unsure, or nothing"


def test_an_id_that_was_changed_names_its_row(mix: Path) -> None:
    drawn(mix)
    path = mix / "audit.csv"
    rows = cells(path)
    rows[2]["id"] = "1.2E+31"
    save(path, rows)
    assert f"{path}:4: no row '1.2E+31' was dropped for" in refused(path, mix)


Change = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: b"", "is empty"),
        (lambda _: b"\xef\xbb\xbf\r\n", "is empty"),
        (lambda _: b"PK\x03\x04rest", "is a workbook and not CSV; save it as `CSV UTF-8`"),
        (lambda _: b"mark\0id", "is not CSV"),
        (lambda data: data[3:] + b"\xe9", "is not text in UTF-8"),
        (lambda data: b"\xff\xfe" + data + b"." * (1 - len(data) % 2), "is not"),
        (lambda data: data.replace(b"reason", b"why", 1), "no column 'reason' in the first line"),
        (lambda data: data.replace(b"note", b"mark", 1), "more than one column 'mark'"),
        (lambda data: data.split(b"\r\n", 1)[0], "holds no rows"),
        (lambda data: data + data.split(b"\r\n", 1)[1], "the same row as 2"),
        (lambda data: data + b"r,only,three\r\n", "3 cells, and the first line has 15"),
        (lambda data: data.replace(b",1,", b"," + b"9" * 5_000 + b",", 1), "no number any more"),
        (lambda data: data + b'r,"never ends', "no CSV that can be read (at line "),
        (lambda data: data[:-18] + b"0123456789abcdef\r\n", "holds rows of different builds"),
    ],
)
def test_files_that_cannot_be_read(mix: Path, change: Change, said: str) -> None:
    path = mix / "audit.csv"
    drawn(mix)
    path.write_bytes(change(path.read_bytes()))
    assert said in refused(path, mix)


def test_no_file_and_a_folder(mix: Path) -> None:
    assert "is not there; draw the rows first" in refused(mix / "audit.csv", mix)
    assert "is a folder" in refused(mix, mix)


# --- the command


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from caravan.curate.cli import main; main()", "audit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def test_the_whole_loop_shows_no_texts(mix: Path, tmp_path: Path) -> None:
    first = run(mix, "--n", "3")
    path = mix / "audit.csv"
    assert "50.0%" in first.stdout
    assert str(path) in first.stdout
    mark(path, {row["id"]: "r" if n % 3 else "w" for n, row in enumerate(cells(path))})
    more = run(mix, "--n", "5", "--json")
    assert json.loads(more.stdout)["reasons"]["exact_duplicate"] == {"drawn": 5, "dropped": 6, "filter": "duplicates"}
    assert json.loads(more.stdout)["carried"] > 5
    report = run(mix, "--report")
    found = json.loads(run(mix, "--report", "--json").stdout)
    assert {one["reason"] for one in found["reasons"]} >= {"language", "refusal", "near_duplicate"}
    assert all(one in report.stdout for ids in found["wrong"].values() for one in ids)
    for text in ("The scene", "baker", "bateau", "sorry", "Tell me"):
        assert text not in first.stdout + report.stdout + first.stderr + report.stderr
    assert run(tmp_path / "none", code=2).stderr.startswith(f"error: {tmp_path / 'none'}")
    rows = cells(path)
    rows[0]["mark"] = "perhaps"
    save(path, rows)
    failed = run(mix, "--report", code=2)
    assert failed.stderr == f"error: {path}:2: no mark 'perhaps'; write right, wrong or unsure, or nothing\n"
