"""The log reads as that of an unbroken run whatever ended it before; the picture is drawn from it alone."""

import json
import math
import os
import pty
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import curve, metrics
from caravan.train.metrics import METRICS, Metrics, line, read

HOSTILE = "<script>alert(1)</script>\"'&\u202e"
SVG = "{http://www.w3.org/2000/svg}"
FIRST, SECOND = SimpleNamespace(rank=0), SimpleNamespace(rank=1)


def record(step: int, **more: Any) -> dict[str, Any]:
    plain = {
        "step": step, "epoch": step / 10, "loss": 3 / step, "lr": 1e-5, "grad_norm": 0.83, "tokens": 4000,
        "supervised_tokens": 1500, "examples": 8, "loss_by_source": {"flan": 2.0, "cot": 1.5},
        "loss_by_turn": {"1": 2.0},
        "speed": {"seconds": 0.5, "tokens_per_second_per_gpu": 3412.4, "mfu": 0.461, "memory_gib": 61.24},
    }  # fmt: skip
    return plain | more


def log(folder: Path, steps: range, *, done: int = 0, total: int = 20, world: SimpleNamespace = FIRST) -> None:
    with Metrics(folder, world, [], total, done, Progress(quiet=True)) as opened:
        for step in steps:
            opened.log(record(step))


def test_one_sorted_compact_object_a_step(tmp_path: Path) -> None:
    log(tmp_path, range(1, 4))
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [json.loads(text)["step"] for text in lines] == [1, 2, 3]
    assert lines[0] == json.dumps(json.loads(lines[0]), sort_keys=True, separators=(",", ":"))
    assert json.loads(lines[1]) == record(2)
    assert set(json.loads(lines[0])["speed"]) == set(metrics.SPEED)


@given(done=st.integers(0, 12), torn=st.binary(max_size=40).filter(lambda b: b"\n" not in b))
def test_a_resumed_log_is_that_of_an_unbroken_run(
    tmp_path_factory: pytest.TempPathFactory, done: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("run")
    log(folder, range(1, 21))
    unbroken = (folder / METRICS).read_bytes()
    log(folder, range(1, 13))
    with (folder / METRICS).open("ab") as file:
        file.write(torn)
    log(folder, range(done + 1, 21), done=done)
    assert (folder / METRICS).read_bytes() == unbroken
    assert not list(folder.glob(".*"))


def test_a_last_line_cut_anywhere_leaves_the_whole_ones_before_it(tmp_path: Path) -> None:
    log(tmp_path, range(1, 4))
    whole = (tmp_path / METRICS).read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole) - 1):
        (tmp_path / METRICS).write_bytes(whole[:end])
        assert [r["step"] for r in read(tmp_path / METRICS)] == [1, 2]
        metrics.cut(tmp_path / METRICS, 3)
        assert (tmp_path / METRICS).read_bytes() == whole[:start]


