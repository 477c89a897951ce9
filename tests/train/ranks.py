"""Processes of a group for tests, forked from one that has loaded everything and computed nothing.

So each starts in an instant, and may be killed at any moment. As a script: `ranks.py MODULE` reads jobs from standard
input, one JSON object a line, and answers each with one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent


class Ranks:
    """Runs functions of a module as processes of a group; each takes the World and options, and gives JSON."""

    def __init__(self, module: str) -> None:
        paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self._server = subprocess.Popen(
            [sys.executable, __file__, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )

    def run(self, task: str, ranks: int, folder: Path, kill_after: float | None = None, **options: Any) -> list[Any]:
        """What the task gave on each rank (`{"error": ...}` for a UserError).

        With `kill_after` all are killed so many seconds after the task has made the file `started` in `folder`, and
        nothing is given.
        """
        job = {"task": task, "ranks": ranks, "folder": str(folder), "kill_after": kill_after, "options": options}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        answer: list[Any] = json.loads(self._server.stdout.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.communicate()
        assert self._server.returncode == 0


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _start(module: Any, job: dict[str, Any], rank: int, port: int) -> int:
    """Fork one rank; gives its process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        from caravan.errors import UserError
        from caravan.train.config import TrainConfig
        from caravan.train.launch import join

        os.dup2(2, 1)  # standard output is for answers
        if job["ranks"] > 1:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(job["ranks"]), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        options = job["options"]
        try:
            config = {"precision": "fp32"} | options.get("config", {})
            with join(TrainConfig.model_validate(config)) as world:
                result = getattr(module, job["task"])(world, Path(job["folder"]), **options)
        except UserError as error:
            result = {"error": str(error)}
        Path(job["folder"], f"rank-{rank}.json").write_text(json.dumps(result))
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _serve(module: Any) -> None:
    for line in sys.stdin:
        job = json.loads(line)
        folder = Path(job["folder"])
        (folder / "started").unlink(missing_ok=True)
        port = _free_port()
        children = [_start(module, job, rank, port) for rank in range(job["ranks"])]
        answer: list[Any] = []
        if job["kill_after"] is not None:
            while not (folder / "started").exists():
                time.sleep(0.002)
            time.sleep(job["kill_after"])
            for child in children:
                os.kill(child, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if job["kill_after"] is None:
            results = [folder / f"rank-{rank}.json" for rank in range(job["ranks"])]
            answer = [json.loads(r.read_text()) if c == 0 else {"died": c} for r, c in zip(results, codes, strict=True)]
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(import_module(sys.argv[1]))
