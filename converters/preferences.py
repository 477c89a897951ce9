"""Two dialogues with one beginning, read into a preference: the rules that all converters of preferences share.

The prompt is what both dialogues share from their beginning, message by message; white space around a text makes no
difference (the prompt is then taken from the chosen side). What follows must be the assistant's on both sides, with
the results of its tools in between: where the dialogues part at a turn of the user, they answer different questions.

Refused: dialogues that are the same (`equal_answers`), that share no question (`no_shared_prompt`), one that ends where
the other goes on (`no_answer:chosen`, `no_answer:rejected`) or in a turn that is not the assistant's
(`ends_with_user`, `ends_with_tool`, `ends_with_system`), dialogues that part before the last answer
(`diverge_early`), blank messages of the user (`empty_prompt`) or the assistant (`empty_response`). A blank system
message says nothing and is left out.

Which answer is the better one is the file's word alone: scores, equal ones among them, are tags.
"""

from collections.abc import Sequence

from pydantic import JsonValue

from caravan.converters.chat import Reading, Turn, as_messages, read_side, weights_of, without_blanks
from caravan.converters.fields import RowError
from caravan.converters.schema import ConvertedPair, JsonObject


def read_answer(field: str, value: JsonValue, how: Reading) -> list[Turn]:
    """One side as found: a text, one message, or messages, alone or with all that went before. Raises `RowError`."""
    return read_side(field, [value] if isinstance(value, dict) else value, "assistant", how)


def is_dialogue(side: Sequence[Turn]) -> bool:
    """Whether a side brings its own question."""
    return any(turn.role == "user" for turn in side)


def dialogue(prompt: Sequence[Turn], side: Sequence[Turn]) -> list[Turn]:
    """The prompt and what one side says after it; a side that repeats the prompt is the whole dialogue already.

    Raises `RowError` (`prompt_disagrees`) for a side that begins in another way than the prompt.
    """
    if not any(turn.role in ("user", "system") for turn in side):
        return [*prompt, *side]
    (head, asked), (own_head, rest) = _after_system(prompt), _after_system(side)
    if _shared(asked, rest) < len(asked) or (head and own_head and _shared(head, own_head) < len(head)):
        raise RowError("prompt_disagrees", "an answer repeats the prompt in other words")
    return [*(own_head or head), *rest]


def preference(chosen: Sequence[Turn], rejected: Sequence[Turn], tags: JsonObject, own_id: str | None) -> ConvertedPair:
    """The preference that two whole dialogues make, by the rules of this module. Raises `RowError`."""
    chosen, rejected = without_blanks(chosen), without_blanks(rejected)
    shared = _shared(chosen, rejected)
    if shared == len(chosen) == len(rejected):
        raise RowError("equal_answers", "chosen and rejected are the same")
    sides = {"chosen": chosen[shared:], "rejected": rejected[shared:]}
    if not any(turn.role in ("user", "tool") for turn in chosen[:shared]):
        raise RowError("no_shared_prompt", "chosen and rejected do not answer the same question")
    for name, side in sides.items():
        if not side:
            raise RowError(f"no_answer:{name}", f"{name} ends where the other side goes on")
        if side[-1].role != "assistant":
            raise RowError(f"ends_with_{side[-1].role}", f"{name} does not end with an answer")
    if any(side[0].role != "assistant" or _asks(side) for side in sides.values()):
        raise RowError("diverge_early", "chosen and rejected part before the last answer")
    parts = {"prompt": chosen[:shared], **sides}
    tags = dict(tags)
    if any(turn.weight is not None for part in parts.values() for turn in part):
        tags["weights"] = {name: weights_of(part) for name, part in parts.items()}
    if any(turn.extra for part in parts.values() for turn in part):
        tags["message_fields"] = {name: [turn.extra for turn in part] for name, part in parts.items()}
    prompt, better, worse = map(as_messages, parts.values())
    return ConvertedPair(prompt, better, worse, own_id=own_id, tags=tags)


def _asks(side: Sequence[Turn]) -> bool:
    return any(turn.role in ("user", "system") for turn in side)


def _shared(a: Sequence[Turn], b: Sequence[Turn]) -> int:
    """How many turns from the beginning are alike."""
    pairs = zip(a, b, strict=False)
    alike = (x.role == y.role and x.content.strip() == y.content.strip() for x, y in pairs)
    return next((n for n, same in enumerate(alike) if not same), min(len(a), len(b)))


def _after_system(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The system turns at the beginning, and all that follows."""
    end = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return list(turns[:end]), list(turns[end:])
