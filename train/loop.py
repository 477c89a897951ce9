"""The loop: one step is some bins forward and backward, one update, one line in the log.

    loss of a step = sum over its items / what all its items are worth (supervised tokens, or pairs)

Every rank knows the whole step from the order, so the denominator takes no communication, and any number of ranks,
rounds and bins gives the same gradient. All randomness of a step comes from seed, step and rank: a run goes on from the
number of its next step.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from caravan.terminal import Progress
from caravan.train import config as configs
from caravan.train.checkpoint import Checkpoints
from caravan.train.config import TrainConfig
from caravan.train.failure import FAILED, stop_on
from caravan.train.heldout import evaluate, training_sample
from caravan.train.launch import StopFlag, World
from caravan.train.loader import Bin, Order, batches, share
from caravan.train.metrics import METRICS, Metrics, read
from caravan.train.objective import Objective
from caravan.train.prepare import Data, adamw, identity, order_of
from caravan.train.speed import Speed


@dataclass(frozen=True)
class Result:
    """What the loop came to; `stopped` says why it ended early, `figures` is the last record of the log."""

    steps: int
    total: int
    stopped: str | None
    figures: dict[str, Any]
    peak_gib: float


class Computed(NamedTuple):
    """One rank's part of a step: each bin's loss, and the objective's figures added up."""

    losses: Tensor
    sums: Tensor
    counts: Tensor


def run(
    config: TrainConfig, data: Data, objective: Objective, world: World, stop: StopFlag, progress: Progress
) -> Result:
    """Train to the end, or until asked to stop; the last step is saved either way. Collective."""
    out = Path(config.out)
    order = order_of(config, data.tokens, objective.group, world.size)
    worth = objective.weights(data.tokens)
    total = min(len(order), config.max_steps or len(order))
    optimizer = adamw(objective, config)  # before any forward: a forward may leave whole parameters in place
    checkpoints = Checkpoints(out / "checkpoints", config.keep, world, identity(config, data))
    first = step = checkpoints.resume(objective, optimizer)
    if not world.rank:
        configs.write(config, out / "train.toml")
        (out / FAILED).unlink(missing_ok=True)
    if first:
        progress.say(f"going on from step {first:,} of {total:,}")
    reason: str | None = None
    figures = _logged(out, first, world)
    # A run that was stopped before an evaluation that was due makes up for it, and the log reads as if never broken.
    owes = bool(figures) and "eval" not in figures and _evaluation_is_due(config, order, first, total)
    speed = Speed(objective, world)
    with Metrics(out, world, config.trackers, total, first - owes, progress) as metrics:
        if owes:
            found = _evaluate(config, data, objective, order, world, stop)
            metrics.log(figures | ({"eval": found} if found else {}))
            speed.pause()
        while step < total and reason is None:
            bins = order.step(step)
            mine = share(bins, world.rank, world.size)
            items = [item for items in bins for item in items]
            torch.manual_seed((config.seed * 1_000_003 + step * 4_099 + world.rank) % 2**63)
            computed = compute(objective, data, mine, world.size / worth[items].sum(), world)
            norm = clip(objective, config.clip)
            asked = stop.asked()
            sums, counts, bad, stopping, unsaved = _over_ranks(
                computed, norm, asked is not None, checkpoints.failed, world
            )
            if unsaved:
                checkpoints.wait()  # raises, on every rank
            if bad:
                stop_on(step, mine, computed.losses, data, checkpoints, objective, optimizer, world)
            lr = rate(config, step, total)
            for parameters in optimizer.param_groups:
                parameters["lr"] = lr
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            figures = objective.report(sums, counts) | _described(order, step, items)
            figures |= {"lr": lr, "grad_norm": norm, "speed": speed.step(_row_lengths(data, items, objective.group))}
            if stopping:
                reason = asked or "another process was asked to stop"
            elif _evaluation_is_due(config, order, step, total):
                found = _evaluate(config, data, objective, order, world, stop)
                if found is None:
                    reason = stop.asked() or "another process was asked to stop"
                else:
                    figures["eval"] = found
                speed.pause()
            metrics.log(figures)
            if reason is None and config.save_every and step % config.save_every == 0 and step < total:
                metrics.sync()  # the log must not be behind the checkpoint
                checkpoints.save(step, objective, optimizer)
                speed.pause()
        if step == total:
            reason = None  # there is nothing left to go on with
        peak = speed.peak_gib()  # before the last state is copied to be saved
        if step > first:
            metrics.sync()
            checkpoints.save(step, objective, optimizer)
        checkpoints.wait()
    return Result(step, total, reason, figures, peak)


