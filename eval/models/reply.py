"""What an OpenAI-compatible server answers, read with care: a body that is not what it should be is `Malformed`."""

import json
import math
from dataclasses import dataclass
from typing import Any


class Malformed(Exception):  # noqa: N818
    """A body that is no reply; the message says in a few words why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `finish` is the server's own word for how it ended ("stop", "length", ...; "" where it says none).

    `top` are the likeliest first tokens as the server spells them, with natural log-probabilities, the likeliest
    first. Token counts are the server's, None where it gives none.
    """

    text: str
    finish: str = ""
    top: tuple[tuple[str, float], ...] = ()
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


def read_reply(content: bytes, *, chat: bool, top: bool) -> Reply:
    """The reply in a body of status 200; `top`: log-probabilities were asked."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("not an object")
    if value.get("error"):
        raise Malformed(f"an error: {json.dumps(value['error'])[:200]}")
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed("no choices")
    choice = choices[0]
    finish, usage = choice.get("finish_reason"), value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        _text(choice, chat),
        finish if isinstance(finish, str) else "",
        _top(choice.get("logprobs")) if top else (),
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _text(choice: dict[str, Any], chat: bool) -> str:
    if not chat:
        text = choice.get("text")
    else:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise Malformed("no message")
        text = message.get("content")
        if text is None:  # nothing was said: all tokens went into thinking, or the model refused
            return ""
        if isinstance(text, list):
            text = "".join(p["text"] for p in text if isinstance(p, dict) and isinstance(p.get("text"), str))
    if not isinstance(text, str):
        raise Malformed("no text")
    return _whole(text)


def _top(logprobs: Any) -> tuple[tuple[str, float], ...]:
    """The first token's candidates, in either of the two forms that servers use."""
    found: dict[str, float] = {}
    try:
        if isinstance(logprobs.get("content"), list):
            first = logprobs["content"][0]
            pairs = [(p["token"], p["logprob"]) for p in [first, *first["top_logprobs"]]]
        else:
            pairs = list(logprobs["top_logprobs"][0].items())
    except (AttributeError, LookupError, TypeError):
        raise Malformed("no log-probabilities of the first token") from None
    for token, logprob in pairs:
        if isinstance(logprob, bool) or not isinstance(token, str) or not isinstance(logprob, (int, float, type(None))):
            raise Malformed("log-probabilities that are none")
        if logprob is None or logprob == -math.inf:
            continue
        if not logprob < 0.01:  # also what is not a number
            raise Malformed("log-probabilities above nought")
        token = _whole(token)
        found[token] = max(found.get(token, -math.inf), min(float(logprob), 0.0))
    if not found:
        raise Malformed("no log-probabilities of the first token")
    return tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _whole(text: str) -> str:
    """The text without half surrogate pairs, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