def test_a_record_is_in_the_file_when_log_returns(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from caravan.terminal import Progress\n"
        "from caravan.train.metrics import Metrics\n"
        "opened = Metrics(Path(sys.argv[1]), SimpleNamespace(rank=0), [], 9, 0, Progress())\n"
        "opened.log({'step': 1, 'loss': 0.5})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True)
    assert read(tmp_path / METRICS) == [{"step": 1, "loss": 0.5}]


def test_only_rank_0_writes(tmp_path: Path) -> None:
    log(tmp_path / "run", range(1, 4), world=SECOND)
    assert not (tmp_path / "run").exists()


def test_what_is_not_finite_is_null_in_the_file_and_a_gap_in_the_picture(tmp_path: Path) -> None:
    with Metrics(tmp_path, FIRST, [], 3, 0, Progress(quiet=True)) as opened:
        opened.log(record(1))
        opened.log(record(2, loss=math.nan, grad_norm=math.inf, loss_by_source={"flan": math.nan, "cot": 1.0}))
        opened.log(record(3))
    second = read(tmp_path / METRICS)[1]
    assert (second["loss"], second["grad_norm"], second["loss_by_source"]["flan"]) == (None, None, None)
    assert "NaN" not in (tmp_path / METRICS).read_text()
    assert curve.write(tmp_path) == tmp_path / curve.CURVE
    raw = next(p for p in ET.parse(tmp_path / curve.CURVE).iter(f"{SVG}path") if p.get("class") == "raw")
    assert str(raw.get("d")).count("M") == 2


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_named_with_the_cure(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MODULES", {name: f"{name}_that_nobody_has"})
    for world in (FIRST, SECOND):  # all processes end with the same error
        with pytest.raises(UserError, match=f"{name} is not installed; pip install"):
            Metrics(tmp_path / "run", world, [name], 10, 0, Progress(quiet=True))
    assert not (tmp_path / "run").exists()


def test_trackers_get_flat_finite_figures_and_a_resumed_run_goes_on_with_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B needs an account or a service: here a module of its name notes what it is given."""
    (tmp_path / "wandb.py").write_text(
        "from types import SimpleNamespace\n"
        "seen, Settings, Error = [], dict, RuntimeError\n"
        "def init(**given):\n"
        "    seen.append(given)\n"
        "    return SimpleNamespace(define_metric=lambda *a, **k: None, log=seen.append, finish=lambda: None)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "secret-key")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    for done in (0, 1, 0):
        with Metrics(tmp_path / "run", FIRST, ["wandb"], 3, done, Progress(quiet=True)) as opened:
            opened.log(record(done + 1, grad_norm=math.nan))
    from wandb import seen  # type: ignore[import-not-found,attr-defined,unused-ignore]

    starts, logs = seen[0::2], seen[1::2]
    assert logs[0] == {
        "step": 1, "epoch": 0.1, "loss": 3.0, "lr": 1e-5, "tokens": 4000, "supervised_tokens": 1500, "examples": 8,
        "loss_by_source/flan": 2.0, "loss_by_source/cot": 1.5, "loss_by_turn/1": 2.0, "speed/seconds": 0.5,
        "speed/tokens_per_second_per_gpu": 3412.4, "speed/mfu": 0.461, "speed/memory_gib": 61.24,
    }  # fmt: skip
    assert starts[0]["id"] == starts[1]["id"] != starts[2]["id"]  # the third began anew
    assert "secret" not in str(seen)
    monkeypatch.delitem(sys.modules, "wandb")


def test_the_line_for_people() -> None:
    shown = line(record(120, loss=1.23454, lr=1.9e-5), 938, 2530.4)
    assert shown == (
        "step 120/938  loss 1.2345  lr 1.9e-05  grad 0.83  3,412 tok/s/GPU  MFU 46 %  61.2 GiB  0:42:10 left"
    )
    assert line({"step": 1, "loss": None, "speed": {"mfu": None}}, 2, None) == "step 1/2  the loss is not finite"
    assert line({"step": 1}, 2, 360_000.0) == "step 1/2  100:00:00 left"


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_long_run_says_about_a_hundred_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated = {"validation": {"loss": 1.234567, "reproduced": 0.25, "loss_by_source": {"flan": 1.0}}}
    with Metrics(tmp_path, FIRST, [], 5_000, 0, Progress()) as opened:
        for step in range(1, 5_001):
            opened.log({"step": step, "loss": 1.0} | ({"eval": evaluated} if step == 33 else {}))
    lines = said(capsys)
    assert len(lines) == 102  # the first, each fiftieth, and the evaluation
    assert lines[0].startswith("step 1/5,000  loss 1.0000")
    assert lines[1] == "step 33  validation  loss 1.235  reproduced 0.25"
    assert lines[-1] == "step 5,000/5,000  loss 1.0000  0:00:00 left"


def test_a_short_run_says_every_step_and_a_slow_one_now_and_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Metrics(tmp_path, FIRST, [], 3, 0, Progress()) as opened:
        for step in (1, 2, 3):
            opened.log({"step": step})
    assert len(said(capsys)) == 3
    clock = iter(range(0, 100_000, 30))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with Metrics(tmp_path, FIRST, [], 10_000, 0, Progress()) as opened:
        for step in range(1, 8):
            opened.log({"step": step})
    lines = said(capsys)
    assert [text.split()[1] for text in lines] == ["1/10,000", "3/10,000", "5/10,000", "7/10,000"]
    assert lines[1].endswith("83:18:30 left")  # 9,997 steps of 30 s


def test_on_a_terminal_the_line_stays_last_and_others_stand_above_it(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from caravan.terminal import Progress\n"
        "from caravan.train.metrics import Metrics\n"
        "progress = Progress()\n"
        "with Metrics(Path(sys.argv[1]), SimpleNamespace(rank=0), [], 50, 0, progress) as opened:\n"
        "    for step in range(1, 51):\n"
        "        opened.log({'step': step, 'loss': 1.0})\n"
        "        if step == 20: progress.say('saved step-20')\n"
        "progress.say('done')\n"
    )
    read_end, write_end = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, stderr=write_end, env=environ)
    os.close(write_end)
    shown = os.read(read_end, 1 << 16).decode()
    os.close(read_end)
    screen: list[str] = [""]
    at = 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):  # what a terminal does with it
        if part == "\n":
            at += 1
            screen += [""] * (at + 1 - len(screen))
        elif part.endswith("A") and part.startswith("\x1b["):
            at -= int(part[2:-1] or 1)
        elif part.startswith("\x1b[2K"):
            screen[at] = ""
        elif not part.startswith(("\x1b", "\r")):
            screen[at] += part
    assert [text for text in screen if text] == ["saved step-20", "step 50/50  loss 1.0000  0:00:00 left", "done"]


def run_of(steps: int, sources: list[str]) -> list[dict[str, Any]]:
    evaluated = {"eval": {"validation": {"loss": 1.4}, "training_sample": {"loss": 1.2}}}
    return [
        record(n, loss=1 + 2 / n + n % 3 / 10, loss_by_source={s: 1 + k / 9 + 1 / n for k, s in enumerate(sources)})
        | (evaluated if n % 5 == 0 else {})
        for n in range(1, steps + 1)
    ]


def test_the_picture_says_what_it_shows_and_escapes_what_it_is_given() -> None:
    picture = curve.picture(run_of(30, ["flan", HOSTILE, "a source with a name that is far too long for its place"]))
    root = ET.fromstring(picture)
    texts = [str(e.text) for e in root.iter(f"{SVG}text")]
    assert {"Training loss", "Loss by source", "learning rate", "epoch 2", "epoch 3", "flan"} <= set(texts)
    assert any(re.fullmatch(r"1\.400 held-out", text) for text in texts)
    assert any(re.fullmatch(r"1\.\d{3} training", text) for text in texts)
    assert len([c for c in root.iter(f"{SVG}circle") if c.get("class") == "c3"]) == 6
    assert "<script" not in picture
    assert "\u202e" not in picture
    assert "prefers-color-scheme:dark" in picture
    assert "var(" not in picture  # viewers other than browsers know none
    assert not re.search(r"(href|url\(|style=)", picture)  # nothing from elsewhere, and no attribute that a policy bars
    assert "Loss by source" not in curve.picture(run_of(30, ["flan"]))


@pytest.mark.parametrize("steps", [1, 2, 3, 500, 20_000])
def test_every_point_lies_within_the_picture_and_its_size_has_a_bound(steps: int) -> None:
    picture = curve.picture(run_of(steps, ["flan", "cot", "dolly"]))
    assert len(picture) < 200_000
    root = ET.fromstring(picture)
    width, height = int(str(root.get("width"))), int(str(root.get("height")))
    paths = list(root.iter(f"{SVG}path"))
    assert paths
    for path in paths:
        for x, y in re.findall(r"[ML]([\d.-]+),([\d.-]+)", str(path.get("d"))):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height


def test_a_run_without_a_finite_loss_and_one_without_a_step(tmp_path: Path) -> None:
    ET.fromstring(curve.picture([{"step": n, "loss": None, "lr": 0.0} for n in (1, 2)]))
    assert curve.write(tmp_path) is None


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 20)), min_size=1, max_size=200),
    st.integers(1, 40),
)
def test_smoothing_keeps_places_gaps_and_bounds(values: list[float | None], share: int) -> None:
    points = [(float(n), v) for n, v in enumerate(values)]
    smooth = curve.smoothed(points, share)
    assert [step for step, _ in smooth] == [step for step, _ in points]
    there = [v for v in values if v is not None]
    for (_, before), (_, after) in zip(points, smooth, strict=True):
        assert (before is None) == (after is None)
        if after is not None:
            assert min(there) - 1e-6 <= after <= max(there) + 1e-6


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 10))
def test_ticks_are_within_their_range_and_not_many(low: float, width: float, about: int) -> None:
    high = low + width
    if high > low:
        found = curve.ticks(low, high, about)
        assert len(found) <= 2 * about + 2
        assert all(low - width * 1e-3 <= t <= high + width * 1e-3 for t in found)