def compute(objective: Objective, data: Data, bins: list[Bin], scale: float, world: World) -> Computed:
    """Forward and backward of this rank's bins; gradients are added up."""
    losses, sums, counts = [], torch.zeros(()), torch.zeros(())
    for batch in batches(data.tokens, bins, objective.group, world.device):
        outcome = objective(batch, scale)
        outcome.loss.backward()
        losses.append(outcome.loss.detach())
        sums, counts = sums + outcome.sums, counts + outcome.counts
    return Computed(torch.stack(losses), sums, counts)


def clip(objective: Objective, largest: float) -> float:
    """Scale the gradients down to this norm; gives the norm before, over all ranks."""
    norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), largest)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate of a step, from 0: linear warm-up, then the schedule, which would be zero after the last."""
    warm = math.ceil(config.warmup * total)
    if step < warm:
        return config.lr * (step + 1) / warm
    left = 1 - (step - warm) / max(total - warm, 1)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 - math.cos(math.pi * left))
    return config.lr * (left if config.schedule == "linear" else 1.0)


def _over_ranks(
    computed: Computed, norm: float, asked: bool, unsaved: bool, world: World
) -> tuple[list[float], list[float], bool, bool, bool]:
    """Figures added up over ranks; and of any rank: is a number not finite, was it asked to stop, did a save fail.

    One reduction carries all of it, and it comes before the update: bad gradients never reach the weights.
    """
    bad = not bool(computed.losses.isfinite().all()) or not math.isfinite(norm)
    flags = torch.tensor([bad, asked, unsaved], dtype=torch.float64)
    own = torch.cat([computed.sums.double().cpu(), computed.counts.double().cpu(), flags])
    *figures, bad_ranks, asked_ranks, unsaved_ranks = world.sum(own).tolist()
    half = len(figures) // 2
    return figures[:half], figures[half:], bad_ranks > 0, asked_ranks > 0, unsaved_ranks > 0


def _described(order: Order, step: int, items: list[int]) -> dict[str, Any]:
    """Where the run stands after so many steps, and what the last of them held."""
    epoch, at = order.place(step - 1)
    place = epoch + (at + 1) / order.steps_of[epoch]
    return {"step": step, "epoch": place, "examples": len(items), "tokens": int(order.lengths[items].sum())}


def _row_lengths(data: Data, items: list[int], group: int) -> list[int]:
    rows = [item * group + k for item in items for k in range(group)]
    return [int(n) for n in data.tokens.lengths[rows]]


def _evaluation_is_due(config: TrainConfig, order: Order, step: int, total: int) -> bool:
    """After so many steps: at the end, and every `eval_every` steps or at the end of each epoch."""
    if step in (0, total) or config.eval_every:
        return step == total or (step > 0 and step % config.eval_every == 0)
    epoch, at = order.place(step - 1)
    return at + 1 == order.steps_of[epoch]


def _logged(out: Path, step: int, world: World) -> dict[str, Any]:
    """The record of this step, as rank 0 finds it; empty where there is none."""
    mine = [] if world.rank or not (out / METRICS).exists() else read(out / METRICS)
    found: dict[str, Any] = world.gather(next((record for record in mine if record.get("step") == step), {}))[0]
    return found


def _evaluate(
    config: TrainConfig, data: Data, objective: Objective, order: Order, world: World, stop: StopFlag
) -> dict[str, Any] | None:
    """Held-out rows, and a sample of the training rows; None if a stop cut it short."""
    parts = {"training_sample": (data.tokens, training_sample(data.tokens, objective.group, config.seed))}
    if data.held_out is not None:
        parts["validation"] = (data.held_out, list(range(len(data.held_out) // objective.group)))
    found = {}
    for name, (tokens, items) in parts.items():
        objective.judge(tokens)
        found[name] = evaluate(objective, tokens, items, world, stop, order.capacity)
    objective.judge(data.tokens)
    return found if None not in found.values() else None
