"""`curate dedup` on files: what goes, what stays, and what is said of it."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from caravan.curate import show
from caravan.curate.dedup import Deduplicated, beside, dedup
from rawrows import message_rows, sentence


def chat(prompt: str, answer: str, **more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(result: Deduplicated) -> list[str]:
    """The kept rows as FILE:ROW or own ids, sorted."""
    return sorted(result.kept["row_id"].to_list())


def edited(text: str, places: int) -> str:
    """The text with that many words replaced, far from each other."""
    words = text.split()
    for n in range(places):
        words[(2 * n + 1) * len(words) // (2 * places)] = f"other{n}"
    return " ".join(words)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twelve rows; 13 repeats row 1 in other letters, 14 and 15 are near rows 2 and 3, 16 is row 4's prompt."""
    plain = [chat(f"Say it {n}: {sentence(n, 20)}", sentence(100 + n, 80), id=f"r{n}") for n in range(1, 13)]
    texts = [[turn["content"] for turn in row["messages"]] for row in plain]  # type: ignore[attr-defined]
    plain += [
        chat(texts[0][0].upper(), texts[0][1].replace(" ", "\n"), id="r13"),
        chat(texts[1][0], edited(texts[1][1], 1), id="r14"),
        chat(texts[2][0], edited(texts[2][1], 2), id="r15"),
        chat(texts[3][0], sentence(999, 80), id="r16"),
    ]
    return write(tmp_path / "rows.jsonl", plain)


@pytest.mark.parametrize("exact", [False, True])
def test_each_dropped_row_names_its_partner_the_key_and_the_similarity(rows: Path, exact: bool) -> None:
    found = dedup(rows, exact=exact)
    assert found.rows == 16
    assert found.kept.height == 13
    ids = dict(found.pairs.select("dropped_row_id", "kept_row_id").rows())
    assert {frozenset(pair) for pair in ids.items()} == {
        frozenset(p) for p in (("r1", "r13"), ("r2", "r14"), ("r3", "r15"))
    }
    assert found.pairs["key"].unique().to_list() == ["conversation"]
    assert found.pairs["reason"].to_list() == ["near_duplicate", "near_duplicate", "exact_duplicate"]
    # 103 words are 99 shingles; an edit of one word costs five of them, in both texts.
    assert found.pairs["similarity"].to_list() == pytest.approx([89 / 109, 94 / 104, 1.0])
    assert set(found.pairs["kept"]) <= set(found.kept["id"])
    assert not set(found.pairs["dropped"]) & set(found.kept["id"])


