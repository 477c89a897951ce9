"""What a person would name: a file of conversations, a model's folder, a configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from caravan.converters.schema import Message
from caravan.train.config import TrainConfig
from chats import SPECIAL
from tiny import tiny_tokenizer


def written(folder: Path, conversations: Sequence[list[Message]], sources: Sequence[str] = (), **more: Any) -> str:
    """A Parquet file of these; its rows are called row-0, row-1, ..."""
    path = folder / "talks.parquet"
    names = {"row_id": [f"row-{n}" for n in range(len(conversations))], "source": sources or ["s"] * len(conversations)}
    pl.DataFrame({"messages": conversations, **names, **more}).write_parquet(path)
    return str(path)


def configured(**options: Any) -> TrainConfig:
    return TrainConfig.model_validate(options)


def model(folder: Path, chat_template: str | None = None, adds_bos: bool = True, **config: int) -> str:
    """A model's folder without weights."""
    tiny_tokenizer(folder, chat_template, adds_bos=adds_bos, special=SPECIAL)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)
