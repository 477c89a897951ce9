"""Runs a program that a model wrote, so that all it can do is compute.

A process of its own, in an isolated interpreter without environment, gives away its rights and then runs the program:

- Landlock (Linux 5.13 and later): of all files it can read Python's own library and the shared libraries, nothing else;
  it can write none. Home folders, keys, /proc and /tmp are closed.
- seccomp: the system calls that computing takes, and no others. No process or thread, no socket, no signal to others.
- limits: memory, CPU time, wall time, output.

Landlock and seccomp bind root too, and need no container, helper program or right. Where they are missing (another
system, an old kernel) nothing is run: there is no weaker mode. A program that looks for the sign with which success is
told could forge it: what is protected is the machine, not the score of a model that cheats.
"""

import json
import os
import secrets
import select
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from caravan.errors import UserError

Ended = Literal["passed", "failed", "timeout", "died"]
RUNNER = Path(__file__).parent / "sandbox_runner.py"
SECONDS, MEMORY, OUTPUT = 3.0, 1 << 30, 1 << 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: by itself, by an error, too late, or struck down; `detail` says by what."""

    ended: Ended
    detail: str = ""


def run_program(program: str, *, seconds: float = SECONDS, memory: int = MEMORY) -> Outcome:
    """Run Python source in the sandbox. Raises `UserError` where this machine has no sandbox."""
    check_sandbox()
    return _run(program, seconds, memory)


@cache
def check_sandbox() -> None:
    """Raise `UserError` unless a program can be locked in here: proved by one that tries to break out."""
    outcome = _run(BREAKOUT, SECONDS, MEMORY) if sys.platform == "linux" else Outcome("died", "not Linux")
    if outcome.ended != "passed":
        fix = (
            "use Linux 5.13 or later on x86-64 or ARM64, with Landlock and seccomp allowed (containers may forbid them)"
        )
        raise UserError(f"programs cannot be locked in on this machine ({outcome.detail})", fix=fix)


BREAKOUT = f"""
import os
def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False
assert refused(os.fork)
assert refused(lambda: open("/etc/passwd"))
assert refused(lambda: open({str(RUNNER)!r}, "a"))
assert refused(lambda: __import__("socket").socket())
"""


def _run(program: str, seconds: float, memory: int) -> Outcome:
    sign = secrets.token_hex(16)
    task = {
        "program": program,
        "sign": sign,
        "memory": memory,
        "seconds": int(seconds) + 1,
        "readable": _readable(),
    }
    command = [_interpreter(), "-I", "-S", "-B", "-X", "utf8", str(RUNNER)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(task).encode())
            process.stdin.close()
        deadline = time.monotonic() + seconds
        said = _read(process.stdout.fileno(), deadline)
        try:
            process.wait(0 if said is None or len(said) >= OUTPUT else max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
    if said is None:
        return Outcome("timeout", f"longer than {seconds:g} s")
    try:
        told = json.loads(said)
    except ValueError:
        told = None
    if isinstance(told, list) and len(told) == 3 and told[0] == sign and told[1] in ("passed", "failed"):
        return Outcome(told[1], str(told[2]))
    code = process.returncode
    return Outcome("died", f"signal {-code}" if code < 0 else f"ended itself with {code}")


def _read(pipe: int, deadline: float) -> bytes | None:
    """What a process says until it ends or has said too much; None where it is too late for that."""
    said = b""
    while len(said) < OUTPUT:
        ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return None
        some = os.read(pipe, OUTPUT)
        if not some:
            break
        said += some
    return said


def _interpreter() -> str:
    """The interpreter that a virtual environment was made from: its library is all that a program needs."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _readable() -> list[str]:
    """Python's library and the shared libraries: no site-packages, no home."""
    own = [sysconfig.get_path(name, vars=_base()) for name in ("stdlib", "platstdlib")]
    shared = [str(Path(sys.base_prefix) / "lib"), "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    return sorted({*own, *shared, "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/usr/share/zoneinfo"})


def _base() -> dict[str, str]:
    return dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), sys.base_prefix)
