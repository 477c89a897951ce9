"""What the processes of the checkpoint tests do (see `ranks`)."""

import hashlib
import itertools
import json
import resource
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - loaded once, before the processes are forked
import torch
from torch.distributed.tensor import DTensor

from caravan.train import model, shard
from caravan.train.checkpoint import Checkpoints, steps
from caravan.train.config import TrainConfig
from caravan.train.launch import World
from caravan.train.loader import batch_of
from caravan.train.objective import Objective, Sft
from caravan.train.prepare import adamw
from madeup import random_tokens

IDENTITY = {"mixture": "a" * 64, "tokens": "b" * 32, "lr": 0.01}


class Run:
    """A tiny run: model, optimizer, checkpoints, in `folder`; the model lies in `folder/model`."""

    def __init__(self, world: World, folder: Path, config: dict[str, Any] | None = None) -> None:
        options: dict[str, Any] = {"precision": "fp32", "activation_checkpointing": "none", "lr": 0.01} | (config or {})
        told = TrainConfig.model_validate(options | {"model": str(folder / "model")})
        causal = model.skeleton(model.read_config(folder / "model"))
        if told.lora_rank:
            model.add_adapters(causal, told)
        self.world = world
        self.objective: Objective = Sft(causal, ["a"])
        shard.prepare(self.objective, told, world.mesh)
        model.materialise(self.objective, torch.device("cpu"))
        model.random_weights(causal, seed=1)
        self.optimizer = adamw(self.objective, told)
        self.checkpoints = Checkpoints(folder / "checkpoints", 2, world, IDENTITY)
        self.first = self.checkpoints.resume(self.objective, self.optimizer)
        self.tokens = random_tokens(7, 12, 400)

    def train(self, step: int) -> None:
        """One update, from a row of the rank's own."""
        torch.manual_seed(step)
        row = (step * self.world.size + self.world.rank) % len(self.tokens)
        self.objective(batch_of(self.tokens, [row], self.world.device), 0.1).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def digest(self) -> str:
        """A hash of all weights and moments, whole."""
        told = hashlib.sha256()
        for name, parameter in self.objective.named_parameters():
            state = self.optimizer.state.get(parameter, {})
            for key, tensor in (("", parameter.detach()), *sorted(state.items())):
                whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
                told.update(f"{name} {key} {list(whole.shape)}".encode() + whole.contiguous().numpy().tobytes())
        return told.hexdigest()


def resume(world: World, folder: Path, config: dict[str, Any] | None = None, more: int = 0) -> dict[str, Any]:
    """Load the newest checkpoint, train `more` steps, save."""
    run = Run(world, folder, config)
    loaded = run.digest()
    for step in range(run.first, run.first + more):
        run.train(step)
    if more:
        run.checkpoints.save(run.first + more, run.objective, run.optimizer)
        run.checkpoints.wait()
    return {"step": run.first, "loaded": loaded, "saved": run.digest()}


def save_for_ever(world: World, folder: Path) -> None:
    """Go on from the newest, train and save after each step until killed; note what was loaded and is to be saved."""
    run = Run(world, folder)
    loaded = {"loaded": run.first, "digest": run.digest()}
    with (folder / "noted.jsonl").open("a") as noted:
        for step in itertools.count(run.first):
            run.train(step)
            to_save = {"saved": step + 1, "digest": run.digest()}
            if not world.rank:
                noted.write("".join(json.dumps(note) + "\n" for note in (loaded, to_save)))
                noted.flush()
            run.checkpoints.save(step + 1, run.objective, run.optimizer)
            if step > run.first and not world.rank:  # the save before this one is whole
                (folder / "started").touch()


def disk_full(world: World, folder: Path) -> dict[str, Any]:
    """Save once, then let no file of rank 1 grow beyond 100 kB, and save again."""
    run = Run(world, folder)
    run.checkpoints.save(1, run.objective, run.optimizer)
    run.checkpoints.wait()
    run.train(1)
    if world.rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    run.checkpoints.save(2, run.objective, run.optimizer)
    told = []
    try:
        run.checkpoints.wait()
    except Exception as error:
        told = [type(error).__name__, str(error)]
    world.barrier()
    left = sorted(path.name for path in run.checkpoints.folder.iterdir())
    return {"told": told, "left": left, "steps": steps(run.checkpoints.folder)}


def apart(world: World, folder: Path) -> None:
    """Rank 1 has another folder of this name."""
    Checkpoints(folder / f"node-{world.rank}", 2, world, IDENTITY)


def after_a_look(world: World, folder: Path) -> dict[str, Any]:
    """Save after a forward without backward, which leaves the root's parameters whole."""
    run = Run(world, folder)
    run.train(0)
    before = run.digest()
    with torch.no_grad():
        run.objective.eval()(batch_of(run.tokens, [3], world.device), 1.0)
    run.checkpoints.save(1, run.objective, run.optimizer)
    run.checkpoints.wait()
    return {"before": before, "after": Run(world, folder).digest()}
