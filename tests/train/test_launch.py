"""Processes that find each other, hear signals, and end together: real processes, real signals, no group left."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.train import launch, spawn
from caravan.train.config import TrainConfig
from caravan.train.launch import StopFlag, join
from caravan.train.place import Place, first_host, found

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29400"}
SLURM = {
    "SLURM_PROCID": "5", "SLURM_NTASKS": "16", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "gpu[07-08],x1", "SLURM_JOB_NODELIST": "gpu[01-08]",
}  # fmt: skip
REPORT = """
    import json, os, signal, subprocess, sys, time
    from pathlib import Path
    out = Path(sys.argv[1])
    def say(name, value):
        aside = out / (name + ".part")
        aside.write_text(json.dumps(value))
        aside.rename(out / name)
"""
TRAINING = """
    import torch
    from caravan.train.config import TrainConfig
    from caravan.train.launch import StopFlag, join
"""
ALL_REDUCE = """
    with join(TrainConfig(precision="fp32", replicas=int(os.environ.get("REPLICAS", 1)))) as world:
        own = torch.tensor([1.0, world.rank])
        say(f"rank-{world.rank}", {
            "size": world.size, "local": [world.local_rank, world.local_size, world.nodes],
            "sum": world.sum(own).tolist(), "own": own.tolist(),
            "any": [world.any(False), world.any(world.rank == 1), world.any(True)],
            "gathered": world.gather({"rank": world.rank, "text": "ü" * (1 + 3 * world.rank)}),
            "mesh": [list(world.mesh.mesh.shape), list(world.mesh.mesh_dim_names)],
            "gloo": torch.distributed.get_backend(world.gloo),
            "threads": torch.get_num_threads(),
        })
        world.barrier()
    assert not torch.distributed.is_initialized()
"""


def config(**more: Any) -> TrainConfig:
    return TrainConfig.model_validate({"precision": "fp32"} | more)


def script(folder: Path, *parts: str) -> list[str]:
    """A program that the ranks run: what it says lands in the folder."""
    path = folder / "ranks.py"
    path.write_text("".join(map(textwrap.dedent, (REPORT, *parts))), encoding="utf-8")
    return [sys.executable, str(path), str(folder)]


def heard(folder: Path, name: str) -> Any:
    """What a rank said, once it has."""
    until = time.monotonic() + 60
    while not (folder / name).exists():
        assert time.monotonic() < until, f"{name} was never said"
        time.sleep(0.02)
    return json.loads((folder / name).read_text())


def gone(process: int, seconds: float = 10) -> bool:
    """Whether a process ends within this time (a zombie has ended)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "TORCHELASTIC")) or name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_the_place_that_torchrun_gives() -> None:
    assert found(TORCHRUN) == Place(3, 4, 1, "node0", 29400, counted=False)
    assert found(TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}) == Place(3, 4, 1, "node0", 29400, counted=True)
    pod = {name: value for name, value in TORCHRUN.items() if name != "LOCAL_RANK"}
    assert found(pod) == Place(3, 4, 0, "node0", 29400)


def test_the_place_that_slurm_gives_is_that_of_the_step() -> None:
    assert found(SLURM) == Place(5, 8, 1, "gpu07", 12_079)
    other = found(SLURM | {"SLURM_JOB_ID": "4000000123", "MASTER_ADDR": "10.0.0.1"})
    assert other is not None
    assert (other.host, 12_000 <= other.port < 32_000) == ("10.0.0.1", True)
    assert found(SLURM | TORCHRUN) == found(TORCHRUN)  # torchrun within a step


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MASTER_ADDR": "a", "MASTER_PORT": "1"},
        {n: v for n, v in SLURM.items() if n != "SLURM_STEP_ID"},  # a batch script: nobody started the other tasks
        SLURM | {"SLURM_STEP_ID": "4294967290"},  # an interactive shell of an allocation
        SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # one task, which may have all GPUs
        TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"},
    ],
)
def test_a_process_that_is_alone_has_no_place_and_may_start_others(environ: Mapping[str, str]) -> None:
    assert found(environ) is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "has RANK, WORLD_SIZE but not MASTER_ADDR, MASTER_PORT"),
        ({"RANK": "0"}, "not WORLD_SIZE"),
        (TORCHRUN | {"RANK": "4"}, "rank 4 of 4"),
        (TORCHRUN | {"RANK": "-1"}, "RANK: not a number"),
        (TORCHRUN | {"MASTER_PORT": "http"}, "MASTER_PORT: not a number"),
        (SLURM | {"SLURM_STEP_NODELIST": "[]"}, "not a node list"),
        (SLURM | {"SLURM_PROCID": ""}, "SLURM_PROCID: is not set"),
    ],
)
def test_an_environment_set_by_half_is_named(environ: Mapping[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        found(environ)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node[03-05,9],x1", "node03"),
        ("x1,node[03-05]", "x1"),
        ("rack[2-3]node[010,012]", "rack2node010"),
        ("gpu-a-1", "gpu-a-1"),
        ("n[7]-ib", "n7-ib"),
        ("a.b.example", "a.b.example"),
    ],
)
def test_the_first_host_of_a_node_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