def test_the_least_similar_come_first_and_are_shown(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept.parquet"
    found = dedup(rows, out=out)
    assert pl.read_parquet(out).equals(found.kept)
    pairs = pl.read_parquet(beside(out, "pairs"))
    assert pairs["similarity"].is_sorted()
    assert found.least_similar(1)["similarity"].to_list() == pytest.approx([89 / 109])
    show.deduplicated(found, out, as_json=False)
    said = capsys.readouterr().out
    assert "least similar" in said
    assert said.index("0.817") < said.index("0.904")
    show.deduplicated(found, out, as_json=True)
    least = json.loads(capsys.readouterr().out)["least_similar"]
    assert [pair["reason"] for pair in least] == ["near_duplicate"] * 2


def test_groups_are_what_resembles_one_kept_row(tmp_path: Path) -> None:
    """A resembles B, B resembles C, A does not resemble C: B goes with one of them, and both ends stay."""
    words = [f"word{i}" for i in range(100)]
    chain = [" ".join([*words[i:], *(f"more{j}" for j in range(i))]) for i in (0, 7, 14)]
    copies = [chain[0].upper(), chain[0].title()]
    file = write(tmp_path / "rows.jsonl", [chat(text, "Yes, it is.") for text in chain + copies])
    found = dedup(file)
    texts = [messages[0]["content"].lower() for messages in found.kept["messages"].to_list()]
    assert sorted(texts) == sorted([chain[0], chain[2]])
    assert found.groups["size"].to_list() in ([4], [3, 2])
    assert found.groups["dropped"].list.len().sum() == 3
    assert found.groups["least_similar"].min() == found.pairs["similarity"].min()


def test_by_prompt_and_by_response(rows: Path) -> None:
    assert dedup(rows, key="prompt").kept.height == 12
    assert dedup(rows, key="response").kept.height == 14  # of shorter texts an edit is a larger part
    assert dedup(rows, key="prompt").pairs["key"].unique().to_list() == ["prompt"]


def test_one_prompt_with_distinct_good_answers_and_one_system_prompt_stay(tmp_path: Path) -> None:
    system = {"role": "system", "content": (sentence(1, 400) * 2)[:2000]}
    some = [chat("Name a river.", answer) for answer in ("The Nile.", "The Rhine.", "The Amazon, which is long.")]
    some += [chat(f"What is {n} + {n}?", "It is easy to add.") for n in range(10)]
    for row in some:
        row["messages"] = [system, *row["messages"]]  # type: ignore[misc]
    found = dedup(write(tmp_path / "rows.jsonl", some))
    assert found.kept.height == len(some)


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["cat", "dog", "cat"], 2),
        (["Compute 12 + 7", "Compute 955 - 31", "Compute 12 + 8"], 3),
        (["x² = 9", "x2 = 9"], 2),
        (["١٢", "12"], 2),
        (["Straße", "STRASSE", "strasse"], 1),
        (["ΟΔΟΣ", "οδος", "Οδός"], 2),
        (["Привет  мир", "ПРИВЕТ\u00a0МИР"], 1),
        (["ｶﾅ", "カナ"], 1),
        (["你好 吗", "你好吗"], 1),
        (["log₂8", "log28", "LOG₂8"], 2),
    ],
)
def test_short_texts_digits_case_and_white_space(tmp_path: Path, texts: list[str], kept: int) -> None:
    found = dedup(write(tmp_path / "rows.jsonl", [chat(text, "Well.") for text in texts]))
    assert found.kept.height == kept


def test_rows_of_people_stay_before_rows_of_models(tmp_path: Path) -> None:
    """The longer row would stay if nothing else were known: `synthetic` says who wrote each."""
    text = sentence(5, 60)
    some = [
        chat("Tell me.", f"{text} And so on and on.", synthetic=True, id="model"),
        chat("Tell me.", f"{text} And so on.", id="unknown"),
        chat("Tell me.", text, synthetic=False, id="person"),
    ]
    for chosen in ([0, 1, 2], [2, 1, 0], [0, 1], [0, 2]):
        found = dedup(write(tmp_path / "rows.jsonl", [some[n] for n in chosen]))
        assert lines(found) == [str(some[max(chosen)]["id"])]


def test_neither_the_order_of_rows_nor_workers_matter(tmp_path: Path) -> None:
    draw = random.Random(3)
    some = message_rows(30)
    for row in draw.sample(some, 20):
        turns = [dict(turn) for turn in row["messages"]]  # type: ignore[attr-defined]
        turns[1]["content"] = edited(turns[1]["content"], draw.choice([1, 1, 2]))
        some.append({"id": f"{row['id']} again", "messages": turns})
    first = dedup(write(tmp_path / "a.jsonl", some))
    draw.shuffle(some)
    second = dedup(write(tmp_path / "b.jsonl", some), workers=2)
    assert 30 <= first.kept.height < 50
    assert lines(first) == lines(second)
    names = ["dropped", "kept", "similarity", "reason"]
    assert first.pairs.select(names).sort("dropped").equals(second.pairs.select(names).sort("dropped"))


def test_no_duplicates_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = dedup(write(tmp_path / "rows.jsonl", message_rows(3)))
    assert (found.kept.height, found.pairs.height, found.groups.height) == (3, 0, 0)
    show.deduplicated(found, tmp_path / "x.parquet", as_json=False)
    assert "least similar rows" not in capsys.readouterr().out
