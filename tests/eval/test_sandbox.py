"""Programs that a model wrote can compute, and nothing else, whoever runs them."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from caravan.eval.scoring.sandbox import RUNNER as INSIDE
from caravan.eval.scoring.sandbox import run_program

ESCAPES = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "another program": "import subprocess\nsubprocess.run(['true'])",
    "a shell": "import os\nassert os.system('true') == 0",
    "threads": "import threading\nthreading.Thread(target=print).start()",
    "memory": "held = []\nwhile True:\n    held.append(bytearray(1 << 20))",
    "one great number": "held = [0] * 10**11",
    "the environment": "import os\nassert os.environ['SECRET_OF_THE_TEST']",
    "processes of others": "import os\nos.kill(os.getppid(), 9)",
    "/proc": "open('/proc/self/environ').read()",
    "permissions": "import os\nos.chmod('/usr/bin/env', 0o777)",
    "the working folder": "open('here.txt', 'w')",
    "the temporary folder": "import tempfile\ntempfile.mkstemp()",
    "shared memory": "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=1 << 20)",
    "memory files": "import os\nos.memfd_create('x')",
    "a way out of the process": "import os\nos.execv('/bin/true', ['true'])",
    "namespaces": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mounts": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "tracing": "import ctypes, os\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
    "limits lifted": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}


@pytest.mark.parametrize("program", ESCAPES.values(), ids=list(ESCAPES))
def test_nothing_but_computing_is_possible(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "open sesame")
    assert run_program(program).ended != "passed"


def test_files_of_others_are_closed_for_reading_and_writing(tmp_path: Path) -> None:
    secret = tmp_path / "key.txt"
    secret.write_text("open sesame")
    assert run_program(f"open({str(secret)!r}).read()").ended == "failed"
    assert run_program(f"open({str(secret)!r}, 'w')").ended == "failed"
    assert run_program(f"import os\nos.remove({str(secret)!r})").ended == "failed"
    assert run_program(f"import os\nos.listdir({str(Path.home())!r})").ended == "failed"
    assert run_program(f"open({str(INSIDE)!r}).read()").ended == "failed"
    assert secret.read_text() == "open sesame"


def test_no_word_reaches_the_network() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        assert run_program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}))").ended == "failed"
        with pytest.raises(TimeoutError):
            listening.accept()


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "import time\ntime.sleep(60)",
        "while True:\n    print('x' * 100_000)",
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    ],
)
def test_what_does_not_end_is_ended(program: str) -> None:
    assert run_program(program, seconds=0.5).ended == "timeout"


def test_output_without_end_is_not_kept() -> None:
    flood = """
import os
while True:
    for pipe in range(3, 20):
        try:
            os.write(pipe, b"x" * 100_000)
        except OSError:
            pass
"""
    assert run_program(flood, seconds=1).ended == "died"


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos._exit(0)",
        "raise SystemExit(0)",
        "import os, json\nos.write(3, json.dumps(['guess', 'passed', '']).encode())\nos._exit(0)",
        "import ctypes\nctypes.string_at(0)",
        "import os\nos.abort()",
        "class Sly(Exception):\n    def __str__(self):\n        raise Sly\nraise Sly",
        "def deeper():\n    deeper()\ndeeper()",
        "this is no program",
        "\0",
    ],
)
def test_ending_early_is_not_passing(program: str) -> None:
    assert run_program(program).ended in ("failed", "died")


def test_the_standard_library_is_there() -> None:
    modules = (
        "collections, copy, datetime, decimal, functools, hashlib, heapq, itertools, json, math, random, re, statistics"
    )
    assert (
        run_program(f"import {modules}\nassert hashlib.md5(b'a').hexdigest()[0] == '0'\nrandom.random()").ended
        == "passed"
    )


def test_several_run_at_once() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(run_program("sum(range(10**5))").ended)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["passed"] * 8


def test_it_holds_for_another_user_too() -> None:
    """Root runs the inside as nobody, anybody else as themselves: it may not depend on root's rights."""
    start = (
        "import ctypes, errno, json, os, platform, resource, struct, sys, typing\n"
        f"source = open({str(INSIDE)!r}).read()\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "exec(compile(source, 'inside', 'exec'), {'__name__': '__main__'})"
    )
    task = {"sign": "s", "memory": 1 << 30, "seconds": 3, "readable": ["/usr/lib", "/lib", "/lib64"]}
    for program, ended in (("import os\nos.fork()", "failed"), ("sum(range(9))", "passed")):
        command = [sys.executable, "-I", "-S", "-c", start]
        told = subprocess.run(command, input=json.dumps(task | {"program": program}), capture_output=True, text=True)
        assert json.loads(told.stdout)[1] == ended, told.stderr