@given(
    prefix=st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z]", fullmatch=True),
    numbers=st.lists(st.integers(0, 999), min_size=1, max_size=5),
    width=st.integers(0, 4),
    rest=st.sampled_from(["", ",other", ",other[1-3]", ",a[1]b[2]"]),
)
def test_the_first_host_of_any_list(prefix: str, numbers: list[int], width: int, rest: str) -> None:
    spans = [f"{n:0{width}}" if n % 2 else f"{n:0{width}}-{n + 3:0{width}}" for n in numbers]
    assert first_host(f"{prefix}[{','.join(spans)}]{rest}") == f"{prefix}{numbers[0]:0{width}}"


@pytest.mark.parametrize("nodes", ["", "[", "a[", "a[]", "a]b", ",a", "a b"])
def test_what_is_no_node_list_is_refused(nodes: str) -> None:
    with pytest.raises(UserError, match="MASTER_ADDR"):
        first_host(nodes)


def test_one_process_in_fp32_starts_no_group() -> None:
    with join(config()) as world:
        assert (world.rank, world.size, world.mesh, world.gloo) == (0, 1, None, None)
        assert not dist.is_initialized()
        tensor = torch.ones(2)
        assert world.sum(tensor) is tensor
        assert (world.any(True), world.any(False)) == (True, False)
        assert world.gather({"a": [1, None]}) == [{"a": [1, None]}]
        world.barrier()


@pytest.mark.parametrize("more", [{"precision": "bf16"}, {"cpu_offload": True}])
def test_one_process_that_shards_has_a_mesh_and_leaves_no_group(more: dict[str, Any]) -> None:
    for _ in range(2):  # once more in the same process, as in a notebook
        with join(config(**more)) as world:
            assert world.mesh is not None
            assert world.mesh.mesh.tolist() == [0]
            assert world.gloo is not None
            assert dist.get_world_size(world.gloo) == 1
        assert not dist.is_initialized()
    with pytest.raises(ZeroDivisionError), join(config(**more)):
        raise ZeroDivisionError
    assert not dist.is_initialized()


def test_threads_are_set_for_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with join(config()):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_replicas_divide_the_processes() -> None:
    with pytest.raises(UserError, match="1 processes do not make 2 equal replicas"), join(config(replicas=2)):
        pass


