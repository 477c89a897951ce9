"""What a token costs in floating point operations, and what a GPU could do: the model FLOPs utilisation (MFU).

Two counts are in use, and a log has to say which it means:

- **full**: 6N + 12 L d S a token, as llm-foundry and the PaLM paper (Chowdhery et al., 2022, arXiv 2204.02311, appendix
  B) count. Attention is counted as if every position saw all S positions of its sequence, so published MFU is by this.
- **by segments**: 6N a token + 6 L d n^2 for each conversation of n tokens. A position sees only what lies before it in
  its own conversation, and packed training computes no more. The log's MFU is by this.

Both count embeddings and the output layer for every token, as is usual, though a lookup costs nothing and the loss is
computed where a token carries loss only.

N are the parameters, L the layers, d = heads x head size, S the length of the sequence. A matrix product of a token
with n parameters takes 2n operations in the forward and 4n in the backward, hence 6N; scores and weighted values take
2 x 2 d a pair of positions and layer in the forward and twice that in the backward, hence 12 d. What activation
checkpointing computes a second time is not counted (as everywhere: it is model FLOPs, not hardware FLOPs). Nor do
parameters that are frozen cost their gradient: with adapters, 6N becomes 4N + 2 x (trainable N).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig

# Dense bf16 TFLOP/s, without sparsity. In this order: the first expression that is found in the device's name counts.
_PEAKS: tuple[tuple[str, float | None], ...] = (
    (r"\bMIG\b|Laptop|Max-Q|\bGRID\b|-\d+[QCAB]$", None),  # a slice of a GPU, or a slower one of the same name
    (r"\bGB200\b", 2500.0),
    (r"\bB200\b", 2250.0),
    (r"\bH[12]00 NVL\b", 835.0),
    (r"\bH[18]00 PCIe\b|\bH100 80GB HBM2e\b", 756.0),
    (r"\bG?H[12]00\b|\bH800\b", 989.0),
    (r"\bH20\b", 148.0),
    (r"\bA[18]00X?\b", 312.0),
    (r"\bRTX A6000\b", 154.85),
    (r"\bL40S\b", 362.0),
    (r"\bL40\b", 181.0),
    (r"\bL4\b", 121.0),
    (r"\bA10G\b", 70.0),
    (r"\bA10\b", 125.0),
    (r"\bRTX 4090$", 165.0),
    (r"\bRTX 3090$", 71.0),
    (r"\bMI3(?:00|25)X\b", 1307.0),
    (r"\bMI355X\b", 2500.0),
    (r"\bMI250X?\b", 191.5),  # a die: each counts as a device
)


def peak_tflops(device_name: str) -> float | None:
    """Dense bf16 peak of a GPU in TFLOP/s, by `torch.cuda.get_device_name()`; None when it is not known.

    None means that MFU is unknown: a guess would make every comparison wrong. Devices without bf16 units (V100, T4) and
    parts of a GPU (MIG, virtual GPUs) are unknown too.
    """
    for expression, peak in _PEAKS:
        if re.search(expression, device_name):
            return peak
    return None


def mfu(operations: float, seconds: float, device_name: str, devices: int = 1) -> float | None:
    """Share of the peak that `operations` in `seconds` on so many devices amount to, 0..1; None for an unknown GPU."""
    peak = peak_tflops(device_name)
    return None if peak is None or seconds <= 0 else operations / seconds / (peak * 1e12 * devices)


@dataclass(frozen=True)
class Flops:
    """A model's figures that its operations follow from: `width` is heads x head size."""

    parameters: int
    trainable: int
    layers: int
    width: int

    @property
    def per_token(self) -> float:
        """Operations of all matrix products of a token, forward and backward, but for attention: 6N."""
        return 4.0 * self.parameters + 2.0 * self.trainable

    def full(self, length: int) -> float:
        """Operations a token by the *full* count, in sequences of `length` tokens: 6N + 12 L d S."""
        return self.per_token + 12.0 * self.layers * self.width * length

    def by_segments(self, lengths: Iterable[int]) -> float:
        """Operations of conversations of these lengths by the count *by segments*: 6N sum(n) + 6 L d sum(n^2)."""
        tokens = squares = 0
        for length in lengths:
            tokens += int(length)
            squares += int(length) ** 2
        return self.per_token * tokens + 6.0 * self.layers * self.width * squares


def flops_of(model: nn.Module, config: PretrainedConfig) -> Flops:
    """The figures of a model before it is sharded (on any device, meta too); tied weights count once."""
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    head_size = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return Flops(
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trains in sizes if trains),
        layers=int(text.num_hidden_layers),
        width=heads * head_size,
    )
