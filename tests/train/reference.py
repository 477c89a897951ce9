"""The yardstick: fine-tuning as a textbook has it, one conversation at a time, by the stock model and nothing of ours.

Only the order of the steps is taken from the trainer, as which conversations a step holds is a matter of the seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from caravan.train.tokens import Tokens


@dataclass
class Curve:
    """One figure a step, and the weights at the end."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]


def train(
    folder: Path, tokens: Tokens, steps: Sequence[Sequence[int]], *, lr: float, total: int, warmup: float = 0.03
) -> Curve:
    """AdamW with warm-up and cosine, gradients clipped to 1, in fp32: as the paper's recipe says."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    warm = math.ceil(warmup * total)
    curve = Curve([], [], {})
    for number, rows in enumerate(steps):
        done = (number - warm) / max(total - warm, 1)
        now = lr * (number + 1) / warm if number < warm else lr * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = now
        pieces = [slice(int(tokens.offsets[row]), int(tokens.offsets[row + 1])) for row in rows]
        supervised = sum(int((tokens.turns[piece] > 0).sum()) for piece in pieces)
        loss = torch.zeros(())
        for piece in pieces:
            ids = torch.from_numpy(tokens.ids[piece].astype("int64"))
            logits = model(ids[None], use_cache=False).logits[0, :-1]
            nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
            loss = loss + (nll * torch.from_numpy(tokens.turns[piece][1:] > 0)).sum() / supervised
        loss.backward()  # type: ignore[no-untyped-call]
        curve.norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        curve.losses.append(float(loss.detach()))
        optimizer.step()
        optimizer.zero_grad()
    curve.weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    return curve
