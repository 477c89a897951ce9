"""`train check` on data that are broken in known places: a finding comes from what provokes it, and only from that."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers
from transformers import AutoTokenizer

from asked import configured, model, written
from caravan.converters.schema import Message
from caravan.terminal import Progress
from caravan.train.audit import Audit, audit, examine
from caravan.train.chat_template import template_for
from caravan.train.lengths import UNCUT, cut_at, kept_at
from caravan.train.pack import pack
from caravan.train.prepare import read_tokenizer
from caravan.train.rows import read_rows
from caravan.train.tokens import Tokens, tokenise
from chats import BREAD, CHATML, GEMMA, HEADERS_ONLY, THINKING, talk

QUIET = Progress(quiet=True)
RIVER = talk("u:Which river runs through Basel?", "a:The Rhine.")
BRIEF = talk("s:Be brief.", "u:Count to three.", "a:1 2 3")
CLEAN = [BREAD, RIVER, BRIEF]
LONG = " ".join(str(n) for n in range(60))


def found(result: Audit) -> dict[str, int]:
    return {finding.code: finding.count for finding in result.findings}


def rows_named(result: Audit, code: str) -> list[str]:
    (finding,) = (finding for finding in result.findings if finding.code == code)
    return finding.rows


@pytest.fixture(scope="module")
def tulu(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model(tmp_path_factory.mktemp("tulu"), vocab_size=1000, max_position_embeddings=4096)


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path, tulu: str) -> None:
    result = audit(configured(data=written(tmp_path, CLEAN), model=tulu), QUIET)
    assert found(result) == {}
    assert not result.failed
    assert (result.answers, result.prompts) == (4, 4)
    assert result.sources["s"].used == 3


@pytest.mark.parametrize(
    ("row", "length", "expected"),
    [
        (talk("u:Is anybody there?"), 2048, {"nothing_supervised": 1}),
        (talk("a:Welcome!", "u:Hello.", "a:What can I do?"), 2048, {"assistant_first": 1}),
        (talk("u:What does </s> mean?", "a:The end."), 2048, {"special_in_text": 1}),
        (talk("u:Say nothing.", "a:"), 2048, {"empty_answer": 1}),
        (talk("u:Say nothing.", "a:  \n"), 2048, {"empty_answer": 1}),
        (talk(f"u:{LONG}", "a:Yes."), 130, {"too_long": 1, "cut": 3}),
        (talk("u:Count.", f"a:{LONG}"), 60, {"cut_inside": 1, "cut": 1}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_row_is_found_and_named(
    tmp_path: Path, tulu: str, row: list[Message], length: int, expected: dict[str, int]
) -> None:
    good = configured(data=written(tmp_path, CLEAN[1:]), model=tulu, max_length=length)
    assert found(audit(good, QUIET)) == {}
    result = audit(configured(data=written(tmp_path, [*CLEAN[1:], row]), model=tulu, max_length=length), QUIET)
    assert found(result).keys() == expected.keys()
    code = next(iter(expected))
    assert found(result)[code] == 1
    assert rows_named(result, code) == ["row-2"]
    assert not result.failed


CALLED_MODEL = CHATML.replace("<|im_start|>assistant\\n' }}{% endif", "<|im_start|>model\\n' }}{% endif")
NO_PROMPT = CHATML.replace("{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}", "")
OTHER_BLOCK = THINKING.replace("assistant\\n<think>\\n\\n</think>\\n\\n", "assistant\\n")
LAST_ONLY = CHATML.replace("for m in messages", "for m in messages[-2:]")
THOUGHT = talk(
    "u:Two and two?", "a:<think>\nEasy.\n</think>\n\nFour.", "u:And one?", "a:<think>\nHm.\n</think>\n\nFive."
)


@pytest.mark.parametrize(
    ("template", "talks", "expected", "fails"),
    [
        (CHATML, CLEAN, {}, False),
        (GEMMA, [RIVER, RIVER, BRIEF], {"template_refused": 1}, False),
        (HEADERS_ONLY, [RIVER, RIVER], {"stop_untrained": 2}, True),
        (CALLED_MODEL, CLEAN, {"prompt_differs": 4}, True),
        (NO_PROMPT, CLEAN, {"prompt_differs": 4}, True),
        (THINKING, [RIVER, THOUGHT], {"rewritten": 1, "think_block": 2}, False),
        (THINKING, [RIVER], {}, False),
        (OTHER_BLOCK, [RIVER], {"think_block": 1}, False),
        (LAST_ONLY, [BREAD, RIVER], {"answer_not_rendered": 1}, False),
        ("{{ bos_token }}" + CHATML, CLEAN, {}, False),
        (
            "{{ bos_token + bos_token }}" + CHATML,
            [RIVER, RIVER],
            {"two_bos": 2, "source_lost": 1, "nothing_compared": 0},
            True,
        ),
    ],
)
def test_a_bad_template_is_found(
    tmp_path: Path, template: str, talks: list[list[Message]], expected: dict[str, int], fails: bool
) -> None:
    folder = model(tmp_path / "model", template, adds_bos=False)
    result = audit(configured(data=written(tmp_path, talks), model=folder, template="tokenizer"), QUIET)
    assert found(result) == expected
    assert result.failed == fails


def test_a_template_without_the_bos_that_the_tokenizer_adds_is_found(tmp_path: Path) -> None:
    without, with_it = model(tmp_path / "a", CHATML), model(tmp_path / "b", "{{ bos_token }}" + CHATML)
    data = written(tmp_path, CLEAN)
    assert found(audit(configured(data=data, model=without, template="tokenizer"), QUIET)) == {"bos_missing": 3}
    assert found(audit(configured(data=data, model=with_it, template="tokenizer"), QUIET)) == {}


def test_a_refusal_says_what_the_template_said(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", GEMMA, adds_bos=False)
    data = written(tmp_path, [RIVER, BRIEF], ["a", "b"])
    result = audit(configured(data=data, model=folder, template="tokenizer"), QUIET)
    assert found(result) == {"template_refused": 1, "source_lost": 1}
    refused = next(finding for finding in result.findings if finding.code == "template_refused")
    assert "no system role here" in refused.advice
    assert (refused.sources, refused.rows, refused.of, refused.share) == ({"b": 1}, ["row-1"], 2, 0.5)
    assert result.failed  # nothing of source b is trained on


def test_a_token_over_the_border_of_an_answer_is_found(tmp_path: Path) -> None:
    folder = Path(model(tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["\n\n"])  # one token for the end of the header and the start of the answer
    tokenizer.save_pretrained(folder)
    talks = [RIVER, talk("u:Begin on a new line.", "a:\nHere.")]
    result = audit(configured(data=written(tmp_path, talks), model=str(folder)), QUIET)
    assert found(result)["merged_over_border"] == 1
    assert rows_named(result, "merged_over_border") == ["row-1"]
    assert found(audit(configured(data=written(tmp_path, [RIVER]), model=str(folder)), QUIET)) == {}


def test_a_tokenizer_that_loses_spaces_or_letters_is_found(tmp_path: Path) -> None:
    talks = [RIVER, talk("u:Show me code.", "a:if x:\n    return   1"), talk("u:Shout.", "a:ÄRGER")]
    cases = [(normalizers.Replace(Regex(" +"), " "), "spaces_changed"), (normalizers.Lowercase(), "not_decoded_back")]
    for number, (normalizer, code) in enumerate(cases):
        folder = Path(model(tmp_path / str(number)))
        made = Tokenizer.from_file(str(folder / "tokenizer.json"))
        made.normalizer = normalizer
        made.save(str(folder / "tokenizer.json"))
        result = audit(configured(data=written(tmp_path, talks), model=str(folder)), QUIET)
        assert found(result).keys() == {code}
        assert result.failed == (code == "not_decoded_back")
        assert rows_named(result, code) == (["row-1"] if code == "spaces_changed" else ["row-0", "row-2"])


Damage = Callable[[npt.NDArray[np.int32], npt.NDArray[np.uint8], int, int], None]


def _shift(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    turns[first - 3 : first] = turns[first]


def _from_second(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    turns[first] = 0


def _without_stop(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    turns[after - 1] = 0


def _untrained(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    turns[first:after] = 0


def _other_word(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    ids[first + 1] = ids[first] + 1


def _stop_inside(ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8], first: int, after: int) -> None:
    ids[first + 1] = ids[after - 1]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_shift, {"template_supervised", "prompt_differs", "special_in_answer"}),
        (_from_second, {"not_decoded_back", "prompt_differs"}),
        (_without_stop, {"stop_untrained"}),
        (_untrained, {"answer_without_loss"}),
        (_other_word, {"not_decoded_back"}),
        (_stop_inside, {"not_decoded_back", "special_in_answer"}),
    ],
)
def test_arrays_that_are_not_what_the_messages_say_are_found(
    tmp_path: Path, tulu: str, damage: Damage, expected: set[str]
) -> None:
    """Nothing is believed of how tokens were made: the arrays themselves are read."""
    tokens = _tokens(written(tmp_path, CLEAN), tulu)
    ids, turns = tokens.ids.copy(), tokens.turns.copy()
    second = np.flatnonzero(turns[: tokens.offsets[1]] == 2)
    damage(ids, turns, int(second[0]), int(second[-1]) + 1)
    assert found(_examined(tmp_path, tulu, tokens)) == {}
    result = _examined(tmp_path, tulu, dataclasses.replace(tokens, ids=ids, turns=turns))
    assert found(result) == dict.fromkeys(expected, 1)
    assert result.failed
    assert all(finding.rows == ["row-0"] for finding in result.findings)


def test_a_doubled_bos_is_found_in_the_arrays(tmp_path: Path, tulu: str) -> None:
    tokens = _tokens(written(tmp_path, CLEAN), tulu)
    ids = tokens.ids.copy()
    ids[tokens.offsets[1] + 1] = ids[0]
    assert found(_examined(tmp_path, tulu, dataclasses.replace(tokens, ids=ids))) == {"bos_doubled": 1}


def _tokens(data: str, folder: str) -> Tokens:
    tokenizer = read_tokenizer(Path(folder))
    return tokenise(read_rows(data, QUIET), tokenizer, template_for("tulu", tokenizer), 2048, QUIET)


def _examined(tmp_path: Path, folder: str, tokens: Tokens) -> Audit:
    tokenizer = read_tokenizer(Path(folder))
    rows = read_rows(str(tmp_path / "talks.parquet"), QUIET)
    config = configured(data=str(rows.path), model=folder)
    return examine(config, Path(folder), rows, tokens, tokenizer, template_for("tulu", tokenizer), QUIET)


def test_weights_are_honoured(tmp_path: Path, tulu: str) -> None:
    tags = [json.dumps({"weights": [1, 0, 1, 1]}), None, None]
    result = audit(configured(data=written(tmp_path, CLEAN, tags=tags), model=tulu), QUIET)
    assert found(result) == {}
    assert result.answers == 3


def test_what_a_model_cannot_take_is_found(tmp_path: Path) -> None:
    data = written(tmp_path, CLEAN)
    short = model(tmp_path / "short", max_position_embeddings=64, vocab_size=1000)
    assert found(audit(configured(data=data, model=short, max_length=128), QUIET)) == {"longer_than_model": 128}
    long = written(tmp_path, [*CLEAN, talk("u:Count.", f"a:{LONG}")])
    assert audit(configured(data=long, model=short, max_length=32), QUIET).recommended_length == 64
    small = model(tmp_path / "small", vocab_size=300)
    data = written(tmp_path, CLEAN)
    result = audit(configured(data=data, model=small), QUIET)
    assert found(result) == {"beyond_vocabulary": int((_tokens(data, small).ids >= 300).sum())}


def test_what_lengths_cut_is_counted_as_it_is_cut(tmp_path: Path, tulu: str) -> None:
    talks = [BREAD, RIVER, talk("u:Count.", f"a:{LONG}", "u:Again.", "a:No."), talk(f"u:{LONG}", "a:Yes.")]
    data = written(tmp_path, talks)
    whole = _tokens(data, tulu)
    for length in (20, 64, 100, 220):
        result = audit(configured(data=data, model=tulu, max_length=length), QUIET)
        chosen = next(cut for cut in result.lengths if cut.length == length)
        source = result.sources["s"]
        assert chosen.supervised == source.cut_supervised
        assert chosen.tokens == source.cut_tokens == len(whole.ids) - source.tokens
        assert chosen.lost_rows == source.left_out.get("too_long", 0)
        assert chosen.rows == int((whole.lengths > length).sum())
        assert found(result).get("cut", 0) == chosen.supervised
        plain = sum(int((whole.turns[a + length : b] > 0).sum()) for a, b in zip(*_ends(whole), strict=True))
        assert chosen.supervised_plain == plain
    assert {512, 1024, 2048, 4096} <= {cut.length for cut in result.lengths}


def _ends(tokens: Tokens) -> tuple[list[int], list[int]]:
    return tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist()


@given(st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=1, max_size=5), st.integers(1, 40))
def test_kept_tokens_are_those_up_to_the_last_answer_that_fits(pieces: list[list[int]], length: int) -> None:
    """Rows as lengths of context and answer in turns, then some context; cut by hand beside it."""
    columns: dict[str, list[Any]] = {"length": [], "firsts": [], "afters": [], "code": [], "kept": []}
    for row in pieces:
        edges = np.cumsum(row).tolist()
        firsts, afters = edges[:-1:2], edges[1::2]
        total = edges[-1]
        ends = [after for after in afters if after <= length]
        inside = length if firsts[0] < length else 0
        kept = total if total <= length else ends[-1] if ends else inside
        for name, value in zip(columns, (total, firsts, afters, None, kept), strict=True):
            columns[name].append(value)
    lists: dict[str, Any] = {"firsts": pl.List(pl.Int32), "afters": pl.List(pl.Int32), "code": pl.String}
    records = pl.DataFrame(columns, schema_overrides=lists)
    assert kept_at(records, length).to_list() == columns["kept"]
    cut = cut_at(records, length)
    assert cut.tokens == sum(columns["length"]) - sum(columns["kept"])
    assert cut_at(records, UNCUT).tokens == cut_at(records, UNCUT).supervised == 0
    assert cut.supervised >= cut.supervised_plain


def test_packing_is_counted(tmp_path: Path, tulu: str) -> None:
    data = written(tmp_path, CLEAN * 20)
    whole = _tokens(data, tulu)
    config = configured(data=data, model=tulu, max_length=256, batch_size=7, batch_unit="bins", nproc=2, epochs=3)
    packed = audit(config, QUIET).packed
    bins = pack(whole.lengths.tolist(), 256)
    assert (packed.gpus, packed.capacity, packed.rows, packed.bins) == (2, 256, 60, len(bins))
    assert packed.fill == pytest.approx(len(whole.ids) / (256 * len(bins)))
    assert (packed.steps_an_epoch, packed.steps_in_all) == (-(-len(bins) // 7), 3 * -(-len(bins) // 7))
    alone = audit(configured(data=data, model=tulu, packing=False, batch_size=8, nproc=1), QUIET).packed
    assert (alone.bins, alone.rounds, alone.idle, alone.steps_an_epoch) == (60, 60, 0.0, 8)


def test_it_says_the_same_twice_and_as_json(tmp_path: Path, tulu: str) -> None:
    config = configured(data=written(tmp_path, [*CLEAN, talk("u:Hello?")], list("abab")), model=tulu)
    first, second = audit(config, QUIET), audit(config, QUIET)
    assert first == second
    told = json.loads(json.dumps(first.json()))
    assert told["failed"] is False
    assert [finding["code"] for finding in told["findings"]] == ["nothing_supervised"]
    assert told["findings"][0]["share"] == 0.25
    assert told["sources"]["a"]["rows"] == 2


@pytest.mark.real
@pytest.mark.parametrize("name", ["gpt2-base", "llama2-7b-hf", "mistral-7b-v0.1", "tinyllama-1.1b-3T"])
def test_real_tokenizers_give_every_answer_of_the_samples_back(tmp_path: Path, real_data: Path, name: str) -> None:
    talks = [
        *CLEAN,
        talk("u:Code?", "a:def f(x):\n\treturn  x  # ünï 🙂\n"),
        talk("u:日本語?", "a: はい。 "),
        talk("u:Empty lines.", "a:one\n\n\n\ntwo"),
    ]
    folder = real_data / "tokenizers" / name
    result = audit(configured(data=written(tmp_path, talks), model=str(folder), max_length=1024), QUIET)
    assert found(result) == {}
