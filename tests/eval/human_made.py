"""Two files of outputs of our own, and a server over them in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MODELS = ("oak-7b", "birch-13b")
QUESTIONS = ("How long do lentils take?", "Name three rivers of Spain.", "What does a bailiff do?")


def outputs(folder: Path, n: int = 6) -> tuple[Path, Path]:
    """Two files of n answers each; only the first has the prompts."""
    paths = (folder / f"{MODELS[0]}.jsonl", folder / f"{MODELS[1]}.jsonl")
    for which, path in enumerate(paths):
        rows = []
        for number in range(n):
            row = {"id": f"item-{number}", "output": f"**{('long', 'short')[which]}** reply number {number}"}
            rows.append(row | ({"prompt": f"{QUESTIONS[number % 3]} ({number})"} if which == 0 else {}))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths


class Served:
    """A running server: its process and the links that it printed, by name."""

    def __init__(self, process: "subprocess.Popen[str]", links: dict[str, str]) -> None:
        self.process, self.links = process, links


@contextmanager
def served(a: Path, b: Path, store: Path, annotators: Sequence[str] = (), port: int = 0) -> Iterator[Served]:
    """Serve in another process, which is killed at the end of the block."""
    script = (
        "import sys; from pathlib import Path; from caravan.eval.human.server import serve; "
        "a, b, store, port, *names = sys.argv[1:]; "
        "serve(Path(a), Path(b), store=Path(store), port=int(port), annotators=names)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(a), str(b), str(store), str(port), *annotators],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split("  ") for _ in range(max(len(annotators), 1))]
        yield Served(process, {line[0]: line[-1].strip() for line in lines})
    finally:
        process.kill()
        process.communicate()
