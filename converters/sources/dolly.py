"""Dolly: what employees of one company wrote, with passages from Wikipedia. A JSON list and JSON Lines read alike.

    {"instruction": "When was it built?", "context": "The bridge was built in 1932.[4][note 2]",
     "response": "In 1932.", "category": "closed_qa"}

AlpaGasus' selection, which says `input` and `output`, is read too. `category` is a tag.

Citation marks in context and response are removed (`citation_marks = "keep"` leaves them; `tags["citation_marks"]`
counts those that went). A mark is a bracket glued to the end of a word, a punctuation mark or another mark, never one
that "(" follows (a Markdown link), and holds one of:

- a number of up to three digits, without leading zero: `[12]`. Unless punctuation stands before it, it stays where it
  may be an index: after a single letter or a name such as `x1` or `my_list`, on a line with signs of code, and
  anywhere in a text that also holds an index such as `a[0]` or `a[-1]`;
- a short word and a number: `[note 3]`, `[nb 1]`, `[T 2]`;
- one small letter after punctuation or another mark: `.[a]`;
- an editor's remark: `[citation needed]` and all else that ends in "needed", `[when?]` and all else that ends in "?",
  `[failed verification]`, `[not verified in body]`, `[citation not found]`, `[permanent dead link]`, `[dubious ...]`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import each_row, fits, has_keys, optional_text, rest, text
from caravan.converters.pairs import pair, real_input
from caravan.converters.raw import own_id
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected

VERSION = 1
LICENCE = "CC-BY-SA-3.0"
HUB = "databricks/databricks-dolly-15k"
ANSWERS_BY = "people"
CATEGORIES = frozenset(
    (
        "open_qa",
        "general_qa",
        "classification",
        "closed_qa",
        "brainstorming",
        "information_extraction",
        "summarization",
        "creative_writing",
    )
)
_MARKS = re.compile(
    r"""(?<=[^\s\[\]({<|=])          # glued to what stands before it
    (?:\[(?:
        [1-9]\d{0,2}                                                # [12]
      | [A-Za-z]{1,8}\.?[ \u00a0]\d{1,3}                            # [note 3]
      | [a-z]                                                       # [a]
      | [A-Za-z][^\[\]\n]{2,40}(?:needed|\?)                        # [citation needed] [when?]
      | failed\ verification | not\ verified\ in\ body | citation\ not\ found | permanent\ dead\ link
      | dubious[^\[\]\n]{0,40}
    )\])+
    (?!\()""",
    re.VERBOSE,
)
_NUMBER_OR_LETTER = re.compile(r"\[(?:\d+|[a-z])\]")
_NAME = re.compile(r"(?<![^\W\d_])[^\W\d_]\Z|_\w*\Z|[A-Za-z_]\w*\d\w*\Z|[a-z]\w*[A-Z]\w*\Z")
_PUNCTUATION = ".,;:!?…%”’»"
_CODE = re.compile(r"[={}`\\]|;\s*$|->|\w\(|::")
_INDEX = re.compile(r"[\w\])]\[(?:0\d*|-\d+)\]")


class Options(Base):
    """`citation_marks`: remove Wikipedia's citation marks, or keep the texts as they are."""

    citation_marks: Literal["remove", "keep"] = "remove"


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the keys decide
    """Dolly's four keys, or AlpaGasus' four with one of Dolly's eight categories."""
    if has_keys(sample, "instruction", "context", "response"):
        if has_keys(sample, "category"):
            return Match(0.98, "Dolly's keys: instruction, context, response and category")
        return Match(0.85, "Dolly's keys instruction, context and response")
    if fits(sample, lambda row: {"instruction", "output"} <= row.keys() and _known(row.get("category"))):
        return Match(0.95, "instruction and output with Dolly's categories")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example a row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[Converted]:
    context = "input" if "context" not in row and "input" in row else "context"
    response = "output" if "response" not in row and "output" in row else "response"
    tags = rest(row, "instruction", context, response)
    instruction, given, said = text(row, "instruction"), optional_text(row, context), text(row, response)
    if options.citation_marks == "remove":
        (given, first), (said, second) = without_marks(given), without_marks(said)
        if first + second:
            tags["citation_marks"] = first + second
    given = real_input(given, tags)
    yield pair([("instruction", instruction), (context, given)], (response, said), tags=tags, own_id=own_id(row))


def without_marks(passage: str) -> tuple[str, int]:
    """A text without its citation marks, by the rule at the head of this module, and how many went."""
    if "[" not in passage:
        return passage, 0
    indexed = _INDEX.search(passage) is not None
    gone = 0

    def remove(found: re.Match[str]) -> str:
        nonlocal gone
        before = passage[max(0, found.start() - 40) : found.start()]
        if before[-1] not in _PUNCTUATION and _NUMBER_OR_LETTER.match(found[0]):
            start = passage.rfind("\n", 0, found.start()) + 1
            end = passage.find("\n", found.end())
            line = passage[start : end if end >= 0 else len(passage)]
            if found[0][1].isalpha() or indexed or _NAME.search(before) or _CODE.search(line):
                return found[0]
        gone += found[0].count("[")
        return ""

    return _MARKS.sub(remove, passage), gone


def _known(category: JsonValue) -> bool:
    return isinstance(category, str) and category in CATEGORIES
