"""The chunked loss and its gradients, against autograd over whole logits."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from caravan.train import loss


def inputs(rows: int, bias: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(rows)
    hidden = torch.randn(rows, 16, dtype=dtype, requires_grad=True)
    weight = torch.randn(50, 16, dtype=dtype, requires_grad=True)
    return (
        hidden,
        weight,
        torch.randn(50, dtype=dtype, requires_grad=True) if bias else None,
        torch.randint(50, (rows,)),
    )


def gradients(total: Tensor, *leaves: Tensor | None) -> list[Tensor]:
    return list(torch.autograd.grad(total, [leaf for leaf in leaves if leaf is not None]))


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 30])
@pytest.mark.parametrize("bias", [False, True])
def test_sum_and_gradients_are_autograds_whatever_the_chunks(
    rows: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "chunk_rows", lambda _: 8)
    hidden, weight, b, targets = inputs(rows, bias)
    whole = F.cross_entropy(F.linear(hidden, weight, b), targets, reduction="sum")
    total, each = loss.summed_nll(hidden, weight, b, targets)
    assert float(total.detach()) == pytest.approx(float(whole.detach()), rel=1e-6, abs=1e-6)
    assert not each.requires_grad
    for ours, theirs in zip(
        gradients(3 * total, hidden, weight, b), gradients(3 * whole, hidden, weight, b), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_each_log_probability_has_a_gradient_of_its_own(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "chunk_rows", lambda _: 4)
    hidden, weight, b, targets = inputs(rows, True)
    weights = torch.linspace(-1, 2, rows)
    whole = -F.cross_entropy(F.linear(hidden, weight, b), targets, reduction="none")
    found = loss.log_probabilities(hidden, weight, b, targets)
    torch.testing.assert_close(found, whole)
    ours, theirs = (gradients((p * weights).sum(), hidden, weight, b) for p in (found, whole))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_bf16_is_summed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output layer's gradient is added up over chunks in fp32: small chunks lose nothing against a large one."""
    found: dict[int, list[Tensor]] = {}
    for rows in (4, 512):
        monkeypatch.setattr(loss, "chunk_rows", lambda _, n=rows: n)
        hidden, weight, _, targets = inputs(512, False, torch.bfloat16)
        total, each = loss.summed_nll(hidden, weight, None, targets)
        assert (total.dtype, each.dtype) == (torch.float32, torch.float32)
        found[rows] = [total.detach(), *gradients(total, hidden, weight)]
    for small, large in zip(found[4], found[512], strict=True):
        torch.testing.assert_close(small.float(), large.float(), rtol=2e-2, atol=2e-2)


def test_what_is_frozen_gets_no_gradient() -> None:
    hidden, weight, _, targets = inputs(5, False)
    loss.summed_nll(hidden, weight.detach(), None, targets)[0].backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert weight.grad is None


def test_the_most_likely_token_is_the_largest_logit() -> None:
    hidden, weight, b, _ = inputs(20, True)
    expected: Any = F.linear(hidden, weight, b).argmax(-1)
    assert loss.most_likely(hidden, weight, b).tolist() == expected.tolist()
