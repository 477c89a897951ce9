"""The command line: exit statuses, one line for what is wrong, JSON that scripts read, and a quick --help."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caravan.eval.choose import load_problems
from fake_server import FakeServer, Fault

HEAVY = ("torch", "transformers", "scipy", "polars", "pyarrow", "starlette", "httpx", "numpy")


def evaluate(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "caravan.eval", *words]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from caravan.eval.cli import app
for words in ([], ["run"], ["score"], ["judge"], ["compare"], ["human", "serve"]):
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere", "--benchmarks", "mmlu", "--data-dir", "samples"], "no such folder"),
        (["run", "nowhere", "--benchmarks", "mmul", "--data-dir", "samples"], "did you mean 'mmlu'?"),
        (["run", "nowhere", "--data-dir", "missing"], "no benchmark in this folder"),
        (["run", "nowhere", "--benchmarks", "humaneval", "--data-dir", "samples"], ""),
        (["score", "bbh", "missing.jsonl", "--data-dir", "samples"], "no such file or folder"),
        (["score", "humaneval", "missing.jsonl"], "--run-code"),
        (["compare", "missing"], "missing"),
        (["judge", "missing", "--max-cost", "1"], "--prices"),
        (["judge", "missing", "--prices", "cheap", "--max-cost", "1"], "not two numbers"),
        (["human", "report", "missing"], "missing"),
        (["show", "mmlu", "--data-dir", "samples", "--item", "99999"], "no item '99999'"),
        (["show", "mmlu,bbh", "--data-dir", "samples"], "one benchmark"),
        (["run"], "Missing argument"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_status_2(words: list[str], says: str, tmp_path: Path) -> None:
    done = evaluate(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    with FakeServer(lambda asked: Fault("stall") if asked.number > 2 else "The answer is 7.") as server:
        words = [
            "run",
            "fake",
            "--url",
            server.url,
            "--benchmarks",
            "gsm8k",
            "--data-dir",
            "samples",
            "--form",
            "plain",
        ]
        command = [sys.executable, "-m", "caravan.eval", *words, "--out", str(tmp_path / "run")]
        environment = os.environ | {"OPENAI_API_KEY": "sk-of-the-test"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        deadline = time.monotonic() + 30
        while len(server.seen) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("interrupted: run the same command again")


def test_json_is_one_object_on_standard_output(tmp_path: Path) -> None:
    problems = load_problems("gsm8k", "8-shot", "samples").problems
    file = tmp_path / "outputs.jsonl"
    rows = [{"id": p.item.id, "output": f"We add it up.\n#### {p.golds[0]}"} for p in problems]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = evaluate("score", "gsm8k", str(file), "--data-dir", "samples", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["score"], told["n"], told["disagreements"]) == (1.0, len(problems), [])
    assert {"stderr", "failures", "low", "high", "groups", "protocols"} <= told.keys()


def test_the_prompt_of_an_item_is_shown_before_any_model_is_asked() -> None:
    done = evaluate("show", "mmlu", "--data-dir", "samples", "--item", "1", "--json")
    told = json.loads(done.stdout)
    assert told["item"].endswith("/test/1")
    assert told["prompt"].endswith("Answer:")
    assert told["shots"] == 5
