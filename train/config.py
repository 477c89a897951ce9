"""Every option of a training run: one model, one TOML file, one flag each. Nothing heavy is imported here.

The defaults are the recipe of *How Far Can Camels Go?* (Wang et al., 2023, arXiv 2306.04751): 2 epochs, AdamW,
learning rate 2e-5 with 3 % linear warm-up, cosine decay, 128 conversations a step, 2,048 tokens, no weight decay.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from caravan.errors import UserError, did_you_mean

LLAMA = "huggyllama/llama-7b"  # the paper's base model


class TrainConfig(BaseModel):
    """One supervised fine-tuning run. Field descriptions are the help texts of the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(
        default="mix/mix.parquet", description="The mixture: mix.parquet, its folder, or any Parquet of messages."
    )
    model: str = Field(default=LLAMA, description="A Hugging Face folder, or a name on the hub.")
    out: str = Field(default="run", description="The run's folder: checkpoints, metrics, the exported model.")

    template: Literal["tulu", "tokenizer"] = Field(default="tulu", description="The paper's, or the tokenizer's own.")
    max_length: int = Field(
        default=2048, ge=8, description="Tokens of a conversation at most; cut at the end of a turn."
    )
    validation: str | None = Field(
        default=None, description="Parquet of held-out rows; default: validation.parquet by the data."
    )

    epochs: int = Field(default=2, ge=1, le=100_000, description="Passes over the data.")
    batch_size: int = Field(default=128, ge=1, description="Conversations (or bins) in a step, over all GPUs.")
    batch_unit: Literal["examples", "bins"] = Field(
        default="examples", description="What a batch counts: conversations, as in the paper, or full bins."
    )
    lr: float = Field(default=2e-5, gt=0, allow_inf_nan=False, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="Decay after the warm-up, to zero."
    )
    warmup: float = Field(default=0.03, ge=0, le=1, description="Share of the steps in which the rate rises from zero.")
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="AdamW's, on matrices only.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's first decay.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="AdamW's second decay.")
    clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the order, of dropout and of adapters.")
    max_steps: int | None = Field(default=None, ge=1, description="Steps at most; the schedule ends there.")

    packing: bool = Field(default=True, description="Several conversations in one bin, isolated from one another.")
    micro_batch_size: int = Field(default=1, ge=1, description="Maximal lengths that a GPU holds at a time: its bin.")
    activation_checkpointing: Literal["full", "selective", "none"] = Field(
        default="full", description="Recompute every block, every second one, or none."
    )
    precision: Literal["bf16", "fp32"] = Field(default="bf16", description="Of the computation; masters stay fp32.")
    compile: bool = Field(default=False, description="torch.compile each block.")
    liger: bool = Field(default=False, description="Liger kernels, where installed.")
    cpu_offload: bool = Field(default=False, description="Keep shards and optimizer in CPU memory.")
    replicas: int = Field(
        default=1, ge=1, description="HSDP: groups that each hold all shards; usually the number of nodes."
    )
    random_weights: bool = Field(default=False, description="Start from random weights (for speed measurements).")

    lora_rank: int = Field(
        default=0, ge=0, le=4096, description="Train low-rank adapters of this rank; 0: all weights."
    )
    lora_alpha: float = Field(
        default=16.0, gt=0, allow_inf_nan=False, description="Adapters are scaled by alpha / rank."
    )

    save_every: int = Field(default=200, ge=0, description="Steps between checkpoints; 0: only at the end.")
    keep: int = Field(default=2, ge=1, description="Checkpoints kept, the newest.")
    time_budget: float | None = Field(default=None, gt=0, description="Minutes after which the run saves and stops.")
    eval_every: int = Field(default=0, ge=0, description="Steps between evaluations; 0: at the end of each epoch.")
    trackers: list[Literal["tensorboard", "wandb"]] = Field(
        default=[], description="Beside metrics.jsonl, where installed."
    )

    nproc: int | None = Field(
        default=None, ge=1, description="Processes on this node; default: one a GPU, one without."
    )
    nnodes: int = Field(default=1, ge=1, description="Nodes; each runs the same command with its own --node-rank.")
    node_rank: int = Field(default=0, ge=0, description="This node's number, from 0.")
    master: str = Field(default="127.0.0.1:29500", description="HOST:PORT of node 0, where there are several.")
    gpu_memory: float | None = Field(
        default=None, gt=0, description="GiB a GPU that the plan may use; default: what is there."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name, value in self:
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{name} has a character NUL, which no path has")
        if self.node_rank >= self.nnodes:
            raise ValueError(f"node_rank {self.node_rank} is not below nnodes {self.nnodes}")
        if self.cpu_offload and self.precision == "fp32" and self.compile:
            raise ValueError("cpu_offload and compile do not go together")
        return self

    def same_run(self) -> dict[str, Any]:
        """The keys that fix the numbers of a run: a checkpoint is only continued under the same ones."""
        free = {
            *("data", "out", "validation", "keep", "save_every", "time_budget", "eval_every", "trackers", "model"),
            *("nproc", "nnodes", "node_rank", "master", "gpu_memory", "replicas", "cpu_offload", "compile", "liger"),
            "activation_checkpointing",
        }
        if self.batch_unit == "examples":  # else bins are what a step counts
            free |= {"micro_batch_size", "packing"}
        return self.model_dump(mode="json", exclude=free)


class DPOConfig(TrainConfig):
    """One run of direct preference optimisation (Rafailov et al., 2023, arXiv 2305.18290)."""

    data: str = Field(default="prefs.parquet", description="Preferences, as `curate convert` writes them.")
    out: str = Field(default="run-dpo", description="The run's folder: checkpoints, metrics, the exported model.")
    epochs: int = Field(default=1, ge=1, le=100_000, description="Passes over the data.")
    lr: float = Field(default=5e-7, gt=0, allow_inf_nan=False, description="Peak learning rate.")
    warmup: float = Field(default=0.1, ge=0, le=1, description="Share of the steps in which the rate rises from zero.")
    validation_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the prompts held out, where no --validation is named."
    )
    beta: float = Field(default=0.1, gt=0, allow_inf_nan=False, description="How strongly the reference holds.")
    length_normalised: bool = Field(default=False, description="Mean instead of summed log-probabilities of an answer.")


def load(path: str | None, given: dict[str, Any], kind: type[TrainConfig] | None = TrainConfig) -> TrainConfig:
    """The run's configuration: the file's keys, and over them those given on the command line.

    Without a `kind` the file's keys say which it is: only `DPOConfig` has some of them.

    Raises `UserError` for a file that cannot be read, an unknown key, or a value that does not fit.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(error.strerror or "cannot be read", where=path, fix="name a TOML file") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"not TOML: {error}", where=path, fix="write key = value lines") from None
    table |= {name: value for name, value in given.items() if value is not None}
    if kind is None:
        kind = (
            DPOConfig
            if table.keys() & (DPOConfig.model_fields.keys() - TrainConfig.model_fields.keys())
            else TrainConfig
        )
    for name in table:
        if name not in kind.model_fields:
            raise UserError(f"no option {name!r}", where=path or "", fix=did_you_mean(name, kind.model_fields))
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        where = "--" + name.replace("_", "-") if name in given and given[name] is not None else f"{path}: {name}"
        raise UserError(first["msg"].removeprefix("Value error, "), where=where if name else "", fix="") from None


def write(config: TrainConfig, path: Path) -> None:
    """Write the resolved configuration as TOML: it can be given back with `--config`."""
    lines = [f"{name} = {_toml(value)}" for name, value in config.model_dump(mode="json").items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in value)
        return f'"{escaped}"'
    return repr(value)
