"""How much memory there is at hand: on a GPU, or for processes on the CPU."""

import os
from pathlib import Path

import torch

GIB = 2**30
# Version 2 of control groups, then version 1: limit, what is used, and how much of that is files that can be let go.
_GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def gpu_memory(local_rank: int) -> float | None:
    """GiB of the GPU on which this process will compute; None where torch finds no GPU at all."""
    if not torch.cuda.is_available():
        return None
    index = local_rank if local_rank < torch.cuda.device_count() else 0  # Slurm shows each task its own GPU
    with torch.cuda.device(index):  # no context is made on another
        return torch.cuda.mem_get_info()[1] / GIB


def cpu_memory(info: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")) -> float:
    """GiB that processes can still take without swapping, within the container's limit if there is one."""
    try:
        free = _figure(info, "MemAvailable:") * 1024
    except (OSError, ValueError):  # not Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit, used, files, name in _GROUPS:
        try:
            taken = int((groups / used).read_text()) - _figure(groups / files, name)
            free = min(free, int((groups / limit).read_text()) - taken)
        except (OSError, ValueError):  # no such version, or no limit ("max")
            continue
    return max(free, 0) / GIB


def _figure(file: Path, name: str) -> int:
    """The number behind a name in a file of lines; `ValueError` if it is not there."""
    for line in file.read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    raise ValueError(name)
