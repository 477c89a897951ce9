"""`evaluate judge`: outputs against a reference or another model's, and what is written into a run."""

import json
from pathlib import Path

import polars as pl
import pytest

from caravan.errors import UserError
from caravan.eval.choose import choose, load_problems
from caravan.eval.judging.outputs import judge_outputs
from caravan.eval.models.client import Endpoint
from caravan.eval.models.server import open_server
from caravan.eval.run import evaluate
from fake_server import Asked, FakeServer, Said

ALPACA = load_problems("alpaca_eval", "generation", "samples").problems


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")


def first_wins(asked: Asked) -> Said:
    """A judge that always prefers whichever stands first."""
    return Said("A")


def model_run(folder: Path) -> Path:
    with FakeServer(lambda asked: f"An answer of its own to {len(asked.prompt)} letters.") as server:
        chosen, _ = choose("alpaca_eval", "samples")
        evaluate(open_server(server.url, "model", form="plain"), chosen, folder)
    return folder


def test_a_run_gets_the_verdicts_and_its_score(tmp_path: Path) -> None:
    run = model_run(tmp_path / "run")
    before = json.loads((run / "scores.json").read_text())["scores"][0]
    assert (before["score"], before["failures"]["unjudged"]) == (None, len(ALPACA))
    with FakeServer(first_wins) as server:
        judged = judge_outputs(run, None, Endpoint(server.url, "judge"), tmp_path / "judged", data_dir="samples")
        assert len([a for a in server.seen if "completions" in a.path]) == 2 * len(ALPACA), "both orders, always"
    assert judged.models[0] == "model"
    assert judged.summary["win_rate"]["score"] == 0.5
    assert judged.summary["flips"]["score"] == 1.0
    assert judged.summary["position_bias"]["score"] == 0.5
    after = json.loads((run / "scores.json").read_text())["scores"][0]
    assert (after["score"], after["n"], after["failures"]["unjudged"]) == (0.5, len(ALPACA), 0)
    assert after["prompt_hash"] == before["prompt_hash"]
    items = pl.read_parquet(run / "items.parquet")
    assert items["score"].to_list() == [0.5] * len(ALPACA)
    assert items["judged"].explode().to_list() == [0.5] * len(ALPACA)
    assert items["prompt_hash"].null_count() == 0


def test_the_same_judge_again_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    run = model_run(tmp_path / "run")
    with FakeServer(first_wins) as server:
        judge_outputs(run, None, Endpoint(server.url, "judge"), tmp_path / "judged", data_dir="samples")
        asked = len(server.seen)
        again = judge_outputs(run, None, Endpoint(server.url, "judge"), tmp_path / "judged", data_dir="samples")
        assert [a for a in server.seen[asked:] if "completions" in a.path] == []
    assert again.score is not None
    assert again.score["score"] == 0.5


def test_a_run_that_is_written_again_after_the_judge_keeps_the_verdicts(tmp_path: Path) -> None:
    run, (chosen, _) = tmp_path / "run", choose("alpaca_eval", "samples")
    with FakeServer(lambda asked: f"An answer of its own to {len(asked.prompt)} letters.") as server:
        evaluate(open_server(server.url, "model", form="plain"), chosen, run)
        with FakeServer(first_wins) as judging:
            judge_outputs(run, None, Endpoint(judging.url, "judge"), tmp_path / "judged", data_dir="samples")
        before = pl.read_parquet(run / "items.parquet")
        (told,) = evaluate(open_server(server.url, "model", form="plain"), chosen, run).scores
    assert (told["score"], told["failures"]["unjudged"]) == (0.5, 0)
    assert pl.read_parquet(run / "items.parquet").equals(before)


def test_a_judged_run_is_scored_by_its_own_protocol(tmp_path: Path) -> None:
    with FakeServer(lambda _: "") as server:
        chosen, _ = choose("alpaca_eval", "samples")
        evaluate(open_server(server.url, "model", form="plain"), chosen, tmp_path / "run", protocol="tulu")
    with FakeServer(first_wins) as server:
        judge_outputs(tmp_path / "run", None, Endpoint(server.url, "judge"), tmp_path / "judged", data_dir="samples")
    told = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"][0]
    assert (told["protocol"], told["n"], told["failures"]["empty"]) == ("tulu", len(ALPACA), 0)
    assert pl.read_parquet(tmp_path / "run" / "items.parquet")["status"].unique().to_list() == ["scored"]


def test_two_files_against_each_other(tmp_path: Path) -> None:
    for name, answer in (("oak", "Long and careful, with all that was asked."), ("birch", "No.")):
        rows = [{"id": str(n), "prompt": f"Question {n}?", "output": answer} for n in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def longer_wins(asked: Asked) -> Said:
        return Said("A" if asked.prompt.find("Long and careful") < asked.prompt.find("No.") else "B")

    with FakeServer(longer_wins) as server:
        judged = judge_outputs(
            tmp_path / "oak.jsonl", tmp_path / "birch.jsonl", Endpoint(server.url, "judge"), tmp_path / "judged"
        )
    assert judged.models == ("oak", "birch")
    assert judged.summary["win_rate"]["score"] == 1.0
    assert judged.summary["flips"]["score"] == 0.0
    assert judged.score is None
    assert judged.length is not None
    assert "too few" in judged.length["refused"]


def test_outputs_without_a_reference_are_refused(tmp_path: Path) -> None:
    run = model_run(tmp_path / "run")
    data = tmp_path / "data" / "alpaca_eval"
    data.mkdir(parents=True)
    bare = [{"instruction": p.item.question, "dataset": p.item.group} for p in ALPACA]
    (data / "alpaca_eval.json").write_text(json.dumps(bare))
    with FakeServer(first_wins) as server, pytest.raises(UserError, match="no reference outputs"):
        judge_outputs(run, None, Endpoint(server.url, "judge"), tmp_path / "judged", data_dir=str(tmp_path / "data"))
