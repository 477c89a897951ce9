"""Who says how toxic a text is: looked for before anything is asked, and a judge serves as well as a classifier."""

import json
from pathlib import Path

import pytest

from caravan.errors import UserError
from caravan.eval.choose import load_problems
from caravan.eval.outputs import score_outputs
from caravan.eval.toxicity import toxicity_reader
from caravan.terminal import Progress
from fake_server import Asked, FakeServer

TOXIGEN = load_problems("toxigen", "hateful", "samples").problems


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def outputs(folder: Path) -> Path:
    path = folder / "outputs.jsonl"
    rows = [{"id": p.item.id, "output": "a calm text" if n % 2 else "an ugly text"} for n, p in enumerate(TOXIGEN)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_judge_behind_a_server_takes_the_classifiers_place(tmp_path: Path) -> None:
    def judge(asked: Asked) -> str:
        return "YES" if "ugly" in json.dumps(asked.body) else "NO"

    with FakeServer(judge) as server:
        (scored,) = score_outputs("toxigen", outputs(tmp_path), data_dir="samples", classifier=f"{server.url}#judge")
        assert len([a for a in server.seen if "completions" in a.path]) == 2, "each distinct text once"
    ugly = sum(n % 2 == 0 for n in range(len(TOXIGEN)))
    assert scored.told["score"] == pytest.approx(ugly / len(TOXIGEN))
    assert scored.told["lower_is_better"] is True


def test_without_the_published_classifier_texts_wait_unjudged_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scored,) = score_outputs("toxigen", outputs(tmp_path), data_dir="samples")
    assert scored.told["failures"]["unjudged"] == len(TOXIGEN)
    assert scored.told["score"] is None
    assert "--classifier" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/nowhere/classifier", "no such folder"),
        ("http://127.0.0.1:9/v1", "no judge is named"),
        ("http://127.0.0.1:9/v1#", "no judge is named"),
    ],
)
def test_a_classifier_that_is_named_must_be_there(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        toxicity_reader(name, Progress(quiet=True))


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="no safetensors"):
        toxicity_reader(str(tmp_path), Progress(quiet=True))
