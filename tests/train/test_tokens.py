"""Ids and masks: what carries loss decodes to the answer, whatever is in a text, wherever it is cut; and the cache."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from caravan.cache import cache_folder
from caravan.converters.schema import Message
from caravan.terminal import Progress
from caravan.train import token_files
from caravan.train import tokens as tokens_module
from caravan.train.chat_template import template_for
from caravan.train.encode import Encoded, Encoder
from caravan.train.rows import Rows, read_pairs, read_rows
from caravan.train.template import Refused, Rendered
from caravan.train.tokens import Tokens, recommend_length, supervised_at, tokenise
from chats import BREAD, SPECIAL, TEMPLATES, talk
from tiny import tiny_tokenizer

QUIET = Progress(quiet=True)
REAL = ("gpt2-base", "llama2-7b-hf", "mistral-7b-v0.1", "tinyllama-1.1b-3T")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"), TEMPLATES["chatml"], special=SPECIAL)


def rows_of(folder: Path, conversations: Sequence[list[Message]], **columns: list[Any]) -> Rows:
    path = folder / "talks.parquet"
    pl.DataFrame({"messages": conversations, **columns}).write_parquet(path)
    return read_rows(str(path), QUIET)


def tokens_of(rows: Rows, tokenizer: Any, length: int = 256, template: str = "tulu", group: int = 1) -> Tokens:
    return tokenise(rows, tokenizer, template_for(template, tokenizer), length, QUIET, group)


def learnt(tokens: Tokens, tokenizer: Any, row: int) -> list[str]:
    """The text of each supervised turn of a row."""
    part = slice(tokens.offsets[row], tokens.offsets[row + 1])
    ids, turns = tokens.ids[part], tokens.turns[part]
    return [tokenizer.decode(ids[turns == turn].tolist()) for turn in sorted(set(turns.tolist()) - {0})]


def encoded(tokenizer: Any, rendered: Rendered) -> Encoded:
    (row,) = Encoder(tokenizer).encode([rendered])
    assert isinstance(row, Encoded)
    return row


# --- masks


def test_what_carries_loss_is_the_answers_and_their_eos(tiny: Any, tmp_path: Path) -> None:
    conversations = [BREAD, talk("s:Be brief.", "u:Hi", "t:[1]", "a:Yes.")]
    tokens = tokens_of(rows_of(tmp_path, conversations), tiny)
    assert learnt(tokens, tiny, 0) == ["About a week.</s>", "Three months, sliced.</s>"]
    assert learnt(tokens, tiny, 1) == ["Yes.</s>"]
    whole = tiny.decode(tokens.ids[: tokens.offsets[1]].tolist())
    assert whole == template_for("tulu", tiny).render(BREAD).text
    assert tokens.turns.max() == 2
    assert (tokens.turns[tokens.offsets[:-1]] == 0).all()
    assert tokens.row_ids == ["talks.parquet:1", "talks.parquet:2"]
    assert tokens.noted.height == tokens.left_out.height == 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_that_the_tokenizer_makes_itself(name: str, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t", TEMPLATES[name], special=SPECIAL)
    tokens = tokens_of(rows_of(tmp_path, [BREAD]), tokenizer, template="tokenizer")
    assert tokens.ids.tolist() == tokenizer.apply_chat_template(BREAD, tokenize=True)["input_ids"]
    spans = template_for("tokenizer", tokenizer).render(BREAD)
    assert learnt(tokens, tokenizer, 0) == [spans.text[start:end] for start, end, _ in spans.spans]


@pytest.mark.parametrize("adds_bos", [True, False])
def test_bos_stands_once_where_the_tokenizer_adds_one(adds_bos: bool, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t", adds_bos=adds_bos)
    tokens = tokens_of(rows_of(tmp_path, [BREAD]), tokenizer)
    assert (tokens.ids == tokenizer.bos_token_id).sum() == adds_bos
    assert (tokens.ids[0] == tokenizer.bos_token_id) == adds_bos


def test_a_template_that_doubles_bos_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t", "{{ bos_token }}" + TEMPLATES["llama3"], special=SPECIAL)
    tokens = tokens_of(rows_of(tmp_path, [BREAD]), tokenizer, template="tokenizer")
    assert tokens.left_out["code"].to_list() == ["two_bos"]
    assert len(tokens) == 0
    assert tokens.ids.dtype == np.int32


def test_padding_that_is_eos_takes_no_loss_away(tiny: Any, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t", special=SPECIAL)
    tokenizer.pad_token = tokenizer.eos_token
    rows = rows_of(tmp_path, [BREAD])
    assert tokens_of(rows, tokenizer).turns.tolist() == tokens_of(rows, tiny).turns.tolist()


def test_weights_and_beginnings_decide(tiny: Any, tmp_path: Path) -> None:
    tags = ['{"weights":[1,0,1,1]}', '{"weights":[0,0,0,0]}', None]
    tokens = tokens_of(rows_of(tmp_path, [BREAD, BREAD, talk("a:Hello!")], tags=tags), tiny)
    assert learnt(tokens, tiny, 0) == ["Three months, sliced.</s>"]
    assert set(tokens.turns.tolist()) == {0, 2}, "the second answer stays number two"
    assert tokens.left_out["code"].to_list() == ["nothing_supervised"] * 2
    assert tokens.noted.rows() == [("talks.parquet:3", "talks", "assistant_first", False)]


TEXT = st.lists(
    st.sampled_from(["</s>", "<s>", "<|im_end|>", "<pad>", "\n", " ", "  a"]) | st.text(max_size=8), max_size=5
)


@settings(deadline=None, max_examples=150)
@given(
    turns=st.lists(st.tuples(TEXT.map("".join), TEXT.map("".join)), min_size=1, max_size=3),
    name=st.sampled_from(["tulu", "tokenizer"]),
)
def test_whatever_is_written_the_mask_gives_the_answers_back(
    tiny: Any, turns: list[tuple[str, str]], name: str
) -> None:
    messages = [m for question, answer in turns for m in talk(f"u:{question}", f"a:{answer}")]
    stop = "</s>" if name == "tulu" else "<|im_end|>"
    rendered = template_for(name, tiny).render(messages)
    row = encoded(tiny, rendered)
    assert tiny.decode(row.ids.tolist()) == rendered.text
    merged = "merged_over_border" in row.notes
    for (first, after, _), (_, answer) in zip(row.answers, turns, strict=True):
        assert row.ids[after - 1] == tiny.convert_tokens_to_ids(stop)
        back = tiny.decode(row.ids[first:after].tolist())
        assert back == answer + stop or (merged and (answer + stop).endswith(back))
    special = set(tiny.all_special_ids) | set(tiny.convert_tokens_to_ids(list(SPECIAL)))
    ours = 1 + 3 * len(turns) if name == "tulu" else 4 * len(turns)  # with <|user|> and <|assistant|>
    assert sum(token in special for token in row.ids.tolist()) == ours, "none of them is the people's"


def test_special_tokens_that_people_spell_out_stay_text(tiny: Any, tmp_path: Path) -> None:
    messages = talk("u:What does </s> mean? And <|im_end|>?", "a:</s> ends <s>.")
    tokens = tokens_of(rows_of(tmp_path, [messages, BREAD]), tiny)
    assert (tokens.ids[: tokens.offsets[1]] == tiny.eos_token_id).sum() == 1
    assert learnt(tokens, tiny, 0) == ["</s> ends <s>.</s>"]
    assert tokens.noted.rows() == [("talks.parquet:1", "talks", "special_in_text", True)]


def test_a_special_token_that_two_texts_would_make_together_stays_text(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(
        tmp_path / "t", "{{ messages[0]['content'] + '>' + messages[1]['content'] + eos_token }}"
    )
    row = encoded(tokenizer, template_for("tokenizer", tokenizer).render(talk("u:</s", "a:Yes.")))
    assert (row.ids == tokenizer.eos_token_id).sum() == 1
    assert row.notes == ["special_in_text"]


def test_unknown_characters_are_no_special_tokens_of_people(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(special_tokens=["<unk>", "</s>"], vocab_size=60, show_progress=False)
    tokenizer.train_from_iterator(["user assistant < | > abc unk"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")  # type: ignore[no-untyped-call]
    row = encoded(fast, template_for("tulu", fast).render(talk("u:a", "a:ab\u6c34")))
    assert row.notes == ["not_decoded_back"]
    spelled = encoded(fast, template_for("tulu", fast).render(talk("u:<unk>", "a:ab")))
    assert "special_in_text" in spelled.notes
    assert (spelled.ids == fast.unk_token_id).sum() == 0


def test_what_a_tokenizer_cannot_write_is_noted_and_kept(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t")
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokens = tokens_of(rows_of(tmp_path, [talk("u:hi", "a:Hello."), talk("u:hi", "a:hello.")]), tokenizer)
    assert len(tokens) == 2
    assert tokens.noted.rows() == [("talks.parquet:1", "talks", "not_decoded_back", True)]
    assert tokens.account["talks"].notes == {"not_decoded_back": 1}


def test_a_token_over_the_border_belongs_where_its_first_character_is(tmp_path: Path) -> None:
    tokenizer = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(["a", "b", "#", "ab", "b#"])}, merges=[("a", "b")])
    )
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken("$", special=True)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="$")  # type: ignore[no-untyped-call]
    begins = encoded(fast, Rendered("#abb$", [(2, 5, 1)], [(0, 1), (2, 4)], []))
    assert begins.ids.tolist() == [2, 3, 1, 5]
    assert begins.answers == [(2, 4, 1)], "`ab` begins before the answer"
    assert begins.notes == ["merged_over_border", "not_decoded_back"]
    ends = encoded(fast, Rendered("#abb$", [(1, 2, 1)], [(1, 2)], []))
    assert ends.answers == [(1, 2, 1)], "`ab` begins in the answer"
    assert "merged_over_border" in ends.notes


def test_a_first_space_that_the_decoder_takes_is_no_fault(tmp_path: Path) -> None:
    tokenizer = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(sorted(set("▁ab<|user>assistant\n/")))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")  # type: ignore[no-untyped-call]
    row = encoded(fast, template_for("tulu", fast).render(talk("u:a</s>b", "a: b", "u:a", "a:b")))
    assert fast.decode(row.ids[row.answers[0][0] : row.answers[0][1]].tolist()) == "b</s>"
    assert row.notes == ["special_in_text"]


# --- cuts


def lengths_of(tokenizer: Any, conversation: list[Message]) -> tuple[int, list[tuple[int, int]]]:
    row = encoded(tokenizer, template_for("tulu", tokenizer).render(conversation))
    return len(row.ids), [(first, after) for first, after, _ in row.answers]


def test_a_long_conversation_is_cut_after_the_last_answer_that_fits(tiny: Any, tmp_path: Path) -> None:
    length, [(first, after), (second, last)] = lengths_of(tiny, BREAD)
    rows = rows_of(tmp_path, [BREAD])
    whole, shorter = tokens_of(rows, tiny, length), tokens_of(rows, tiny, length - 2)
    assert whole.lengths.tolist() == [length]
    for cut, kept in ((length - 1, last), (last, last), (last - 1, after), (after, after)):
        tokens = tokens_of(rows, tiny, cut)
        assert tokens.lengths.tolist() == [kept]
        assert tokens.ids.tolist() == whole.ids[:kept].tolist()
        assert learnt(tokens, tiny, 0) == learnt(whole, tiny, 0)[: 1 + (kept == last)]
    account = shorter.account["talks"]
    assert (account.cut_rows, account.cut_inside) == (1, 0)
    assert account.cut_tokens == length - after
    assert account.cut_supervised == last - second
    assert account.tokens == after
    assert account.supervised == after - first
    assert account.notes == {}


def test_where_not_even_the_first_answer_fits_it_is_cut_inside(tiny: Any, tmp_path: Path) -> None:
    length, [(first, after), _] = lengths_of(tiny, BREAD)
    tokens = tokens_of(rows_of(tmp_path, [BREAD]), tiny, after - 1)
    assert tokens.lengths.tolist() == [after - 1]
    assert learnt(tokens, tiny, 0) == ["About a week."], "no stop token where the answer does not stop"
    account = tokens.account["talks"]
    assert (account.cut_rows, account.cut_inside, account.cut_tokens) == (1, 1, length - after + 1)
    assert tokens.noted["note"].to_list() == ["cut_inside"]
    none = tokens_of(rows_of(tmp_path, [BREAD]), tiny, first)
    assert len(none) == 0
    assert none.left_out.row(0)[2:] == ("too_long", f"{first} tokens stand before its first answer")
    account = none.account["talks"]
    assert (account.used, account.left_out, account.cut_tokens, account.cut_rows) == (0, {"too_long": 1}, length, 0)


def test_accounts_are_kept_by_source(tiny: Any, tmp_path: Path) -> None:
    conversations = [BREAD, talk("u:Hi", "a:Yes."), talk("u:Hi"), BREAD]
    tokens = tokens_of(rows_of(tmp_path, conversations, source=["b", "a", "a", "b"]), tiny)
    assert tokens.sources == ["a", "b"]
    assert tokens.source.tolist() == [1, 0, 1]
    assert tokens.row.tolist() == [0, 1, 3]
    a, b = tokens.account["a"], tokens.account["b"]
    assert (a.rows, a.used, a.left_out) == (2, 1, {"nothing_supervised": 1})
    assert (b.rows, b.used, b.tokens) == (2, 2, 2 * lengths_of(tiny, BREAD)[0])
    assert a.supervised + b.supervised == (tokens.turns > 0).sum()


def test_rows_of_a_group_are_used_or_left_out_together(tiny: Any, tmp_path: Path) -> None:
    pairs = [
        {"prompt": talk("u:Hi"), "chosen": talk("a:Yes."), "rejected": talk("a:No.")},
        {"prompt": talk("u:" + "Why? " * 90), "chosen": talk("a:Yes."), "rejected": talk("a:No.")},
        {"prompt": talk("u:Bye"), "chosen": talk("a:Bye."), "rejected": talk("a:" + "Bye! " * 200)},
    ]
    pl.DataFrame(pairs).write_parquet(tmp_path / "prefs.parquet")
    rows = read_pairs(str(tmp_path / "prefs.parquet"), QUIET)
    tokens = tokens_of(rows, tiny, group=2)
    assert tokens.row.tolist() == [0, 1, 4, 5]
    assert learnt(tokens, tiny, 0) == ["Yes.</s>"]
    assert learnt(tokens, tiny, 1) == ["No.</s>"]
    assert tokens.left_out["code"].to_list() == ["too_long", "too_long"]
    late = [{"prompt": talk("u:Hi", "a:" + "Oh. " * 60), "chosen": talk("a:Yes."), "rejected": talk("u:So?", "a:No.")}]
    pl.DataFrame(late).write_parquet(tmp_path / "late.parquet")
    first = lengths_of(tiny, late[0]["prompt"] + late[0]["chosen"])[1][-1][0]
    tokens = tokens_of(read_pairs(str(tmp_path / "late.parquet"), QUIET), tiny, first + 1, group=2)
    assert tokens.left_out["code"].to_list() == ["partner_left_out", "too_long"]
    assert len(tokens) == 0


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4), min_size=1, max_size=5
    ),
    length=st.integers(1, 200),
)
def test_what_a_length_keeps_is_what_a_cut_keeps(rows: list[list[tuple[int, int]]], length: int) -> None:
    firsts: list[list[int]] = []
    afters: list[list[int]] = []
    cut, plain = [], []
    for turns in rows:
        at = 0
        first: list[int] = []
        after: list[int] = []
        for question, answer in turns:
            first.append(at + question)
            after.append(at + question + answer)
            at += question + answer
        mask = np.zeros(at + 1, bool)
        for a, b in zip(first, after, strict=True):
            mask[a:b] = True
        kept = tokens_module._cut(at + 1, first, after, length)
        firsts.append(first)
        afters.append(after)
        cut.append(int(mask[:kept].sum()))
        plain.append(int(mask[:length].sum()))
    records = pl.DataFrame(
        {"firsts": firsts, "afters": afters, "code": [None] * len(rows)}, schema_overrides={"code": pl.String}
    )
    assert supervised_at(records, length).tolist() == cut
    assert supervised_at(records, length, plain=True).tolist() == plain


def test_the_recommended_length_keeps_99_percent() -> None:
    def records(*lengths: int) -> pl.DataFrame:
        code = [None] * len(lengths)
        table = {"firsts": [[10]] * len(lengths), "afters": [[n] for n in lengths], "code": code}
        return pl.DataFrame(table, schema_overrides={"code": pl.String})

    assert recommend_length(records(*[512] * 10)) == 512
    assert recommend_length(records(*[512] * 10, 600)) == 1024
    assert recommend_length(records(*[512] * 99, 516)) == 512
    assert recommend_length(records(3000, 100)) == 4096


# --- the cache


def files_of(tokens: Tokens) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(token_files.folder_of(tokens.fingerprint).iterdir())}


def test_what_was_made_is_read_again(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(tmp_path, [BREAD, talk("u:Hi")])
    made = tokens_of(rows, tiny)

    def encode(*_: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(Encoder, "encode", encode)
    again = tokens_of(rows, tiny)
    assert again.fingerprint == made.fingerprint
    assert again.ids.tolist() == made.ids.tolist()
    assert again.records.equals(made.records)
    assert again.account == made.account
    assert not again.ids.flags.writeable


def test_the_key_holds_all_that_the_tokens_depend_on(tiny: Any, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [BREAD])
    other = tiny_tokenizer(tmp_path / "t", TEMPLATES["chatml"], special=(*SPECIAL, "<|more|>"))
    (tmp_path / "o").mkdir()
    weighed = rows_of(tmp_path / "o", [BREAD], tags=['{"weights":[0,0,0,1]}'])
    made = [
        tokens_of(rows, tiny),
        tokens_of(rows, tiny, length=200),
        tokens_of(rows, tiny, template="tokenizer"),
        tokens_of(rows, other),
        tokens_of(rows, tiny, group=1 + 1),
        tokens_of(weighed, tiny),
    ]
    assert len({tokens.fingerprint for tokens in made}) == len(made)
    same = tiny_tokenizer(tmp_path / "s", TEMPLATES["chatml"], special=SPECIAL)
    assert tokens_of(rows, same).fingerprint == made[0].fingerprint, "wherever it was loaded from"


@pytest.mark.parametrize("damage", ["cut", "flip", "lost", "torn", "file"])
def test_damaged_files_are_made_again(
    tiny: Any, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(tmp_path, [BREAD] * 3)
    made = tokens_of(rows, tiny)
    good, folder = files_of(made), token_files.folder_of(made.fingerprint)
    if damage == "cut":
        (folder / "ids").write_bytes(good["ids"][:-4])
    elif damage == "flip":
        (folder / "turns").write_bytes(bytes([good["turns"][0] ^ 1]) + good["turns"][1:])
    elif damage == "lost":
        (folder / "rows.arrow").unlink()
    elif damage == "torn":
        (folder / "made.json").write_bytes(good["made.json"][:9])
    else:
        folder.rename(tmp_path / "away")
        folder.write_bytes(b"")
    again = tokenise(rows, tiny, template_for("tulu", tiny), 256, Progress())
    assert "damaged, made again" in capsys.readouterr().err
    assert files_of(again) == good
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left lying about"


def test_chunks_and_threads_change_nothing(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversations = [talk(f"u:Say {n}.", f"a:{n} " * (n % 7 + 1)) for n in range(40)] + [talk("u:</s>", "a:ok")]
    rows = rows_of(tmp_path, conversations)
    made = files_of(tokens_of(rows, tiny))
    monkeypatch.setattr(tokens_module, "_CHUNK_ROWS", 3)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("CARAVAN_CACHE", str(tmp_path / "other"))
    assert files_of(tokens_of(rows, tiny)) == made


PROCESS = """
import sys
from transformers import AutoTokenizer
from caravan.terminal import Progress
from caravan.train.rows import read_rows
from caravan.train.chat_template import template_for
from caravan.train.tokens import tokenise
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
rows = read_rows(sys.argv[1], Progress(quiet=True))
print("ready", flush=True)
sys.stdin.readline()
tokens = tokenise(rows, tokenizer, template_for("tulu", tokenizer), 256, Progress(quiet=True))
print(tokens.fingerprint, int(tokens.ids.sum()), len(tokens))
"""


def test_two_processes_at_once_do_not_break_each_other(tiny: Any, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [talk(f"u:Say {n}.", f"a:{n}") for n in range(300)])
    tiny.save_pretrained(tmp_path / "t")
    command = [sys.executable, "-c", PROCESS, str(rows.path), str(tmp_path / "t")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        tokens = tokens_of(rows, tiny)
        said = other.communicate(timeout=60)[0]
    assert said == f"{tokens.fingerprint} {tokens.ids.sum()} 300\n"
    assert len(list((cache_folder() / "tokens").iterdir())) == 1


def test_a_second_maker_leaves_what_is_good_and_replaces_what_is_not(tmp_path: Path) -> None:
    ids, turns = np.arange(3, dtype=np.int32), np.ones(3, np.uint8)

    def make(offset: int) -> None:
        with token_files.written("key") as writer:
            writer.add(ids + offset, turns)

    make(0)
    make(5)
    stored = token_files.read("key")
    assert stored is not None
    assert stored.ids.tolist() == [0, 1, 2]
    (token_files.folder_of("key") / "ids").unlink()
    make(5)
    again = token_files.read("key")
    assert again is not None
    assert again.ids.tolist() == [5, 6, 7]
    assert stored.ids.tolist() == [0, 1, 2], "who read before keeps what was read"


def test_an_error_on_the_way_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), token_files.written("key") as writer:
        writer.add(np.arange(3, dtype=np.int32), np.ones(3, np.uint8))
        raise KeyboardInterrupt
    assert list((cache_folder() / "tokens").iterdir()) == []


# --- real tokenizers and files


@pytest.fixture(params=REAL)
def real_tokenizer(request: pytest.FixtureRequest, real_data: Path) -> Any:
    return AutoTokenizer.from_pretrained(real_data / "tokenizers" / request.param)


@pytest.mark.real
def test_real_tokenizers_give_the_answers_back(real_tokenizer: Any, tmp_path: Path) -> None:
    messages = talk(
        "s:Sei knapp.", "u:Wie heißt 水 auf Deutsch?", "a:Wasser.", "u:\n\tAnd </s>?", "a:  It ends a text. 🙂\n"
    )
    tokens = tokens_of(rows_of(tmp_path, [messages]), real_tokenizer)
    eos = real_tokenizer.eos_token
    backend = real_tokenizer.backend_tokenizer
    ids, turns = tokens.ids, tokens.turns
    said = [backend.decode(ids[turns == n].tolist(), skip_special_tokens=False) for n in (1, 2)]
    assert said[0] == "Wasser." + eos
    assert said[1].strip() == "It ends a text. 🙂\n" + eos
    assert (ids == real_tokenizer.eos_token_id).sum() == 2
    adds = real_tokenizer("a")["input_ids"][0] == real_tokenizer.bos_token_id
    assert (ids[0] == real_tokenizer.bos_token_id) == adds
    assert not {"not_decoded_back", "merged_over_border"} & set(tokens.noted["note"])


@pytest.mark.real
def test_the_twin_of_a_real_tokenizer_writes_the_same(real_tokenizer: Any) -> None:
    encoder = Encoder(real_tokenizer)
    template = template_for("tulu", real_tokenizer)
    for messages in (BREAD, talk("s: ", "u:def f(x):\n    return x", "a:  Ünïcode ▁ <0x0A> 水\n\n", "u:", "a:")):
        rendered = template.render(messages)
        (plain,) = encoder.encode([rendered])
        twin = encoder._guarded(rendered)
        assert isinstance(plain, Encoded)
        assert not isinstance(twin, Refused)
        assert twin[0].tolist() == plain.ids.tolist()
        assert np.array_equal(
            twin[1], [start for start, _ in encoder._plain.encode(rendered.text, add_special_tokens=False).offsets]
        )


@pytest.mark.real
def test_real_rows_lose_nothing_unsaid(real_data: Path, real_tokenizer: Any, tmp_path: Path) -> None:
    talks = json.loads((real_data / "messages" / "lima_llamafactory.json").read_text(encoding="utf-8"))[:200]
    conversations = [talk(f"u:{row['instruction']}", f"a:{row['output']}") for row in talks]
    tokens = tokens_of(rows_of(tmp_path, conversations), real_tokenizer, length=100_000)
    assert len(tokens) == 200
    assert tokens.account["talks"].cut_tokens == 0
    backend = real_tokenizer.backend_tokenizer
    for row, conversation in enumerate(conversations):
        part = slice(tokens.offsets[row], tokens.offsets[row + 1])
        ids, turns = tokens.ids[part], tokens.turns[part]
        first = int(np.flatnonzero(turns)[0])
        said = backend.decode(ids[first - 1 :][: int((turns > 0).sum()) + 1].tolist(), skip_special_tokens=False)
        assert said.endswith(conversation[1]["content"] + real_tokenizer.eos_token)
