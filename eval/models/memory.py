"""How large batches may be: computed from the model's shape and the memory that is free, never found by trying."""

import os
import sys

import torch

from caravan.eval.models.batches import Limits
from caravan.eval.models.network import Network
from caravan.train.machine import GIB, cpu_memory

CPU_ROWS, GPU_ROWS = 32, 256


def limits(network: Network, batch_tokens: int | None) -> Limits:
    """What a batch may be, from the shape of the model and the memory that is free now.

    Free memory is rounded down to a power of two: a run that goes on later then plans as before.
    """
    on_gpu = network.device.type == "cuda"
    config, size = network.config, network.dtype.itemsize
    layers, hidden = config.num_hidden_layers, config.hidden_size
    heads = getattr(config, "num_attention_heads", None) or 1
    groups = heads // (getattr(config, "num_key_value_heads", None) or heads) or 1
    kept = network.kept_bytes or 2 * layers * hidden * size
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    free = torch.cuda.mem_get_info(network.device)[0] if on_gpu else int(cpu_memory() * GIB) // _neighbours()
    room = 1 << max(free * 7 // 10, 1).bit_length() - 1
    rows, read = GPU_ROWS if on_gpu else CPU_ROWS, size * (12 * hidden + 4 * inner)
    shared = network.way == "shared"  # read in portions
    rope = getattr(config, "rope_parameters", None) or {}
    changing = isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope")
    original = rope.get("original_max_position_embeddings") if changing else None
    return Limits(
        letters=batch_tokens or network.portion,
        texts=batch_tokens or sys.maxsize,
        rows=rows,
        room=room - network.config.vocab_size * 12 * rows - (network.portion * read if shared else 0),
        read_bytes=0 if shared else read,
        kept_bytes=kept,
        layer_bytes=kept // layers * (2 + groups),
        reuse=network.way != "whole",
        expanded=network.way == "expanded",
        pads=network.pads,
        even=network.way == "expanded",
        singly=network.way == "whole",
        whole_above=original,
    )


def _neighbours() -> int:
    """Processes that share this machine's memory."""
    return max(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory; on a CPU it is a RuntimeError that says so."""
    said = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in said
        or "not enough memory" in said
    )
