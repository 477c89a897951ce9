"""Shapes of models by name: a plan needs a model's configuration, not its weights.

The built-in ones are those of LLaMA (Touvron et al., 2023, arXiv 2302.13971), Llama 2 (arXiv 2307.09288) and Llama 3
(arXiv 2407.21783), Pythia (Biderman et al., 2023, arXiv 2304.01373), OPT (Zhang et al., 2022, arXiv 2205.01068) and
GPT-NeoX-20B (Black et al., 2022, arXiv 2204.06745).
"""

import re
from pathlib import Path
from typing import Any

from transformers import GPTNeoXConfig, LlamaConfig, OPTConfig, PretrainedConfig

from caravan.errors import UserError, did_you_mean
from caravan.train.hub import find_model
from caravan.train.model import read_config


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


def builtin(name: str) -> str | None:
    """The built-in shape that a name means (`huggyllama/llama-7b`, `meta-llama/Llama-3.1-8B-Instruct`), or None.

    The owner, capitals and endings that leave the shape alone (`-hf`, `-chat`, `-instruct`, `-deduped`) do not count.
    """
    short = _short(name).replace("_", "-").removeprefix("meta-")
    short = re.sub(r"(-hf|-chat|-instruct|-base|-deduped|-v0)+$", "", short)
    short = re.sub(r"^llama-?1-", "llama-", short)
    short = re.sub(r"^llama-?([23])(?:\.[013])?-", r"llama-\1-", short)  # 3.1 and 3.3 are 3 with other positions
    short = {"llama-33b": "llama-30b"}.get(short, short)
    return short if short in _SHAPES else None


def shape(name: str) -> PretrainedConfig:
    """The configuration of a model: a folder or config.json, a built-in name, or a name on the hub, in this order.

    Only configurations are read or fetched, and code that a model brings along is never run. Raises `UserError` for a
    name that nobody knows, and for a configuration that transformers does not.
    """
    path = Path(name).expanduser()
    if path.exists():
        return _read(path if path.is_file() else find_model(name))
    known = builtin(name)
    if known is not None:
        make, *numbers = _SHAPES[known]
        made: PretrainedConfig = make(*numbers)
        return made
    near = did_you_mean(_short(name), NAMES)
    if name.count("/") != 1:
        raise UserError("no such model: neither a folder nor a built-in shape", where=name, fix=near)
    try:
        return _read(find_model(name, weights=False))
    except UserError as error:
        fix = f"{near} Or {error.fix}" if near.startswith("did") else error.fix
        raise UserError(error.what, where=name, fix=fix) from None


def _short(name: str) -> str:
    """The name without its owner and revision."""
    return name.rpartition("/")[2].partition("@")[0].lower()


def _read(path: Path) -> PretrainedConfig:
    config: PretrainedConfig = read_config(path)
    return config
