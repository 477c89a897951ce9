"""ShareGPT: conversations with ChatGPT that people shared, `{"id", "conversations": [{"from", "value"}]}`.

Read as JSON lists or JSON Lines. Turns may also be `{"role", "content"}`, `{"user", "text"}`, or a pair
`{"human", "assistant"}`; the list may be called `conversation`. A `system` or `system_prompt` of the row is the first
turn, unless the conversation begins with the same text. All other keys go to tags: those of the row under their own
names (`raw_` before a name that this converter uses itself), those of turns under `turns`, weights of 0 and 1 under
`weights`, names of speakers that say more than the role (`function_call`, `bing`) under `speakers`.

- **Roles** come from the map in `converters/roles.py` and the option `roles`. A name that neither knows refuses the
  row (`unknown_role:NAME`). `instruction` is the user, unless a user turn follows (`instruction_and_user_turn`).
- **Chunks** `<base>_<n>` are joined by `converters/chunks.py`; a turn that two chunks share is kept once and counted in
  `repeated_turns`, tags on which chunks disagree become lists. `chunks` are the ids of all chunks of the dialogue,
  `own_id` the one in which the conversation begins, `rows` those in which a turn of it lies.
- **Who may speak when** stands in `converters/turns.py`; what its rules drop is refused with a code and the turns.
  Where no answered question is left, the rows are refused as a whole with the code of the first loss.
- **Length**: with `max_tokens` a conversation is cut between exchanges (a question and all up to the next question).
  Tokens are estimated as UTF-8 bytes over `bytes_per_token`, plus 6 a message: a converter reads no tokenizer. Each
  part repeats the system turn and pays for it. An exchange that is too long by itself is a part of its own, or with
  `oversize = "refuse"` refused (`oversize_pair`). `part` says which of how many parts a conversation is.
- **HTML**: with `html = "markdown"` answers that are a page's HTML become Markdown (`converters/html.py`).
- **compat** does what a published procedure did, after joining chunks, instead of our rules on turns and length
  (`converters/tulu.py`); what it loses is refused as `compat_loss` with row and turn numbers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field as Option
from pydantic import JsonValue, model_validator

from caravan.converters import converter, sharegpt_row
from caravan.converters.chunks import Chunk, chunk_id, join, repeats, turns_of
from caravan.converters.converter import NO_MATCH, Match, message
from caravan.converters.fields import RowError
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.splitting import PER_MESSAGE, estimate_tokens, split
from caravan.converters.tulu import Compat, published
from caravan.converters.turns import Loss, Run, Turn, arrange

VERSION = 1
LICENCE = "Apache-2.0 (as listed; no official repository)"
HUB = "anon8231489123/ShareGPT_Vicuna_unfiltered"
ANSWERS_BY = "model"

_PLAIN = {"human", "gpt", "user", "assistant", "system"}  # names that say no more than the role
_WHY = {
    "blank_turn": "a turn without text",
    "empty_response": "a question whose answer is blank",
    "leading_assistant_turn": "said before the first question",
    "trailing_user_turn": "a question without an answer",
    "trailing_tool_turn": "a tool's result without an answer",
    "only_system_turn": "nobody speaks after the system turn",
    "system_turn_inside": "a system turn after others have spoken",
    "oversize_pair": "an exchange over the token limit by itself",
}


class Options(converter.Options):
    """How ShareGPT rows are read: see the head of this module.

    ShareGPT V3 has 4.5 bytes a token of `cl100k_base`; other tokenizers and languages need another `bytes_per_token`.
    """

    roles: dict[str, str] = Option(default_factory=dict)
    max_tokens: Annotated[int, Option(ge=1)] | None = None
    bytes_per_token: Annotated[float, Option(gt=0, allow_inf_nan=False)] = 4.0
    oversize: Literal["keep", "refuse"] = "keep"
    html: Literal["keep", "markdown"] = "keep"
    compat: Compat | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.compat and self.max_tokens:
            raise ValueError(f"compat = {self.compat!r} brings its own limit: leave max_tokens out")
        return self


def matches(sample: Sequence[JsonValue], name: str) -> Match:
    """Near certain for turns with `from` and `value`, less so for other turns; preferences do not match."""
    found = [fit for row in sample if (fit := sharegpt_row.likeness(row)) is not None]
    fit = sum(found) / len(found) if found else 0.0
    if fit < 0.3:
        return NO_MATCH
    named = any(word in name.lower() for word in ("sharegpt", "vicuna"))
    turns = "turns with from and value" if fit > 0.9 else "turns of named speakers"
    return Match(round(fit + 0.04 * named, 2), f"rows hold conversations of {turns}")


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001
    """The base id of a chunk; rows whose id does not end in an underscore and digits stand alone."""
    own_id = sharegpt_row.own_id(row.value)
    found = chunk_id(own_id) if own_id else None
    return found[0] if found else None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """Read the rows of one base id, join what belongs together, and give each dialogue's parts and losses."""
    chunks = list[Chunk]()
    for raw in group:
        try:
            chunks.append(sharegpt_row.read(raw, options.roles, options.html == "markdown"))
        except RowError as error:
            yield Rejected(error.code, error.detail, (raw.row,))
    for dialogue in join(chunks):
        if options.compat:
            yield from _compat(dialogue, options.compat, options)
        else:
            yield from _default(dialogue, options)


