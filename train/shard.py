"""The one place that knows FSDP2 (`torch.distributed.fsdp.fully_shard`): what is sharded, in which order, in what
precision.

Masters, gradients and reductions are fp32; computation is bf16 where asked. Each block is a group of its own; whatever
is left (embeddings, last norm, output layer, tied or not) belongs to the root, so that a tie never spans two groups.
"""

import warnings
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from caravan.train import model as models
from caravan.train.config import TrainConfig
from caravan.train.objective import Objective


def prepare(objective: Objective, config: TrainConfig, mesh: Any) -> None:
    """Activation checkpointing, then compile, then sharding, in this order, on a model whose parameters are on meta.

    Without a mesh (one process in fp32) there is nothing to shard, and parameters stay plain tensors.
    """
    layers = models.blocks(objective.model)
    models.recompute(layers, config.activation_checkpointing)
    if config.compile:
        for layer in layers:
            layer.compile()
    if mesh is None:
        return
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # OPT's blocks give views, on which nothing is in place
    policy: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if config.precision == "bf16" else None, reduce_dtype=torch.float32
        ),
        "offload_policy": CPUOffloadPolicy(pin_memory=torch.cuda.is_available())
        if config.cpu_offload
        else OffloadPolicy(),
    }
    for layer in layers:
        fully_shard(layer, **policy)
    fully_shard(objective, **policy)
    models.check_tied(objective.model)


def reshard(objective: nn.Module) -> None:
    """Free the root's whole parameters, which a forward without backward leaves in place."""
    if isinstance(objective, FSDPModule):
        for module in objective.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
