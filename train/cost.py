"""How long a run takes on which GPU, and what it costs: from its operations and an assumed share of the peak."""

from dataclasses import dataclass

from caravan.errors import UserError, did_you_mean
from caravan.train.closed_form import Sizes, bin_tokens
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.flops import Flops, peak_tflops

PER_TOKENS = 100_000_000  # tokens that time and cost are given for, where those of the mixture are not known


@dataclass(frozen=True)
class Card:
    """A kind of GPU: its name in CUDA, its GiB, and the share of its peak that is assumed."""

    device: str
    memory: float
    mfu: float


# The share is that of sharded fine-tuning of 1B to 70B parameters with full checkpointing, counted as the log counts it
# (`Flops.by_segments`). Published: 54.8 % on A100 (llm-foundry, 7B at 4096), about 40 % on H100 (torchtitan, 8B at
# 8192); packed conversations have less than full sequences, and cards without NVLink less again.
CARDS = {
    "A100 40GB": Card("NVIDIA A100-SXM4-40GB", 40, 0.45),
    "A100 80GB": Card("NVIDIA A100-SXM4-80GB", 80, 0.45),
    "H100 SXM": Card("NVIDIA H100 80GB HBM3", 80, 0.38),
    "H100 PCIe": Card("NVIDIA H100 PCIe", 80, 0.30),
    "H200": Card("NVIDIA H200", 141, 0.38),
    "B200": Card("NVIDIA B200", 180, 0.35),
    "L40S": Card("NVIDIA L40S", 48, 0.30),
    "RTX A6000": Card("NVIDIA RTX A6000", 48, 0.30),
    "A10": Card("NVIDIA A10", 24, 0.30),
    "RTX 4090": Card("NVIDIA GeForce RTX 4090", 24, 0.30),
}
# Recomputing costs one forward in four; without it 64.2 % were reached where with it 54.8 % (llm-foundry, 7B).
FASTER = {"full": 1.0, "selective": 1.08, "none": 1.17}


@dataclass(frozen=True)
class Speed:
    """Time on one kind of GPU, at a share of its peak that is assumed, not measured; `cost` in the price's currency."""

    gpu: str
    peak_tflops: float
    mfu: float
    tokens_per_second_per_gpu: float
    step_seconds: float
    hours: float
    gpu_hours: float
    cost: float | None


def cards(gpu: str | None, memory: float) -> dict[str, Card]:
    """Cards with about this memory; of those whose name begins so, where one is named (`A100`, `h100 sxm`).

    Raises `UserError` for a name with which none begins.
    """
    named = {name: card for name, card in CARDS.items() if name.lower().startswith((gpu or "").lower())}
    if not named:
        raise UserError(f"no GPU {gpu!r} in the table", where="--gpu", fix=did_you_mean(gpu or "", CARDS))
    near = {name: card for name, card in named.items() if abs(card.memory / memory - 1) < 0.15}
    return near or (named if gpu else {name: CARDS[name] for name in ("A100 80GB", "H100 SXM")})


def step_tokens(run: TrainConfig, mean_length: float | None) -> int:
    """Tokens of a step: its conversations at their mean length, or at most."""
    if run.batch_unit == "bins":
        return run.batch_size * bin_tokens(run)
    return round(run.batch_size * (mean_length or run.max_length) * (2 if isinstance(run, DPOConfig) else 1))


def speeds(
    size: Sizes,
    run: TrainConfig,
    gpus: int,
    kinds: dict[str, Card],
    *,
    price: float | None,
    tokens: float,
    mean_length: float | None,
) -> list[Speed]:
    """Speed on each kind of GPU, and the time and cost of `tokens` tokens.

    Nothing is said of runs with offloading: there the way to CPU memory decides, not the GPU.
    """
    if run.cpu_offload:
        return []
    flops = Flops(round(size.parameters), round(size.trained), size.layers, size.queries)
    length = round(mean_length or run.max_length)
    operations = flops.by_segments([length]) / length
    found = []
    for name, card in kinds.items():
        peak = peak_tflops(card.device)
        assert peak is not None
        share = card.mfu * FASTER[run.activation_checkpointing]
        rate = share * peak * 1e12 / operations
        hours = tokens / rate / gpus / 3600
        found.append(
            Speed(
                gpu=name,
                peak_tflops=peak,
                mfu=share,
                tokens_per_second_per_gpu=rate,
                step_seconds=step_tokens(run, mean_length) / rate / gpus,
                hours=hours,
                gpu_hours=hours * gpus,
                cost=None if price is None else hours * gpus * price,
            )
        )
    return found
