"""Shapes of models by name: a plan needs a model's configuration, not its weights.

The built-in ones are those of LLaMA (Touvron et al., 2023, arXiv 2302.13971), Llama 2 (arXiv 2307.09288) and Llama 3
(arXiv 2407.21783), Pythia (Biderman et al., 2023, arXiv 2304.01373), OPT (Zhang et al., 2022, arXiv 2205.01068) and
GPT-NeoX-20B (Black et al., 2022, arXiv 2204.06745).
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, GPTNeoXConfig, LlamaConfig, OPTConfig, PretrainedConfig

from caravan.errors import UserError, did_you_mean


def _llama(
    hidden: int, feed: int, layers: int, heads: int, groups: int = 0, vocabulary: int = 32000, positions: int = 2048
) -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=feed,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups or heads,
        max_position_embeddings=positions,
    )


def _neox(hidden: int, layers: int, heads: int, vocabulary: int = 50304) -> PretrainedConfig:
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )


def _opt(hidden: int, layers: int, heads: int, embedding: int = 0) -> PretrainedConfig:
    return OPTConfig(
        vocab_size=50272,
        hidden_size=hidden,
        ffn_dim=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        word_embed_proj_dim=embedding or hidden,
        do_layer_norm_before=not embedding,  # the one with a narrow embedding is also the one with norms behind
    )


_SHAPES: dict[str, tuple[Any, ...]] = {
    "llama-7b": (_llama, 4096, 11008, 32, 32),
    "llama-13b": (_llama, 5120, 13824, 40, 40),
    "llama-30b": (_llama, 6656, 17920, 60, 52),
    "llama-65b": (_llama, 8192, 22016, 80, 64),
    "llama-2-7b": (_llama, 4096, 11008, 32, 32, 32, 32000, 4096),
    "llama-2-13b": (_llama, 5120, 13824, 40, 40, 40, 32000, 4096),
    "llama-2-70b": (_llama, 8192, 28672, 80, 64, 8, 32000, 4096),
    "llama-3-8b": (_llama, 4096, 14336, 32, 32, 8, 128256, 8192),
    "llama-3-70b": (_llama, 8192, 28672, 80, 64, 8, 128256, 8192),
    "pythia-70m": (_neox, 512, 6, 8),
    "pythia-160m": (_neox, 768, 12, 12),
    "pythia-410m": (_neox, 1024, 24, 16),
    "pythia-1b": (_neox, 2048, 16, 8),
    "pythia-1.4b": (_neox, 2048, 24, 16),
    "pythia-2.8b": (_neox, 2560, 32, 32),
    "pythia-6.9b": (_neox, 4096, 32, 32, 50432),
    "pythia-12b": (_neox, 5120, 36, 40, 50688),
    "gpt-neox-20b": (_neox, 6144, 44, 64, 50432),
    "opt-125m": (_opt, 768, 12, 12),
    "opt-350m": (_opt, 1024, 24, 16, 512),
    "opt-1.3b": (_opt, 2048, 24, 32),
    "opt-2.7b": (_opt, 2560, 32, 32),
    "opt-6.7b": (_opt, 4096, 32, 32),
    "opt-13b": (_opt, 5120, 40, 40),
    "opt-30b": (_opt, 7168, 48, 56),
    "opt-66b": (_opt, 9216, 64, 72),
}
NAMES = tuple(_SHAPES)
SIZES = {  # ascending, within a family: what a plan proposes when a model does not fit
    "llama": ("llama-7b", "llama-13b", "llama-30b", "llama-65b"),
    "llama-2": ("llama-2-7b", "llama-2-13b", "llama-2-70b"),
    "llama-3": ("llama-3-8b", "llama-3-70b"),
    "pythia": tuple(name for name in NAMES if name.startswith(("pythia", "gpt-neox"))),
    "opt": tuple(name for name in NAMES if name.startswith("opt")),
}
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


def builtin(name: str) -> str | None:
    """The built-in shape that a name means (`huggyllama/llama-7b`, `meta-llama/Llama-3.1-8B-Instruct`), or None.

    The owner, capitals and endings that leave the shape alone (`-hf`, `-chat`, `-instruct`, `-deduped`) do not count.
    """
    short = name.rsplit("/")[-1].lower().replace("_", "-").removeprefix("meta-")
    short = re.sub(r"(-hf|-chat|-instruct|-base|-deduped|-v0)+$", "", short)
    short = re.sub(r"^llama-?1-", "llama-", short)
    short = re.sub(r"^llama-?([23])(?:\.[013])?-", r"llama-\1-", short)  # 3.1 and 3.3 are 3 with other positions
    short = {"llama-33b": "llama-30b"}.get(short, short)
    return short if short in _SHAPES else None


def shape(name: str) -> PretrainedConfig:
    """The configuration of a model: a folder or config.json, a built-in name, or a name on the hub, in this order.

    Only config.json is read or fetched, and code that a model brings along is never run. Raises `UserError` for a name
    that nobody knows, and for a configuration that transformers does not.
    """
    path = Path(name).expanduser()
    known = builtin(name)
    if path.exists():
        config = path / "config.json" if path.is_dir() else path
        if not config.is_file():
            raise UserError("no config.json in this folder", where=name, fix="name a Hugging Face model's folder")
        return _read(str(config), name)
    if known is not None:
        make, *numbers = _SHAPES[known]
        made: PretrainedConfig = make(*numbers)
        return made
    nearest = did_you_mean(name.rsplit("/")[-1].lower(), NAMES)
    if _HUB.fullmatch(name) is None or ("/" not in name and nearest.startswith("did")):
        raise UserError(f"no model {name!r}: neither a folder nor a built-in shape", where="--model", fix=nearest)
    return _read(name, name)


def _read(source: str, name: str) -> PretrainedConfig:
    try:
        with _quiet():
            config: PretrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except OSError as error:
        nearest = did_you_mean(name.rsplit("/")[-1].lower(), NAMES)
        raise UserError(_first_line(error), where=name, fix=f"{nearest}, or name a folder with config.json") from None
    except (ValueError, KeyError, TypeError) as error:  # what transformers raises for a configuration it does not know
        fix = "code that a model brings along is never run: name a model whose class transformers has"
        raise UserError(f"not a configuration that can be read: {_first_line(error)}", where=name, fix=fix) from None
    return config


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(". ") or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers and the hub's client from printing their retries and advice."""
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
