"""A run in trainers that count and cut otherwise: what their step comes to, and what they do with these very rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from caravan.train.config import TrainConfig
from caravan.train.pack import pack
from caravan.train.rows import Rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens

GPUS = 8  # of a node, where the configuration does not say


@dataclass(frozen=True)
class Rounds:
    """How many rounds of how many sequences make a step in a tool that counts sequences, and what that comes to."""

    gpus: int
    each: int  # sequences (packed, or conversations) that a GPU computes at a time
    rounds: int  # of accumulation
    conversations: float  # of a step, on average
    wanted: float


@dataclass(frozen=True)
class Run:
    """What all three are written from."""

    config: TrainConfig
    rows: Rows
    tokenizer: Any
    template: Template
    tokens: Tokens
    rounds: Rounds
    held_out: Path | None


def rounds_of(config: TrainConfig, tokens: Tokens) -> Rounds:
    """The accumulation that comes nearest to the configured batch.

    The other tools count packed sequences of `max_length` where caravan counts conversations (`batch_unit` "examples").
    """
    gpus = (config.nproc or GPUS) * config.nnodes
    each = config.micro_batch_size
    bins = len(pack(tokens.lengths.tolist(), config.max_length)) if config.packing else len(tokens)
    filled = max(len(tokens), 1) / max(bins, 1)
    if config.batch_unit == "bins":
        wanted = config.batch_size * filled * (each if config.packing else 1)  # a bin is `each` sequences long
    else:
        wanted = float(config.batch_size)
    rounds = max(round(wanted / (gpus * each * filled)), 1)
    return Rounds(gpus, each, rounds, rounds * gpus * each * filled, wanted)


def batch_words(run: Run, packing: str, each: str, rounds: str) -> str:
    """The arithmetic of a step, and how to have it exactly where packing only comes near."""
    r, packed = run.rounds, run.config.packing
    what = "packed sequences" if packed else "conversations"
    words = f"A step: {r.gpus} GPUs x {r.each} x {r.rounds} rounds = {r.gpus * r.each * r.rounds} {what}"
    if packed:
        words += f", about {r.conversations:.0f} conversations; caravan takes {r.wanted:.0f}"
        if run.config.batch_unit == "examples" and abs(r.conversations - r.wanted) > 0.02 * r.wanted:
            exact = max(round(r.wanted / (r.gpus * r.each)), 1)
            words += (
                f" and packs within them. For {exact * r.gpus * r.each} exactly, without packing: "
                f"{packing} false, {each} {r.each}, {rounds} {exact}"
            )
    elif abs(r.conversations - r.wanted) > 0.5:
        words += f"; caravan takes {r.wanted:.0f}"
    said = "" if run.config.nproc else f" ({GPUS} GPUs a node are assumed: --nproc says otherwise.)"
    return f"{words}.{said}"


def differences(run: Run, tool: str) -> list[str]:
    """What a tool does otherwise with these rows, one sentence each."""
    account = run.tokens.account.values()
    cut_rows = sum(source.cut_rows for source in account)
    supervised = sum(source.supervised for source in account)
    lost = sum(source.cut_supervised for source in account)
    said = []
    if cut_rows:
        share = lost / max(supervised + lost, 1)
        how = {
            "trl": "TRL cuts them in the middle of a turn",
            "axolotl": "`truncate` cuts them in the middle of a turn (its default drops the rows)",
            "llama-factory": "LLaMA-Factory cuts question and answer of the turn that does not fit",
        }[tool]
        said.append(
            f"Rows that are longer: {cut_rows:,}. caravan cuts at the end of a turn ({share:.1%} of the loss); {how}."
        )
    if run.config.activation_checkpointing == "selective":
        said.append("All blocks are recomputed here: every second one cannot be asked for.")
    unweighted = _unweighted(run.rows)
    if unweighted:
        said.append(f"Answers of weight 0: {unweighted:,}. Only caravan knows such; here they carry loss.")
    first = sum(source.notes.get("assistant_first", 0) for source in account)
    if first and tool != "llama-factory":
        said.append(f"Rows that begin with an answer: {first:,}. caravan takes it as context; here it carries loss.")
    if tool == "llama-factory":
        dropped = _not_alternating(run.rows)
        if dropped:
            said.append(
                f"Rows whose turns do not alternate: {dropped:,} of {run.rows.frame.height:,}. They are dropped."
            )
        tools = sum(count for roles, count in _role_patterns(run.rows) if "tool" in roles)
        if tools:
            said.append(f"Rows with tool turns: {tools:,}. The parsed template prints these as the user's.")
    return said


def _role_patterns(rows: Rows) -> list[tuple[list[str], int]]:
    roles = rows.frame["messages"].list.eval(pl.element().struct.field("role")).alias("roles")
    return [(list(pattern), count) for pattern, count in roles.value_counts().iter_rows()]


def _not_alternating(rows: Rows) -> int:
    """Rows that LLaMA-Factory drops: after a system turn, questions and answers must take turns, an answer last."""
    dropped = 0
    for roles, count in _role_patterns(rows):
        turns = roles[1:] if roles[:1] == ["system"] else roles
        kinds = [("user", "tool"), ("assistant",)]
        if len(turns) % 2 or any(role not in kinds[n % 2] for n, role in enumerate(turns)):
            dropped += count
    return dropped


def _unweighted(rows: Rows) -> int:
    weighted = rows.frame.drop_nulls("weights").select("messages", "weights").explode("messages", "weights")
    return sum(m["role"] == "assistant" and not w for m, w in weighted.iter_rows())
