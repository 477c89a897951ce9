"""How many tokens a batch may have, from what the machine has and the model takes: nothing is tried out.

It is computed from what there is in all, not from what is free now, so that the same machine plans the same batches.
"""

from pathlib import Path
from typing import Any

import torch

PART = 0.4  # of what the weights leave: the rest is for what allocators and other programs take
TOKENS_CPU = 128  # more at a time is slower on a CPU, by padding
TOKENS_GPU = 65_536
FLOATS = 24  # of the hidden size, that a token takes while it passes a layer: attention, MLP, residual

CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def total_memory(device: torch.device) -> int:
    """Bytes of the device, or of this machine or container."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [_machine()]
    for name in CGROUPS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(limits)


def _machine() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 1 << 33


def bytes_a_token(model: Any) -> int:
    """Keys and values of all layers, and what passing a layer takes, for one token."""
    config, size = model.config.get_text_config(), model.dtype.itemsize
    heads = getattr(config, "num_attention_heads", 1)
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * head
    wide = max(getattr(config, "intermediate_size", None) or 4 * config.hidden_size, config.hidden_size)
    return int(size * (kept + FLOATS * config.hidden_size + 3 * wide))


def room_for(model: Any, device: torch.device, world: int) -> tuple[int, int]:
    """Tokens of a batch that is read, and tokens (prompts and answers) of a batch that writes."""
    weights = sum(t.nbytes for t in {t.data_ptr(): t for t in model.parameters()}.values())
    shared = 1 if device.type == "cuda" else world  # processes on one machine share its memory
    left = max(total_memory(device) // shared - weights, 0) * PART
    fits = max(int(left / bytes_a_token(model)), 1)
    return (min(fits, TOKENS_GPU), fits) if device.type == "cuda" else (min(fits, TOKENS_CPU), fits)