def joined_as(rank: int, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Join a run of two in which nobody else comes, within a second."""
    monkeypatch.setattr(launch, "ARRIVAL", 1.0)
    place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with join(config()):
        pass


def test_a_port_that_is_taken_a_process_0_that_is_away_and_others_that_do_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port}: the port is taken"):
            joined_as(0, port, monkeypatch)
    with pytest.raises(UserError, match="process 0 cannot be reached within 1 s"):
        joined_as(1, port, monkeypatch)
    with pytest.raises(UserError, match="1 of 2 processes came"):
        joined_as(0, port, monkeypatch)
    assert not dist.is_initialized()


def check(folder: Path, *, mesh: list[Any], threads: int) -> None:
    for rank in (0, 1):
        assert heard(folder, f"rank-{rank}") == {
            "size": 2,
            "local": [rank, 2, 1],
            "sum": [2.0, 1.0],
            "own": [1.0, float(rank)],
            "any": [False, True, True],
            "gathered": [{"rank": 0, "text": "ü"}, {"rank": 1, "text": "üüüü"}],
            "mesh": mesh,
            "gloo": "gloo",
            "threads": threads,
        }


def test_under_torchrun_also_after_a_restart(tmp_path: Path) -> None:
    fails_once = """
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        with join(TrainConfig(precision="fp32")) as world:
            os._exit(9)
    """
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run(
        [
            sys.executable,
            *command,
            "--monitor-interval",
            "0.1",
            *script(tmp_path, TRAINING, fails_once, ALL_REDUCE)[1:],
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path, mesh=[[2], ["shard"]], threads=1)


def test_under_slurm_with_two_replicas(tmp_path: Path) -> None:
    command = script(tmp_path, TRAINING, ALL_REDUCE)
    job = {
        "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "localhost", "REPLICAS": "2", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    tasks = [
        subprocess.Popen(command, env=os.environ | job | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
        for rank in (0, 1)
    ]
    assert [task.wait(timeout=120) for task in tasks] == [0, 0]
    check(tmp_path, mesh=[[2, 1], ["replicate", "shard"]], threads=2)


def test_started_by_ourselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = signal.getsignal(signal.SIGTERM)
    assert spawn.run(script(tmp_path, TRAINING, ALL_REDUCE), config(nproc=2)) == 0
    check(tmp_path, mesh=[[2], ["shard"]], threads=max(spawn.processors() // 2, 1))
    assert signal.getsignal(signal.SIGTERM) is before


def test_start_runs_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(*given: Any) -> int:
        seen.append(given)
        return 7

    monkeypatch.setattr(spawn, "run", run)
    assert spawn.start(config(nproc=2), ["fsdp", "mix"]) == 7
    assert seen == [([sys.executable, "-m", "caravan.train.cli", "fsdp", "mix"], config(nproc=2))]
    assert spawn.default_nproc() == max(torch.cuda.device_count(), 1)


RANKS = """
    rank = int(os.environ["RANK"])
    say(f"environ-{rank}", {n: os.environ[n] for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
        "MASTER_ADDR", "MASTER_PORT")})
"""


def test_the_processes_of_one_node_of_several(tmp_path: Path) -> None:
    several = config(nproc=2, nnodes=3, node_rank=1, master="[fd00::1]:29511")
    assert spawn.run(script(tmp_path, RANKS), several) == 0
    assert [heard(tmp_path, f"environ-{rank}") for rank in (2, 3)] == [
        {
            "RANK": str(rank), "WORLD_SIZE": "6", "LOCAL_RANK": str(rank - 2), "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "fd00::1", "MASTER_PORT": "29511",
        }
        for rank in (2, 3)
    ]  # fmt: skip
    for wrong in ("node0", ":29500", "node0:http", "node0:70000"):
        with pytest.raises(UserError, match=r"--master: .* is not HOST:PORT"):
            spawn.run(["true"], config(nproc=1, nnodes=2, master=wrong))


FAILING = """
    with join(TrainConfig(precision="fp32")) as world:
        say(f"pid-{world.rank}", os.getpid())
        print("rank", world.rank, "prints", flush=True)
        print("rank", world.rank, "warns", file=sys.stderr, flush=True)
        world.barrier()
        if world.rank == 1:
            HOW
        while True:
            world.any(False)
            time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("how", "code", "error"),
    [
        ("raise ValueError('no such luck')", 1, "[rank 1] ValueError: no such luck"),
        ("os.kill(os.getpid(), 9)", 137, "error: rank 1 was ended by SIGKILL, perhaps for want of memory"),
    ],
)
def test_when_one_fails_its_error_and_code_are_shown_and_the_others_end(
    how: str, code: int, error: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert spawn.run(script(tmp_path, TRAINING, FAILING.replace("HOW", how)), config(nproc=2)) == code
    out, err = capfd.readouterr()
    assert out == "rank 0 prints\n"
    assert err.startswith("rank 0 warns\n")
    assert err.splitlines()[-1] == error
    assert "[rank 1] rank 1 warns" in err
    assert "UserError: another process of this run has ended; its own error says why" in err  # of rank 0
    assert all(gone(heard(tmp_path, f"pid-{rank}"), 0.1) for rank in (0, 1))


def test_one_that_hangs_is_ended_when_another_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spawn, "GRACE", 0.5)
    hangs = """
    rank = int(os.environ["RANK"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen(["sleep", "600"])
    say(f"pids-{rank}", [os.getpid(), helper.pid])
    while rank == 0:
        time.sleep(0.1)
    while not (out / "pids-0").exists():
        time.sleep(0.01)
    helper.kill()
    sys.exit(3)
    """
    start = time.monotonic()
    assert spawn.run(script(tmp_path, hangs), config(nproc=2)) == 3
    assert time.monotonic() - start < 30
    assert all(gone(process) for process in heard(tmp_path, "pids-0"))


