"""Alpaca-CoT's reasoning files: chains of thought under the Alpaca keys, with `input` empty in every row.

    {"instruction": "Does a penguin fly? Reason step by step.", "input": "", "output": "Its wings are ... So no."}

Rows convert as in `alpaca` (same rules, same refusals), and carry the tag `chain_of_thought`. Nothing in a single row
tells the two apart: a file is taken for this one when it has "cot" or "chain of thought" in its name, or when all
its inputs are empty and most of its answers argue towards a conclusion. Force it with `NAME:alpaca_cot=PATH`.
"""

import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.fields import fits
from caravan.converters.schema import Converted, RawRow, Rejected
from caravan.converters.sources import alpaca
from caravan.converters.sources.alpaca import Options, group_key

__all__ = ["HUB", "LICENCE", "VERSION", "Options", "convert", "group_key", "matches"]

VERSION = alpaca.VERSION
LICENCE = "Apache-2.0"
HUB = None
ANSWERS_BY = "people"
_NAME = re.compile(r"(?<![a-z])cot(?![a-z])|chain.?of.?thought", re.IGNORECASE)
_ASKED = re.compile(r"step[- ]by[- ]step|reason", re.IGNORECASE)
_CONCLUDED = re.compile(r"\b(the|final|correct) answer\b", re.IGNORECASE)


def matches(sample: Sequence[JsonValue], name: str) -> Match:
    """The Alpaca keys, no input anywhere, and a name or texts that speak of reasoning."""
    if not fits(sample, lambda row: {"instruction", "output"} <= row.keys() and not row.get("input")):
        return NO_MATCH
    if any(isinstance(row, dict) and row.get("input") for row in sample):
        return NO_MATCH
    if _NAME.search(name):
        return Match(0.95, "the Alpaca keys, every input empty, and the file's name speaks of chains of thought")
    argued = sum(
        isinstance(row, dict)
        and bool(_ASKED.search(str(row["instruction"])) or _CONCLUDED.search(str(row.get("output"))))
        for row in sample
    )
    if len(sample) >= 5 and argued > len(sample) / 2:
        return Match(0.92, "the Alpaca keys, every input empty, and most answers argue towards a conclusion")
    return Match(0.2, "the Alpaca keys, every input empty")


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """As `alpaca` does, with the tag."""
    for made in alpaca.convert(group, options):
        if isinstance(made, Converted):
            made.tags["chain_of_thought"] = True
        yield made
