"""The published ShareGPT procedures, losses included, for those who want to compare with their numbers.

`tulu-v1` and `tulu-v2` are open-instruct's `split_sharegpt_conversations.py` at 2,048 and 4,096 tokens, `fastchat`
is FastChat's `split_long_conversation.py` at 2,048; each is followed by the filter on roles in the same files. They
take turns two by two, whoever speaks, and then drop every part in which human and gpt do not alternate under these
very names: a system turn, which shifts all pairs, costs the whole dialogue, a turn of bing, chatgpt or a tool the part
it lies in. Blank turns stay. Tokens are estimated here, theirs were counted by LLaMA's tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from caravan.converters.splitting import estimate_tokens, split_fastchat, split_open_instruct
from caravan.converters.turns import Turn

Compat = Literal["tulu-v1", "tulu-v2", "fastchat"]

_PROCEDURES = {
    "tulu-v1": (split_open_instruct, 2048),
    "tulu-v2": (split_open_instruct, 4096),
    "fastchat": (split_fastchat, 2048),
}


@dataclass(slots=True)
class Published:
    """What a published procedure keeps of a dialogue, and what it loses, by reason; each turn lies in one of them."""

    parts: list[Sequence[Turn]]
    lost: dict[str, list[Turn]]


def published(turns: Sequence[Turn], compat: Compat, bytes_per_token: float) -> Published:
    """Cut a whole dialogue as the procedure called `compat` does."""
    splitter, limit = _PROCEDURES[compat]
    tokens = [estimate_tokens(turn.text, bytes_per_token) for turn in turns]
    pairs = list(zip(tokens[::2], tokens[1::2], strict=False))
    cut = splitter(pairs, limit)
    result = Published([], {})
    if len(turns) % 2:
        result.lost["last turn of an odd number"] = [turns[-1]]
    if cut.lost:
        result.lost["pairs lost by the splitter"] = [turn for i in cut.lost for turn in turns[2 * i : 2 * i + 2]]
    for part in cut.parts:
        spoken = turns[2 * part.start : 2 * part.stop]
        if all(turn.name == ("human", "gpt")[i % 2] for i, turn in enumerate(spoken)):
            result.parts.append(spoken)
        else:
            result.lost.setdefault("human and gpt do not alternate", []).extend(spoken)
    return result