def test_an_error_that_all_share_is_shown_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shared = """
    with join(TrainConfig(precision="fp32")) as world:
        time.sleep(0.1 * (1 - world.rank))
        sys.exit("the loss is not finite")
    """
    assert spawn.run(script(tmp_path, TRAINING, shared), config(nproc=2)) == 1
    assert capfd.readouterr().err == "the loss is not finite\n"


STOPPED = """
    with join(TrainConfig(precision="fp32")) as world, StopFlag() as stop:
        say(f"pid-{world.rank}", os.getpid())
        while not world.any(stop.asked() is not None):
            time.sleep(0.01)
        say(f"reason-{world.rank}", stop.asked())
        time.sleep(0.3 * world.rank)
        world.barrier()
        say(f"saved-{world.rank}", True)
    sys.exit(130)
"""


PLAIN = """
    seen = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: seen.append(number))
    rank = os.environ["RANK"]
    say(f"pid-{rank}", os.getpid())
    while len(seen) < 2:
        time.sleep(0.01)
    say(f"seen-{rank}", seen)
    time.sleep(600)
"""


def started(folder: Path, *parts: str) -> subprocess.Popen[bytes]:
    """A parent of its own that starts two processes."""
    parent = (
        "import json, sys\n"
        "from caravan.train import spawn\n"
        "from caravan.train.config import TrainConfig\n"
        "raise SystemExit(spawn.run(json.loads(sys.argv[1]), TrainConfig(nproc=2)))\n"
    )
    command = [sys.executable, "-c", parent, json.dumps(script(folder, *parts))]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_a_signal_is_handed_on_and_the_processes_save_and_end(tmp_path: Path) -> None:
    with started(tmp_path, TRAINING, STOPPED) as parent:
        pids = [heard(tmp_path, f"pid-{rank}") for rank in (0, 1)]
        parent.send_signal(signal.SIGINT)
        _, error = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert error == b""
    for rank in (0, 1):
        assert heard(tmp_path, f"reason-{rank}") in ("SIGINT was received", None)  # None: the other heard first
        assert heard(tmp_path, f"saved-{rank}") is True
        assert gone(pids[rank], 0.1)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with started(tmp_path, PLAIN) as parent:
        pids = [heard(tmp_path, f"pid-{rank}") for rank in (0, 1)]
        parent.send_signal(signal.SIGUSR1)  # a word of what will come counts for nothing
        time.sleep(0.2)
        parent.send_signal(signal.SIGTERM)
        assert [heard(tmp_path, f"seen-{rank}") for rank in (0, 1)] == [[signal.SIGUSR1, signal.SIGTERM]] * 2
        assert parent.poll() is None
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=10) == 130
    assert all(gone(pid, 0.1) for pid in pids)


def test_a_killed_parent_leaves_no_processes(tmp_path: Path) -> None:
    with started(tmp_path, TRAINING, STOPPED) as parent:
        pids = [heard(tmp_path, f"pid-{rank}") for rank in (0, 1)]
        parent.kill()
        assert all(gone(pid) for pid in pids)


def test_a_signal_sets_the_flag_and_handlers_are_restored() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    for number in before:
        with StopFlag() as stop:
            assert stop.asked() is None
            os.kill(os.getpid(), number)
            assert stop.asked() == f"{number.name} was received"
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked() == f"{number.name} was received"  # the first reason stays
        assert {n: signal.getsignal(n) for n in before} == before


def test_a_second_interrupt_is_one() -> None:
    with pytest.raises(KeyboardInterrupt), StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked() == "SIGINT was received"
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_time_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stop = StopFlag(1.5)
    now[0] += 89.9
    assert stop.asked() is None
    now[0] += 0.1
    assert stop.asked() == "the time budget of 1.5 minutes is spent"


def test_a_flag_in_another_thread_keeps_time_and_hears_nothing() -> None:
    reasons: list[str | None] = []

    def use() -> None:
        with StopFlag(1e-9) as stop:
            time.sleep(0.01)
            reasons.append(stop.asked())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert reasons == ["the time budget of 1e-09 minutes is spent"]
