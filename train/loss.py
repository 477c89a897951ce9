"""Negative log likelihood on supervised positions only, in chunks: the logits of a whole bin never exist."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 2**24  # logits held at a time: 64 MiB in fp32
FEWEST = 512  # positions at a time, though: each chunk reads the whole output layer, and adds to its whole gradient


def chunk_rows(vocabulary: int) -> int:
    """Positions whose logits are held at a time."""
    return max(FEWEST, CHUNK // vocabulary)


class _SummedNll(torch.autograd.Function):
    """The gradient is formed in the forward, while a chunk's logits are there: three matrix products, not four."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight, wants_bias, _ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if wants_bias and bias is not None else None
        nll = hidden.new_empty(len(targets), dtype=torch.float32)
        rows = chunk_rows(len(weight))
        for start in range(0, len(targets), rows):
            chunk, target = hidden[start : start + rows], targets[start : start + rows, None]
            logits = F.linear(chunk, weight, bias).float()
            normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
            nll[start : start + rows] = (normaliser - logits.gather(1, target))[:, 0]
            # d nll / d logits = softmax - onehot
            slope = logits.sub_(normaliser).exp_()
            slope.scatter_add_(1, target, torch.full_like(normaliser, -1.0))
            narrow = slope.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(narrow, weight, out=grad_hidden[start : start + rows])
            if grad_weight is not None:
                if narrow.dtype == torch.float32:
                    grad_weight.addmm_(narrow.T, chunk)
                else:
                    grad_weight += narrow.T @ chunk
            if grad_bias is not None:
                grad_bias += slope.sum(0)
            del logits, slope, narrow  # or the next chunk's stand beside them
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll)
        return nll.sum(), nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*(g if g is None else g.mul_(grads[0]) for g in ctx.saved_tensors), None)


def summed_nll(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of -log p(target), and each of them [N] in fp32 without gradient.

    `hidden` [N, H], `weight` [V, H] and `bias` [V] of the output layer, `targets` [N] in 0..V-1. N may be 0.
    """
    if not torch.is_grad_enabled():
        nll = -log_probabilities(hidden, weight, bias, targets)
        return nll.sum(), nll
    total, nll = _SummedNll.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return total, nll


def log_probabilities(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log p(target) [N] in fp32, differentiable each on its own; shapes as for `summed_nll`."""

    def chunk(some: Tensor, target: Tensor) -> Tensor:
        logits = F.linear(some, weight, bias).float()
        return logits.gather(1, target[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)

    rows = chunk_rows(len(weight))
    parts = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    return torch.cat([checkpoint(chunk, *part, use_reentrant=False) for part in parts])


def most_likely(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The token that greedy decoding takes at each position [N]; shapes as for `summed_nll`."""
    return torch.cat([F.linear(some, weight, bias).argmax(-1) for some in torch.split(hidden, chunk_rows(len(weight)))])
