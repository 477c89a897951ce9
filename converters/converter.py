"""The contract of a converter: raw rows of one group in, conversations or refusals out. Pure: reads no files.

A converter is a module in `converters/sources/` (or any module that an entry point of `caravan.converters` names):

    VERSION = 1                      # raised whenever the output for some input changes: it is part of cache keys
    LICENCE = "Apache-2.0"           # of the source, as its publisher lists it; "" when unknown
    HUB = "tatsu-lab/alpaca"         # the source's id on the hub, or None
    class Options(BaseModel): ...    # keys of `[sources.NAME.options]` in a recipe; extra="forbid"
    def matches(sample, name) -> Match
    def group_key(row, options) -> str | None
    def convert(group, options) -> Iterator[Converted | Rejected]

One that gives preferences says so, and yields `ConvertedPair` instead of `Converted`:

    GIVES = Preference               # without it: Example. A converter gives the one or the other

One whose source is known for it says who wrote the answers, which the recipe's `keep` can ask for:

    ANSWERS_BY = "people"            # or "model"; without it: not known, or some of each

Every raw row of a group must be cited by what was converted or by a `Rejected`; the caller checks that the books
balance.
Texts arrive clean (NFC, no NUL, no lone surrogates) and leave as they came: white space is the source's own.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, JsonValue

from caravan.converters.schema import Converted, ConvertedPair, Example, Field, Message, Preference, RawRow, Rejected

Writer: TypeAlias = Literal["people", "model"]


class Options(BaseModel):
    """Base of every converter's options: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(NamedTuple):
    """How well a converter fits a file: 0 (not at all) to 1 (certain), and why, as half a sentence."""

    confidence: float
    why: str


NO_MATCH = Match(0.0, "")

O = TypeVar("O", bound=Options)  # noqa: E741


class Converter(Protocol[O]):
    """What `load("converters", name)` gives; modules satisfy it (checked by mypy and by the contract test)."""

    @property
    def VERSION(self) -> int:
        """Raised whenever the output for some input changes."""

    @property
    def LICENCE(self) -> str:
        """The licence that the publisher lists, "" when unknown."""

    @property
    def HUB(self) -> str | None:
        """The id on the hub, or None."""

    @property
    def Options(self) -> type[O]:
        """The options model."""

    def matches(self, sample: Sequence[JsonValue], name: str) -> Match:
        """Judge up to 20 raw rows from the head of a file called `name`."""

    def group_key(self, row: RawRow, options: O) -> str | None:
        """Rows of one file with the same key are converted together, in order; None: the row stands alone."""

    def convert(self, group: Sequence[RawRow], options: O) -> Iterator[Converted | ConvertedPair | Rejected]:
        """Turn one group into conversations, or preferences, and refusals."""


def row_type(converter: ModuleType) -> type[Example] | type[Preference]:
    """What the rows are that a converter gives."""
    return Preference if getattr(converter, "GIVES", Example) is Preference else Example


def answers_by(converter: ModuleType) -> Writer | None:
    """Who wrote the answers of the source that a converter knows; None: it does not say."""
    said = getattr(converter, "ANSWERS_BY", None)
    return said if said in get_args(Writer) else None


def message(role: str, content: str) -> Message:
    """A `Message` whose role was checked by the caller's own role map."""
    return {"role": role, "content": content}  # type: ignore[typeddict-item]


def join_fields(*parts: tuple[str, str], message: int = 0) -> tuple[str, list[Field]]:
    """The one documented rule for joining text fields: non-empty ones, by one blank line.

    Returns the content and where each named part lies in it. A part that is empty or only white space is left out.
    """
    content, fields = "", list[Field]()
    for name, text in parts:
        if not text.strip():
            continue
        if content:
            content += "\n\n"
        fields.append({"name": name, "message": message, "start": len(content), "end": len(content) + len(text)})
        content += text
    return content, fields
