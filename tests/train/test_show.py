"""What `train show`, `train check` and a run print: what carries loss is marked, and it alone; text is made safe."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from asked import configured, model, written
from caravan.converters.schema import Message
from caravan.errors import UserError
from caravan.terminal import Progress, printable
from caravan.train import show
from caravan.train.audit import audit
from caravan.train.examples import Example, examples
from chats import BREAD, GEMMA, SPECIAL, talk
from tiny import tiny_tokenizer

QUIET = Progress(quiet=True)
ODD = talk("u:Tab\there,\nand  spaces", "a:Grüße, 你好 🙂\n\n  x = 1\n", "u:<|assistant|> </s>?", "a:No.")


@pytest.fixture(scope="module")
def tulu(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model(tmp_path_factory.mktemp("tulu"))


def shown(folder: Path, tulu: str, *talks: list[Message], **options: Any) -> list[Example]:
    config = configured(data=written(folder, talks), model=tulu, **options)
    return examples(config, QUIET, number=len(talks))


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(rows: list[Example], monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What is printed of the rows on a terminal of 256 colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "400", **environment}.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        stream = Terminal()
        patch.setattr("sys.stdout", stream)
        show.examples(rows, 2048, False)
    return stream.getvalue()


def backgrounds(text: Text, colours: set[int]) -> str:
    """The characters that stand on one of these colours."""
    kept = [False] * len(text.plain)
    for span in text.spans:
        style = span.style
        number = style.bgcolor.number if not isinstance(style, str) and style.bgcolor is not None else None
        for at in range(span.start, span.end):
            kept[at] = number in colours
    return "".join(c for c, keep in zip(text.plain, kept, strict=True) if keep)


def answers_of(talk_: list[Message]) -> str:
    return "".join(m["content"] + "</s>" for m in talk_ if m["role"] == "assistant")


def test_pieces_are_the_whole_text_and_those_with_loss_the_answers(tmp_path: Path, tulu: str) -> None:
    for row, said in zip(shown(tmp_path, tulu, BREAD, ODD), (BREAD, ODD), strict=True):
        text = "".join(f"<|{m['role']}|>\n{m['content']}{'</s>' if m['role'] == 'assistant' else ''}\n" for m in said)
        assert "".join(piece.text for piece in row.pieces) == "<s>" + text
        assert "".join(piece.text for piece in row.pieces if piece.turn) == answers_of(said)
        assert [piece.text for piece in row.pieces if piece.special and piece.turn] == ["</s>"] * 2
        assert {piece.turn for piece in row.pieces} == {0, 1, 2}
        assert (row.answers, row.kept, row.cut_supervised) == (2, row.tokens, 0)


@given(st.text(max_size=40), st.text(min_size=1, max_size=60))
def test_any_text_is_cut_into_its_characters(tmp_path_factory: pytest.TempPathFactory, asked: str, answer: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    tiny_tokenizer(folder, special=SPECIAL)
    (folder / "config.json").write_text("{}")
    (row,) = shown(folder, str(folder), [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}])
    assert "".join(piece.text for piece in row.pieces if piece.turn) == answer + "</s>"


def test_without_a_terminal_brackets_hold_what_carries_loss(
    tmp_path: Path, tulu: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = talk("s:Be brief.", "u:One or ⟦two⟧?", "a:One.\nTwo.", "u:</s>", "a:Eh?")
    show.examples(shown(tmp_path, tulu, row), 2048, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("⟦carries loss⟧  ⟨special token⟩")
    assert lines[2].startswith("━━ s · row-0 · ")
    assert lines[3] == "   noticed: special_in_text"
    assert lines[4:] == [
        "    │ ⟨<s>⟩<|system|>",
        "    │ Be brief.",
        "    │ ⟨<|user|>⟩",
        "    │ One or \\u27e6two\\u27e7?",
        "    │ ⟨<|assistant|>⟩",
        "  1 │ ⟦One.⏎⟧",
        "  1 │ ⟦Two.⟨</s>⟩⟧",
        "    │ ⟨<|user|>⟩",
        "    │ </s>",
        "    │ ⟨<|assistant|>⟩",
        "  2 │ ⟦Eh?⟨</s>⟩⟧",
    ]


def test_where_the_length_cuts_is_shown(tmp_path: Path, tulu: str, capsys: pytest.CaptureFixture[str]) -> None:
    (whole,) = shown(tmp_path, tulu, BREAD)
    (row,) = shown(tmp_path, tulu, BREAD, max_length=whole.tokens - 2)
    show.examples([row], whole.tokens - 2, False)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  1 │ ⟦About a week.⟨</s>⟩⟧")
    lost = whole.supervised - row.supervised
    assert lines[at + 1] == (
        f"  ✂ │ max_length {whole.tokens - 2} cuts here: {whole.tokens - row.kept} tokens, "
        f"{lost} of which would carry loss"
    )
    assert lines[-1] == "  2 │ ⟦Three months, sliced.⟨</s>⟩⟧"
    assert row.cut_supervised == lost > 0
    assert (row.answers, whole.answers) == (1, 2)
    assert "".join(p.text for p in row.pieces if p.turn and p.kept) == "About a week.</s>"


def test_on_a_terminal_what_carries_loss_stands_on_green(
    tmp_path: Path, tulu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Text.from_ansi(on_terminal(shown(tmp_path, tulu, BREAD, ODD), monkeypatch))
    green = backgrounds(text, {151, 114, 183}).removeprefix("carries loss<special>")
    wanted = answers_of(BREAD) + printable(answers_of(ODD).replace("\n", "⏎"))
    assert green == wanted
    assert backgrounds(text, {183}) == "<special>" + "</s>" * 4
    # Neighbouring tokens have another shade: a change of colour shows where one ends.
    about = [backgrounds(text, {shade}) for shade in (151, 114)]
    assert all(0 < len(part) < len(green) for part in about)


def test_no_color_is_respected(tmp_path: Path, tulu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = on_terminal(shown(tmp_path, tulu, BREAD), monkeypatch, NO_COLOR="1")
    assert "\x1b[38" not in told
    assert "⟦About a week.⟨</s>⟩⟧" in told


def test_nothing_in_a_text_acts_on_the_terminal(tmp_path: Path, tulu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = talk("u:\x1b[2J\x07 \u202e \r\x9b", "a:[bold]x[/bold] \x1b]0;t\x07\u200b")
    told = on_terminal(shown(tmp_path, tulu, row), monkeypatch)
    assert not set("\x07\r\x9b\u202e\u200b") & set(told)
    assert "\x1b]" not in told
    assert "\x1b[2J" not in told
    plain = Text.from_ansi(told).plain
    assert "[bold]x[/bold]" in plain
    assert r"\x1b[2J\x07" in plain


def test_a_row_that_is_left_out_says_why(tmp_path: Path, tulu: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(tmp_path, tulu, talk("u:Hello?"), talk(f"u:{'far ' * 50}", "a:Yes."), max_length=60)
    assert [row.code for row in rows] == ["nothing_supervised", "too_long"]
    assert [row.supervised for row in rows] == [0, 0]
    folder = model(tmp_path / "gemma", GEMMA)
    config = configured(data=written(tmp_path, [talk("s:S", "u:U", "a:A")]), model=folder, template="tokenizer")
    show.examples([*rows, *examples(config, QUIET)], 60, False)
    told = capsys.readouterr().out
    assert "left out: nothing_supervised: no answer in it carries loss" in told
    assert "left out: too_long" in told
    assert "left out: template_refused: no system role here" in told


def test_rows_are_drawn_by_seed_and_source(tmp_path: Path, tulu: str) -> None:
    talks = [talk(f"u:{n}?", f"a:{n}.") for n in range(40)]
    data = written(tmp_path, talks, ["even", "odd"] * 20)
    config = configured(data=data, model=tulu)
    first = [row.row_id for row in examples(config, QUIET, number=5)]
    assert first == [row.row_id for row in examples(config, QUIET, number=5)]
    assert len(set(first)) == 5
    assert first != [row.row_id for row in examples(configured(data=data, model=tulu, seed=1), QUIET, number=5)]
    assert {row.source for row in examples(config, QUIET, number=9, source="odd")} == {"odd"}
    with pytest.raises(UserError, match=r"no source 'od'; did you mean 'odd'\?"):
        examples(config, QUIET, source="od")


def test_examples_as_json(tmp_path: Path, tulu: str, capsys: pytest.CaptureFixture[str]) -> None:
    show.examples(shown(tmp_path, tulu, BREAD), 2048, True)
    (row,) = json.loads(capsys.readouterr().out)["examples"]
    assert "".join(piece["text"] for piece in row["pieces"] if piece["turn"]) == answers_of(BREAD)


def test_a_check_is_printed(tmp_path: Path, tulu: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(data=written(tmp_path, [BREAD, talk("u:Hello?")], ["a", "b\x1b[1m"]), model=tulu)
    result = audit(config, QUIET)
    show.checked(result, False)
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert r"FAIL  source_lost  1 of 2 sources (50.0%)" in told
    assert "WARN  nothing_supervised  1 of 2 rows (50.0%)" in told
    assert r"sources: b\x1b[1m 1" in told
    assert "rows: row-1" in told
    assert "2 answers and 2 prompts were compared: 1 finding to mend first." in told
    assert [line.split()[:4] for line in told.splitlines() if line.split()[:1] == ["all"]] == [["all", "2", "1", "1"]]
    show.checked(audit(configured(data=written(tmp_path, [BREAD]), model=tulu), QUIET), False)
    assert "2 answers and 2 prompts were compared: nothing fails." in capsys.readouterr().out
    show.checked(result, True)
    assert json.loads(capsys.readouterr().out)["failed"] is True


def test_what_came_of_a_run_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {
        "loss": 1.25,
        "loss_by_source": {"cot": 1.5, "lima": 1.0},
        "grad_norm": 0.5,
        "speed": {"tokens_per_second_per_gpu": 3712.4, "mfu": 0.512},
        "eval": {
            "training_sample": {"loss": 1.2, "loss_by_source": {"cot": 1.4}, "reproduced": 0.125},
            "validation": {"loss": 1.75, "loss_by_source": {"lima": 1.75}, "reproduced": 0.0},
        },
    }
    told = _printed(figures, capsys, stopped=None)
    cells = {line.split("  ")[0].strip(): line.split()[-3:] for line in told.splitlines() if line.strip()}
    assert cells["loss"] == ["1.250", "1.200", "1.750"]
    assert cells["answers given back word for word"] == ["–", "0.125", "0.000"]
    assert cells["cot"] == ["1.500", "1.400", "–"]
    assert cells["lima"] == ["1.000", "–", "1.750"]
    assert "3,712 tokens a second and GPU, MFU 51.2%" in told
    assert "memory: 10.00 GiB predicted, 10.50 GiB measured (+5%)" in told
    assert "model: run/model" in told
    assert "stopped early" not in told
    early = _printed({}, capsys, stopped="SIGTERM")
    assert "step 7 of 9" in early
    assert "stopped early (SIGTERM)" in early
    assert "model:" not in early


def _printed(figures: dict[str, Any], capsys: pytest.CaptureFixture[str], stopped: str | None) -> str:
    from caravan.train.fit import Trained

    done = Path("run/model") if stopped is None else None
    result = Trained(Path("run"), done, 7, 9, stopped, figures, 10.0, 10.5, 0)
    show.trained(result, False)
    told = capsys.readouterr().out
    show.trained(result, True)
    value = json.loads(capsys.readouterr().out)
    assert (value["folder"], value["steps"], value["figures"]) == ("run", 7, figures)
    return told
