"""The recipe: one TOML file, one pydantic model. Every option of `curate build-mix` is a key of it.

strategy = "quality_weighted"
size = 80000
seed = 0

[sources.cot]
paths = ["flan/cot/*.tsv", "alpaca_cot/*.json"]
share = 0.15
[sources.cot.filters.language]
keep = ["*"]

[filters.duplicates]
near = 0.8
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

Unit = Literal["examples", "tokens", "supervised_tokens"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """One path of a source (file, folder, glob, or `hub:OWNER/NAME`) that asks for a converter of its own."""

    path: str
    converter: str | None = None
    options: dict[str, JsonValue] = {}


class Source(_Strict):
    """A name in the mixture, fed by one or more files, each read by a converter."""

    paths: list[str | File] = Field(min_length=1)
    converter: str | None = None
    options: dict[str, JsonValue] = {}
    columns: dict[str, str] = {}
    roles: dict[str, str] = {}
    share: float | None = Field(default=None, ge=0)
    licence: str | None = None
    filters: dict[str, dict[str, JsonValue]] = {}

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class StrategyChoice(_Strict):
    """A strategy by name, with its options."""

    name: str = "proportional"
    options: dict[str, JsonValue] = {}


class Validation(_Strict):
    """A validation split, taken by duplicate group before any row is repeated."""

    share: float = Field(default=0.0, ge=0, lt=1)


class Recipe(_Strict):
    """Everything that decides what a mixture holds."""

    name: str = ""
    sources: dict[str, Source] = {}
    strategy: StrategyChoice = StrategyChoice()
    size: int | None = Field(default=None, gt=0)
    unit: Unit = "examples"
    max_repeats: int = Field(default=4, ge=1)
    seed: int = Field(default=0, ge=0)
    validation: Validation = Validation()
    tokenizer: str = "cl100k_base"
    keep: list[Literal["priority", "quality", "length"]] = ["quality", "length"]
    priority: list[str] = []
    filters: dict[str, dict[str, JsonValue]] = {}
    order: list[str] = []

    @field_validator("strategy", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value
