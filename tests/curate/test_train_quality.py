"""`curate train-quality`: the classifier, and what is said of it."""

import json
import math
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate import cli
from caravan.curate.models import fasttext as own
from caravan.curate.models import fasttext_kernels
from caravan.curate.train_quality import Trained, auc, train_quality
from caravan.errors import UserError

CLEAR = ["because", "reason", "first", "then", "therefore", "example", "step", "clearly", "both", "finally"]
VAGUE = ["whatever", "lol", "idk", "meh", "stuff", "thing", "yeah", "dunno", "maybe", "kinda"]
EVEN = ["the", "of", "river", "bread", "number", "house", "green", "walks", "seven", "old"]


def rows(words: list[str], prompts: int, seed: int, each: int = 1) -> list[dict[str, Any]]:
    """Answers of twelve words: a third of them tell which side they are of."""
    rng = random.Random(seed)
    found = []
    for n in range(prompts * each):
        answer = " ".join([*rng.choices(words, k=4), *rng.choices(EVEN, k=8)])
        turns = [{"role": "user", "content": f"Question {n // each}?"}, {"role": "assistant", "content": answer}]
        found.append({"messages": turns})
    return found


def write(path: Path, found: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return write(tmp_path / "good.jsonl", rows(CLEAR, 300, 1)), write(tmp_path / "bad.jsonl", rows(VAGUE, 300, 2))


def test_what_tells_good_from_bad_is_learnt(files: tuple[str, str], tmp_path: Path) -> None:
    good, bad = files
    found = train_quality([good], [bad], tmp_path / "q.bin")
    assert found.accuracy[0] > 0.95
    assert found.auc > 0.98
    assert found.length_accuracy < 0.65
    assert found.accuracy[1] < found.accuracy[0] <= found.accuracy[2]
    assert (found.good, found.bad, found.both) == (300, 300, 0)
    assert 60 < found.held_out < 180
    assert found.held_out % 2 == 0


def test_the_same_rows_give_the_same_bytes_in_any_order(files: tuple[str, str], tmp_path: Path) -> None:
    good, bad = files
    train_quality([good], [bad], tmp_path / "one.bin")
    mixed = rows(CLEAR, 300, 1)
    random.Random(5).shuffle(mixed)
    parts = [write(tmp_path / f"{n}.jsonl", mixed[n::2] + mixed[:3]) for n in (0, 1)]
    train_quality(parts, [bad], tmp_path / "two.bin")
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes()
    train_quality([good], [bad], tmp_path / "three.bin", seed=1)
    assert (tmp_path / "one.bin").read_bytes() != (tmp_path / "three.bin").read_bytes()


def test_no_prompt_is_fitted_on_and_held_out(tmp_path: Path) -> None:
    """All that tells the sides apart is a word of the prompt's own: no help to who has not seen that prompt."""
    rng = random.Random(0)
    sides: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for prompt in range(150):
        for n in range(8):
            answer = " ".join([*rng.choices(EVEN, k=6), *[f"word{prompt}{'ab'[n % 2]}"] * 4])
            turns = [{"role": "user", "content": f"What of {prompt}?"}, {"role": "assistant", "content": answer}]
            sides[n % 2 == 0].append({"messages": turns})
    files = [write(tmp_path / f"{side}.jsonl", sides[side]) for side in (True, False)]
    found = train_quality(files[:1], files[1:], tmp_path / "q.bin")
    assert 0.35 < found.accuracy[0] < 0.65


def test_a_dialogue_stays_together_and_weights_count(tmp_path: Path) -> None:
    def talk(words: list[str], n: int, rng: random.Random) -> dict[str, Any]:
        turns: list[dict[str, str | int]] = []
        for k in range(3):
            turns.append({"role": "user", "content": f"Question {n}?" if not k else f"And {k}?"})
            turns.append({"role": "assistant", "content": " ".join(rng.choices(words + EVEN, k=9))})
        return {"messages": turns}

    rng = random.Random(3)
    files = [
        write(tmp_path / f"{words[0]}.jsonl", [talk(words, n, rng) for n in range(100)]) for words in (CLEAR, VAGUE)
    ]
    found = train_quality(files[:1], files[1:], tmp_path / "new" / "q.bin")
    assert (found.good, found.bad) == (300, 300)


def test_an_answer_that_is_good_and_bad_at_once_is_left_out(files: tuple[str, str], tmp_path: Path) -> None:
    good, _ = files
    more = write(tmp_path / "more.jsonl", rows(CLEAR, 300, 1)[:50] + rows(VAGUE, 300, 9))
    found = train_quality([good], [more], tmp_path / "q.bin")
    assert (found.good, found.bad, found.both) == (250, 300, 50)


@pytest.mark.parametrize(("good", "bad", "which"), [(40, 300, "good"), (300, 100, "bad"), (300, 0, "bad")])
def test_too_few_examples(good: int, bad: int, which: str, tmp_path: Path) -> None:
    one = write(tmp_path / "good.jsonl", rows(CLEAR, good, 1))
    other = (
        write(tmp_path / "bad.jsonl", rows(VAGUE, bad, 2)) if bad else write(tmp_path / "b.jsonl", rows(CLEAR, 9, 1))
    )
    with pytest.raises(UserError, match=f"--{which}: too few {which} examples"):
        train_quality([one], [other], tmp_path / "q.bin")
    assert not (tmp_path / "q.bin").exists()


def test_what_cannot_be_read_or_written(files: tuple[str, str], tmp_path: Path) -> None:
    good, bad = files
    with pytest.raises(UserError, match=r"missing\.jsonl"):
        train_quality([good], [str(tmp_path / "missing.jsonl")], tmp_path / "q.bin")
    with pytest.raises(UserError, match="is no folder"):
        train_quality([good], [bad], Path(good) / "q.bin")
    with pytest.raises(UserError, match="between 0 and 1"):
        train_quality([good], [bad], tmp_path / "q.bin", held_out=1.0)
    pairs = [{"prompt": f"Question {n}?", "chosen": "A.", "rejected": "B."} for n in range(5)]
    with pytest.raises(UserError):
        train_quality([write(tmp_path / "pairs.jsonl", pairs)], [bad], tmp_path / "q.bin")


def test_the_command(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = files
    out = tmp_path / "q.bin"
    words = ["curate", "train-quality", "--good", good, "--bad", bad, "-o", str(out)]
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", [*words, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        if more:
            told = json.loads(printed)
            assert told["low"] < told["accuracy"] <= told["high"]
            assert told["good"] == told["bad"] == 300
        else:
            assert "the longer the better" in printed
            assert f'model = "{out}"' in printed
    model = fasttext.load_model(str(out))
    assert model.predict("a clear reason , therefore because")[0] == ("__label__good",)


def own_chances(model: own.Classifier, line: str) -> dict[str, float]:
    """The probabilities of the labels, from the matrices, by the description of fastText."""
    number = {word: n for n, (word, _) in enumerate(model.words)}
    words = [*line.split(), "</s>"]

    def hashed(word: str) -> int:
        value = 2166136261
        for byte in word.encode():
            value = ((value ^ ((byte - 256 if byte > 127 else byte) & 0xFFFFFFFF)) * 16777619) % (1 << 32)
        return value - (1 << 32) if value >= 1 << 31 else value

    pairs = [len(number) + (hashed(a) * 116049371 + hashed(b)) % (1 << 64) % own.BUCKETS for a, b in pairwise(words)]
    hidden = model.vectors[[number[w] for w in words if w in number] + pairs].astype(float).mean(0)
    scores = np.exp(model.weights.astype(float) @ hidden)
    return {label: float(p) for (label, _), p in zip(model.labels, scores / scores.sum(), strict=True)}


@pytest.mark.parametrize("many", [True, False])
def test_fasttext_reads_the_file_as_it_was_meant(many: bool, tmp_path: Path) -> None:
    """Also where there are more bad examples than good ones: labels stand in order of their numbers."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(words + EVEN, k=20)) for words in (CLEAR, VAGUE) for _ in range(60)]
    good = [n < 60 for n in range(120)]
    chosen = range(120) if many else range(40, 120)
    lines = own.folded(pl.Series(texts)).to_list()
    model = own.fit([lines[i] for i in chosen], [good[i] for i in chosen])
    model.write(tmp_path / "q.bin")
    assert sorted(own.checked(tmp_path / "q.bin")) == sorted(own.LABELS)
    binding = fasttext.load_model(str(tmp_path / "q.bin"))
    for line in [*lines[::7], "", "unseen words żółć 你 好", "because"]:
        said = dict(zip(*binding.predict(line, k=2), strict=True))
        assert said == pytest.approx(own_chances(model, line), abs=2e-5)


@given(st.text())
@settings(max_examples=300)
def test_a_folded_text_is_one_line_without_labels(text: str) -> None:
    (line,) = own.folded(pl.Series([text]))
    assert len(line.splitlines()) <= 1
    assert "\0" not in line
    assert "</s>" not in line
    assert not any(word.startswith("__label__") for word in line.split())
    assert own.folded(pl.Series([line]))[0] == line


def test_folded() -> None:
    texts = ["Yes, __label__good it is.\nNext\r\nline", "你好 world", "</s> don't", " \t"]
    assert own.folded(pl.Series(texts)).to_list() == [
        "yes , _ _ label _ _ good it is . ⏎ next ⏎ line",
        "你 好 world",
        "< / s > don ' t",
        "",
    ]


@given(st.floats(-40, 40))
def test_logistic(x: float) -> None:
    assert fasttext_kernels.logistic(x) == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-6, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc(found: list[tuple[int, bool]]) -> None:
    good = [value for value, is_good in found if is_good]
    bad = [value for value, is_good in found if not is_good]
    if good and bad:
        expected = sum((g > b) + (g == b) / 2 for g in good for b in bad) / len(good) / len(bad)
        values, sides = (np.array(column) for column in zip(*found, strict=True))
        assert auc(values, sides) == pytest.approx(expected)


def test_the_longer_answers_are_told_by_their_length(tmp_path: Path) -> None:
    rng = random.Random(0)
    sides = []
    for most in (40, 20):
        talk = [" ".join(rng.choices(EVEN, k=rng.randint(most // 2 + 1, most))) for _ in range(300)]
        turns = [
            [{"role": "user", "content": f"Q {n}?"}, {"role": "assistant", "content": text}]
            for n, text in enumerate(talk)
        ]
        sides.append(write(tmp_path / f"{most}.jsonl", [{"messages": turn} for turn in turns]))
    found: Trained = train_quality(sides[:1], sides[1:], tmp_path / "q.bin")
    assert found.length_accuracy == 1.0
    assert found.length_auc == 1.0


def test_a_file_that_is_read_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="OUT is a file that is to be read"):
        train_quality([str(path)], [str(path)], path)
    assert path.read_text(encoding="utf-8") == "[]"
