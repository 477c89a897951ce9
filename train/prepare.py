"""From a configuration to everything that the loop runs on: tokens, objective in shards, order, optimizer."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import dpo, hub, model, shard
from caravan.train.chat_template import template_for
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.launch import World
from caravan.train.loader import Order
from caravan.train.objective import Objective, Sft
from caravan.train.probe import probe
from caravan.train.rows import Rows, read_pairs, read_rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens, tokenise

VALIDATION = "validation.parquet"

# What transformers raises over files of a tokenizer, or a config.json beside them, that are not what it expects.
UNUSABLE = (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError, ZeroDivisionError)


@dataclass(frozen=True)
class Data:
    """What a run reads: the model's fingerprint, its tokenizer and template, rows and tokens, and those held out."""

    model: str
    tokenizer: Any
    template: Template
    rows: Rows
    tokens: Tokens
    held_out: Tokens | None


def read_data(config: TrainConfig, folder: Path, progress: Progress) -> Data:
    """Read and tokenise everything. Any process may do it: what was made is cached."""
    tokenizer = read_tokenizer(folder)
    template = template_for(config.template, tokenizer)
    preferences = isinstance(config, DPOConfig)
    read = read_pairs if preferences else read_rows
    rows = read(config.data, progress)
    held_out = None
    beside = rows.path.parent / VALIDATION
    if config.validation is not None:
        held_out = read(config.validation, progress)
    elif isinstance(config, DPOConfig) and config.validation_share:
        rows, held_out = dpo.split_pairs(rows, config.validation_share, config.seed)
        if not rows.frame.height:
            what = f"a share of {config.validation_share:g} holds out every prompt"
            raise UserError(what, where=str(rows.path), fix="lower --validation-share")
    elif beside.is_file() and not preferences:
        held_out = read(str(beside), progress)

    def tokens_of(some: Rows) -> Tokens:
        return tokenise(some, tokenizer, template, config.max_length, progress, group=2 if preferences else 1)

    tokens = tokens_of(rows)
    if not len(tokens):
        raise UserError("no row carries loss", where=str(rows.path), fix="`train check` says why")
    validation = tokens_of(held_out) if held_out is not None and held_out.frame.height else None
    if validation is not None and not len(validation):
        progress.warn("no held-out row carries loss: nothing is evaluated but a sample of the training rows")
        validation = None
    if validation is not None:
        tokens, validation = _one_list_of_sources(tokens, validation)
    return Data(hub.fingerprint(folder), tokenizer, template, rows, tokens, validation)


def _one_list_of_sources(tokens: Tokens, held_out: Tokens) -> tuple[Tokens, Tokens]:
    """The same, with one numbering of sources: the log tells them apart on both."""
    sources = [*tokens.sources, *(name for name in held_out.sources if name not in tokens.sources)]
    numbers = np.array([sources.index(name) for name in held_out.sources], np.int16)
    return replace(tokens, sources=sources), replace(held_out, sources=sources, source=numbers[held_out.source])


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder; `UserError` if there is none, or only one that would need its own code."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (*UNUSABLE, StrictDataclassError) as error:
        raise UserError(
            f"no usable tokenizer or config.json: {hub.said(error)}",
            where=str(folder),
            fix="name a folder with tokenizer.json and config.json",
        ) from None
    if not tokenizer.is_fast:
        raise UserError("no tokenizer.json", where=str(folder), fix="save the tokenizer as a fast one first")
    return tokenizer


def build(config: TrainConfig, folder: Path, data: Data, world: World) -> Objective:
    """The objective with its model, sharded, on the device, with its weights, and proven to isolate."""
    model_config = model.read_config(folder)
    vocabulary = model_config.get_text_config().vocab_size
    if len(data.tokens.ids) and int(data.tokens.ids.max()) >= vocabulary:
        raise UserError(
            f"the tokenizer has tokens beyond the model's {vocabulary:,}",
            where=str(folder),
            fix="take tokenizer and weights from one model",
        )
    positions = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and config.max_length > positions:
        raise UserError(
            f"the model takes {positions:,} tokens, max_length is {config.max_length:,}",
            where=str(folder),
            fix=f"--max-length {positions}",
        )
    causal = model.skeleton(model_config)
    if config.lora_rank:
        model.add_adapters(causal, config)
    if config.liger:
        model.use_liger(causal)
    objective: Objective = Sft(causal, data.tokens.sources)
    if isinstance(config, DPOConfig):
        objective = dpo.Dpo(causal, data.tokens.sources, config.beta, config.length_normalised)
    shard.prepare(objective, config, world.mesh)
    model.materialise(objective, torch.device("cpu") if config.cpu_offload else world.device)
    if config.random_weights:
        model.random_weights(causal, config.seed)
    else:
        model.load_weights(causal, folder)
    if config.lora_rank:
        model.start_adapters(causal, config.seed)
    model.check_tied(causal)
    probe(objective.train(), world.device)
    return objective


def identity(config: TrainConfig, data: Data) -> dict[str, Any]:
    """What a checkpoint belongs to: it is only continued by a run that says the same."""
    return {
        "mixture": data.rows.content_hash,
        "tokens": data.tokens.fingerprint,
        "model": data.model,
        **config.same_run(),
    }


def refer(objective: dpo.Dpo, data: Data, config: TrainConfig, folder: Path, world: World, progress: Progress) -> None:
    """Have the reference judge all pairs, held-out ones too, in the bins of a first epoch. Collective.

    To be called before a checkpoint is loaded: the reference is the model of `folder`, from which the run starts.
    """
    model_folder = None if config.random_weights else folder
    for tokens in (data.held_out, data.tokens):
        if tokens is not None:
            order = order_of(config, tokens, objective.group, world.size)
            bins = [bin_ for step in range(order.steps_of[0]) for bin_ in order.step(step)]
            found = dpo.reference(
                objective, tokens, bins, world, progress, model=model_folder, precision=config.precision
            )
            objective.judge(tokens, found)


def adamw(objective: Objective, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101); decay acts on matrices, not on norms and biases."""
    trained = [p for p in objective.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def order_of(config: TrainConfig, tokens: Tokens, group: int, ranks: int) -> Order:
    """The order of a run over these tokens."""
    return Order(
        lengths=tokens.lengths.reshape(-1, group).sum(1),
        capacity=capacity(config, group),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        unit=config.batch_unit,
        packing=config.packing,
        ranks=ranks,
    )


def capacity(config: TrainConfig, group: int) -> int:
    """Tokens of a bin at most."""
    return config.max_length * config.micro_batch_size * group