def _default(dialogue: Sequence[Chunk], options: Options) -> Iterator[Converted | Rejected]:
    arranged = arrange(turns_of(dialogue))
    lost = arranged.lost
    if not arranged.exchanges:
        counts = Counter({loss.code: 0 for loss in lost})
        for loss in lost:
            counts[loss.code] += len(loss.turns)
        detail = ", ".join(f"{code}: {n}" for code, n in counts.items())
        yield Rejected(lost[0].code, f"{_WHY[lost[0].code]} ({detail})", tuple(sorted(c.row for c in dialogue)))
        return
    head = [arranged.head] if arranged.head else []
    parts = [range(len(arranged.exchanges))]
    if options.max_tokens:
        count = _counter(options.bytes_per_token)
        pairs = [(count(e[:1]) - PER_MESSAGE, count(e[1:]) - PER_MESSAGE) for e in arranged.exchanges]
        cut = split(pairs, options.max_tokens, head=count(head), oversize=options.oversize)
        parts = cut.parts
        lost += [Loss("oversize_pair", _turns(arranged.exchanges[i])) for i in cut.lost]
        if head and not parts:
            lost.append(Loss("oversize_pair", head[0].turns))
    for i, part in enumerate(parts, 1):
        runs = head + [run for n in part for run in arranged.exchanges[n]]
        yield _conversation(dialogue, runs, [i, len(parts)])
    for code in dict.fromkeys(loss.code for loss in lost):
        gone = [turn for loss in lost if loss.code == code for turn in loss.turns]
        yield Rejected(code, _WHY[code], _rows(gone), [turn.as_json() for turn in gone])


def _compat(dialogue: Sequence[Chunk], compat: Compat, options: Options) -> Iterator[Converted | Rejected]:
    result = published(turns_of(dialogue), compat, options.bytes_per_token)
    for i, part in enumerate(result.parts, 1):
        yield _conversation(dialogue, [Run(turn.role, (turn,)) for turn in part], [i, len(result.parts)])
    for why, gone in result.lost.items():
        places: list[JsonValue] = [{"row": turn.places[0].row, "turn": turn.places[0].turn} for turn in gone]
        yield Rejected("compat_loss", why, _rows(gone), places)


def _conversation(dialogue: Sequence[Chunk], runs: Sequence[Run], part: list[JsonValue]) -> Converted:
    tags = _shared_tags(dialogue)
    if len(dialogue) > 1:
        tags["chunks"] = [chunk.own_id for chunk in dialogue]
        tags["repeated_turns"] = sum(repeats(a, b) for a, b in pairwise(dialogue))
    if part != [1, 1]:
        tags["part"] = part
    names = [run.turns[0].name for run in runs]
    if not _PLAIN.issuperset(names):
        tags["speakers"] = list[JsonValue](names)
    turns = _turns(runs)
    if any(turn.weight is not None for turn in turns):
        tags["weights"] = [min(1 if t.weight is None else t.weight for t in run.turns) for run in runs]
    if any(turn.extra for turn in turns):
        tags["turns"] = [
            {key: value for turn in run.turns for key, value in (turn.extra or {}).items()} for run in runs
        ]
    start = next(turn.places[0].row for turn in turns if turn.role != "system")
    own_id = next(chunk.own_id for chunk in dialogue if chunk.row == start)
    return Converted([message(run.role, run.text) for run in runs], own_id, _rows(turns), tags=tags)


def _shared_tags(dialogue: Sequence[Chunk]) -> JsonObject:
    """The chunks' tags: one value where all chunks have the same, else a list of one a chunk (null for none)."""
    if len(dialogue) == 1:
        return dict(dialogue[0].tags)
    tags = JsonObject()
    for key in dict.fromkeys(key for chunk in dialogue for key in chunk.tags):
        values = [chunk.tags.get(key) for chunk in dialogue]
        tags[key] = values[0] if all(value == values[0] for value in values) else values
    return tags


def _counter(bytes_per_token: float) -> Callable[[Iterable[Run]], int]:
    def count(runs: Iterable[Run]) -> int:
        return sum(estimate_tokens(run.text, bytes_per_token) + PER_MESSAGE for run in runs)

    return count


def _turns(runs: Iterable[Run]) -> tuple[Turn, ...]:
    return tuple(turn for run in runs for turn in run.turns)


def _rows(turns: Iterable[Turn]) -> tuple[int, ...]:
    """The raw rows in which turns were found, each once."""
    return tuple(sorted({place.row for turn in turns for place in turn.places}))
