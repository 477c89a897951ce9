"""Runs: what is written, that nothing is asked twice, and that a kill changes nothing."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan.errors import UserError
from caravan.eval.choose import choose
from caravan.eval.models.server import open_server
from caravan.eval.run import evaluate
from fake_server import Asked, FakeServer, Fault, Said
from tiny import tiny_model, tiny_tokenizer


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")


def reply(asked: Asked) -> Said:
    """Letters by the length of the prompt, numbers that depend on it: always the same for the same prompt."""
    size = len(asked.prompt)
    if asked.body.get("logprobs"):
        letters = "ABCD"
        top = {f" {letter}": -0.3 - 0.7 * ((n + size) % 4) for n, letter in enumerate(letters)}
        return Said(max(top, key=lambda t: top[t]), top=top)
    return Said(f"We count and find that the answer is {size % 7}.")


def run(server: FakeServer, out: Path, names: str = "mmlu,gsm8k", **more: Any) -> dict[str, dict[str, Any]]:
    model = open_server(server.url, "fake", form="plain", retries=2)
    chosen, _ = choose(names, "samples")
    result = evaluate(model, chosen, out, **more)
    return {told["benchmark"]: told for told in result.scores}


def test_a_mixture_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        with pytest.raises(UserError, match="no mixture here"):
            run(server, tmp_path / "run", mix=str(tmp_path))
        assert not [asked for asked in server.seen if "completions" in asked.path]


def files(out: Path) -> tuple[bytes, bytes]:
    return (out / "items.parquet").read_bytes(), (out / "scores.json").read_bytes()


def test_a_run_writes_a_row_an_item_and_scores_with_all_that_they_need(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        scores = run(server, tmp_path / "run")
    items = pl.read_parquet(tmp_path / "run" / "items.parquet")
    for name, told in scores.items():
        own = items.filter(pl.col("benchmark") == name)
        assert told["items"] == own.height == told["of"]
        assert told["score"] == pytest.approx(own["score"].mean())
        assert told["low"] <= told["score"] <= told["high"]
        assert told["protocol"] == "strict"
        assert len(told["prompt_hash"]) == len(told["data_hash"]) == 32
        assert set(told["failures"].values()) == {0}
    assert items["id"].to_list()[0].endswith("/test/0")
    assert items.filter(pl.col("benchmark") == "mmlu")["logprobs"].list.len().unique().to_list() == [4]
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["scores"][0]["embedded"] is True


def test_a_finished_run_is_not_asked_again_and_gives_the_same_bytes(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        run(server, tmp_path / "run")
        before, asked = files(tmp_path / "run"), len(server.seen)
        run(server, tmp_path / "run")
        assert files(tmp_path / "run") == before
        again = [a for a in server.seen[asked:] if "completions" in a.path]
    assert again == []


def test_a_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        run(server, tmp_path / "run")
        with pytest.raises(UserError, match="holds another run: protocol, benchmarks differ"):
            run(server, tmp_path / "run", protocol="tulu")
        with pytest.raises(UserError, match="holds another run: benchmarks differ"):
            run(server, tmp_path / "run", limit=3)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.txt").write_text("mine")
        with pytest.raises(UserError, match="is no run"):
            run(server, tmp_path / "other")


def test_a_run_killed_before_it_wrote_down_what_is_asked_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".run.json.7.part").write_text("{")
    with FakeServer(reply) as server:
        assert run(server, tmp_path / "run", "gsm8k")["gsm8k"]["items"] == 10


def test_a_file_among_the_answers_that_holds_none_is_named(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        run(server, tmp_path / "run", "gsm8k")
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "run" / "answers" / "gsm8k" / "mine.parquet")
        with pytest.raises(UserError, match=r"mine\.parquet: not the answers of a run; remove it"):
            run(server, tmp_path / "run", "gsm8k")


def test_requests_that_fail_are_no_wrong_answers_and_are_asked_again(tmp_path: Path) -> None:
    broken = True

    def sometimes(asked: Asked) -> Said | Fault:
        return Fault(status=400) if broken and asked.number > 3 and asked.number % 3 == 0 else reply(asked)

    with FakeServer(sometimes) as server:
        told = run(server, tmp_path / "run", "gsm8k")["gsm8k"]
        failed = told["failures"]["failed"]
        assert failed > 0
        assert told["n"] == told["items"] - failed
        low, high = told["bounds"]
        assert low < told["score"] < high or told["score"] in (low, high)
        broken = False
        told = run(server, tmp_path / "run", "gsm8k")["gsm8k"]
    assert told["failures"]["failed"] == 0
    with FakeServer(reply) as server:
        run(server, tmp_path / "whole", "gsm8k")
    assert files(tmp_path / "run")[0] == files(tmp_path / "whole")[0]


def test_a_limit_is_a_part_of_the_whole_run(tmp_path: Path) -> None:
    with FakeServer(reply) as server:
        few = run(server, tmp_path / "few", "mmlu", limit=5)["mmlu"]
        run(server, tmp_path / "all", "mmlu")
    assert (few["items"], few["of"] > 5) == (5, True)
    some, every = (pl.read_parquet(tmp_path / name / "items.parquet") for name in ("few", "all"))
    joined = some.join(every, on="id")
    assert joined.height == 5
    assert (joined["score"] == joined["score_right"]).all()


CHILD = """
import sys
from pathlib import Path
from caravan.eval.choose import choose
from caravan.eval.models.server import open_server
from caravan.eval.run import evaluate
from caravan.eval import run
run.FLUSH = 0.05
chosen, _ = choose("mmlu,gsm8k,bbh", "samples")
evaluate(open_server(sys.argv[1], "fake", form="plain", concurrency=2), chosen, Path(sys.argv[2]))
"""


def killed_runs(tmp_path: Path, kills: int) -> None:
    """Kill a run `kills` times at any moment, let it end, and compare with one that nobody disturbed."""
    chance = random.Random(kills)

    def slowly(asked: Asked) -> Said:
        said = reply(asked)
        return Said(said.text, top=said.top, seconds=0.02)

    with FakeServer(slowly) as server:
        command = [sys.executable, "-W", "error", "-c", CHILD, server.url]
        for _ in range(kills):
            process = subprocess.Popen([*command, str(tmp_path / "killed")])
            deadline = time.monotonic() + 20
            seen = len(server.seen)
            while len(server.seen) == seen and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.4)
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run([*command, str(tmp_path / "killed")], check=True)
        answered = len([a for a in server.seen if "completions" in a.path])
        subprocess.run([*command, str(tmp_path / "whole")], check=True)
        whole = len([a for a in server.seen if "completions" in a.path]) - answered
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert answered < whole + kills * 30, "answers that were kept are asked again"


def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(tmp_path: Path) -> None:
    killed_runs(tmp_path, 3)


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_in_the_same_bytes(tmp_path: Path) -> None:
    killed_runs(tmp_path, 20)


@pytest.mark.slow
def test_two_processes_give_the_items_and_scores_of_one(tmp_path: Path) -> None:
    tiny_model("llama", tmp_path / "model")
    tiny_tokenizer(tmp_path / "model")
    options = [str(tmp_path / "model"), "--benchmarks", "mmlu,truthfulqa,tydiqa", "--data-dir", "samples"]
    module = ["-m", "caravan.eval", "run", *options, "--out"]
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run([*two, *module, str(tmp_path / "two")], check=True)
    subprocess.run([sys.executable, *module, str(tmp_path / "one")], check=True)
    frames = [pl.read_parquet(tmp_path / name / "items.parquet") for name in ("one", "two")]
    same = ["benchmark", "id", "outputs", "status", "extracted", "score", "shots", "prompt_hash", "near_tie"]
    assert frames[0].select(same).equals(frames[1].select(same))
    texts = [(tmp_path / name / "scores.json").read_text() for name in ("one", "two")]
    assert texts[0] == texts[1]
