"""The inside of the sandbox: a program of its own, run by path in an isolated interpreter. See `sandbox.py`.

Reads one JSON object from standard input, gives every right away for good, runs the program, and says on what was
standard output how it ended. Nothing here is imported by caravan.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

# What CPython needs to read modules, compute, sleep and end; numbers for x86-64 and ARM64 (0: does not exist there).
# All else is refused: no process, no thread, no socket, no signal to others, no change of any file.
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "open": (2, 0), "close": (3, 57), "stat": (4, 0), "fstat": (5, 80),
    "lstat": (6, 0), "poll": (7, 0), "ppoll": (271, 73), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "ioctl": (16, 29), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "access": (21, 0), "select": (23, 0), "pselect6": (270, 72), "sched_yield": (24, 124), "mremap": (25, 216),
    "madvise": (28, 233), "dup": (32, 23), "nanosleep": (35, 101), "getpid": (39, 172), "exit": (60, 93),
    "uname": (63, 160), "fcntl": (72, 25), "getcwd": (79, 17), "readlink": (89, 0), "gettimeofday": (96, 169),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176),
    "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173), "sigaltstack": (131, 132),
    "gettid": (186, 178), "futex": (202, 98), "sched_getaffinity": (204, 123), "getdents64": (217, 61),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "openat": (257, 56), "newfstatat": (262, 79), "readlinkat": (267, 78), "faccessat": (269, 48),
    "set_robust_list": (273, 99), "getrandom": (318, 278), "statx": (332, 291), "rseq": (334, 293),
    "faccessat2": (439, 439),
}  # fmt: skip
AUDIT = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # the kernel's name of the machine, our column
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all machines
READ_FILE, READ_DIR, ALL_RIGHTS = 1 << 2, 1 << 3, (1 << 13) - 1  # of the first Landlock (Linux 5.13)
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """The result of a system call; what fails here must never be passed over."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def limit(memory: int, seconds: int) -> None:
    """Memory of the process, seconds of CPU time, no file written, no core; soft and hard limits alike."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (most, most))


def close_files(readable: list[str]) -> None:
    """Landlock: of all files only those beneath `readable` can be opened, for reading; this binds root too."""
    rules = ctypes.create_string_buffer(struct.pack("Q", ALL_RIGHTS))
    ruleset = checked(libc.syscall(CREATE_RULESET, rules, 8, 0))
    for path in readable:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # not there, or closed already
            continue
        rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
        checked(libc.syscall(ADD_RULE, ruleset, 1, rule, 0))
        os.close(place)
    checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def refuse_calls() -> None:
    """seccomp: every system call but `ALLOWED` fails with EPERM; one of another machine's kind ends the process."""
    audit, column = AUDIT[platform.machine()]
    numbers = sorted({numbers[column] for name, numbers in ALLOWED.items() if numbers[column] or name == "read"})
    load, equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    code += [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [(give, 0, 0, 0x00050000 | errno.EPERM), (give, 0, 0, 0x7FFF0000)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
    checked(libc.prctl(SET_SECCOMP, FILTER, program, 0, 0))


def main() -> None:
    """Read the task, lock the door, run the program, say how it ended."""
    task: dict[str, Any] = json.load(sys.stdin)
    said = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    program = task["program"]
    close_files(task["readable"])
    limit(task["memory"], task["seconds"])
    refuse_calls()
    ended, detail = "passed", ""
    try:
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    except MemoryError:
        ended, detail = "failed", "out of memory"
    except BaseException as error:
        try:
            ended, detail = "failed", f"{type(error).__name__}: {error}"[:300]
        except BaseException:
            ended, detail = "failed", "an error that cannot be told"
    os.write(said, json.dumps([task["sign"], ended, detail]).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
