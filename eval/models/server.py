"""A model behind an OpenAI-compatible server.

How a prompt goes there depends on what is known here, and `identity` says which it was:

| form | tokenizer named | asked by | opener |
|---|---|---|---|
| chat | yes | `/completions`, rendered here by the tokenizer's template, sent as token ids | as in a local run |
| chat | no | `/chat/completions`, the server renders | left out: no way to begin an answer works on all servers |
| plain | yes | `/completions`, as token ids | |
| plain | no | `/completions`, as text | |

Choices are read from one new token with its 20 likeliest candidates; log-probabilities of the prompt, for which
servers give up their prefix cache, are never asked. Candidates that differ in spaces around them ("A", " A") are one
choice, and their probabilities add up. A choice that is not among the candidates is less likely than the last of them,
and gets that one's log-probability, a hair lowered: an upper bound, which never wins against a choice that is listed.
Where none is listed the request has failed: nothing is known of its answer.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence, Set
from typing import Any

from caravan.errors import UserError
from caravan.eval import rendering
from caravan.eval.benchmark import Answer, Ask, Ended
from caravan.eval.model import Request
from caravan.eval.models.client import Client, Endpoint, Failed, Sampling
from caravan.eval.models.reply import Reply
from caravan.eval.models.side_by_side import side_by_side
from caravan.eval.models.tokenizer import PromptTokenizer

TOP = 20  # candidates: what vLLM and the hosted servers give at most
STOPS = 4  # stop strings that every server takes; the text is cut at all of them here
NEAR = 1e-2  # servers compute in 16 bits, where log-probabilities move so much with the batch
SEEDS = 2**31
SPACES = "▁Ġ"  # how some servers spell the space before a word
NO_ANSWER = {"content_filter", "abort", "error"}
FIRST_LOOK = 10.0  # seconds in which the server must say that it is there


def open_server(
    url: str,
    model: str,
    *,
    tokenizer: str | None = None,
    form: str = "auto",
    key_env: str = "OPENAI_API_KEY",
    concurrency: int = 8,
    timeout: float = 600.0,
    retries: int = 8,
) -> "ServerModel":
    """The model that a server knows by a name; the server must be there.

    `url` goes up to and with `/v1`. `tokenizer`: the folder or hub name of the model's own tokenizer. `form`: "chat",
    "plain", "tulu" (the paper's turns; takes a tokenizer) or "auto": chat, unless the tokenizer has no chat template.
    `key_env`, `concurrency`, `timeout` (seconds) and `retries` are those of `Endpoint`. Raises `UserError` when the
    server cannot be reached or does not know the key, and for a tokenizer that cannot be read or lacks the template
    that is asked for.
    """
    endpoint = Endpoint(url, model, key_env, concurrency, timeout, retries)
    if form == "tulu" and tokenizer is None:
        raise UserError("--form tulu is rendered here, by the model's tokenizer", fix="add --tokenizer")
    own = None if tokenizer is None else PromptTokenizer(tokenizer, tulu=form == "tulu")
    chat = form in ("chat", "tulu") or (form == "auto" and (own is None or own.has_template))
    if chat and own is not None and not own.has_template:
        raise UserError("the tokenizer has no chat template", where=tokenizer or "", fix="use --form plain")
    context = _context(endpoint)
    return ServerModel(endpoint, chat, own, context if own is not None else None)


class ServerModel:
    """See the module; `caravan.eval.model.Model` has the contract."""

    def __init__(self, endpoint: Endpoint, chat: bool, tokenizer: PromptTokenizer | None, context: int | None) -> None:
        self.endpoint, self.context = endpoint, context
        self.name = endpoint.model
        self._chat, self._tokenizer = chat, tokenizer
        self.identity = f"{endpoint.model} at {endpoint.label}, {self._how()}"

    def _how(self) -> str:
        if self._tokenizer is not None:
            form = "chat turns rendered here" if self._chat else "plain text"
            return f"{form}, as token ids of tokenizer {self._tokenizer.fingerprint}"
        return "chat turns rendered by the server, openers left out" if self._chat else "plain text"

    def render(self, ask: Ask) -> str:
        """The prompt; what the user says where the server renders."""
        if not self._chat:
            return rendering.plain(ask)
        return ask.text if self._tokenizer is None else rendering.chat(ask, self._tokenizer.turn)

    def stops(self, ask: Ask) -> tuple[str, ...]:
        """The stop strings that go with the form."""
        return ask.chat_stop if self._chat else ask.stop

    def tokens(self, prompt: str) -> list[int]:
        """The ids that are sent; empty without a tokenizer."""
        return [] if self._tokenizer is None else self._tokenizer.ids(prompt, special=not self._chat)

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens; `UserError` without a tokenizer."""
        if self._tokenizer is None:
            raise UserError("texts are cut by tokens, which only the server knows", fix="add --tokenizer")
        return self._tokenizer.cut(text, n)

    def answers(self, requests: Sequence[Request], done: Set[int]) -> Iterator[list[tuple[int, Answer]]]:
        """Answers as they come; `UserError` for choices of several tokens, and as `client` has it."""
        for choices in sorted({r.choices for r in requests}):
            self._check(choices)

        async def ask(client: Client, number: int) -> Answer:
            try:
                return await self._answer(client, requests[number])
            except Failed as error:
                return Answer(ended="failed", error=str(error))

        left = [number for number in range(len(requests)) if number not in done]
        yield from side_by_side(self.endpoint, left, ask, proven=bool(done))

    def _check(self, choices: Sequence[str]) -> None:
        for choice in choices:
            word = choice.strip()
            known = self._tokenizer is not None and self._tokenizer.is_one(word)
            if not (len(word) == 1 or known):
                raise UserError(
                    f"a server gives the likelihood of one token, and the choice {word[:40]!r} is more",
                    where=self.endpoint.label,
                    fix="evaluate the model's folder, or leave this benchmark out",
                )

    async def _answer(self, client: Client, request: Request) -> Answer:
        if request.choices:
            return read_choice(await self._ask(client, request.prompt, Sampling(1, top=TOP)), request.choices)
        drawn = request.temperature > 0
        sampling = Sampling(
            request.new_tokens,
            request.temperature,
            request.top_p if drawn else 1.0,
            request.stop[:STOPS],
            request.seed % SEEDS if drawn else None,
        )
        return read_text(await self._ask(client, request.prompt, sampling), request.stop)

    async def _ask(self, client: Client, prompt: str, sampling: Sampling) -> Reply:
        if self._tokenizer is not None:
            return await client.complete(self.tokens(prompt), sampling)
        if self._chat:
            return await client.chat([{"role": "user", "content": prompt}], sampling)
        return await client.complete(prompt, sampling)


def read_text(reply: Reply, stop: Sequence[str]) -> Answer:
    """A text, ended before the first of the stop strings."""
    if reply.finish in NO_ANSWER:
        return Answer(ended="failed", error=f"the server ended it: {reply.finish}")
    end = min((at for s in stop if (at := reply.text.find(s)) >= 0), default=None)
    ended: Ended = "length" if reply.finish == "length" and end is None else "stop"
    return Answer(reply.text[:end], ended=ended)


def read_choice(reply: Reply, choices: Sequence[str]) -> Answer:
    """The log-probability of each choice, by the rules of the module."""
    words = [choice.strip() for choice in choices]
    listed = {word: [p for token, p in reply.top if _word(token) == word] for word in words}
    if not any(listed.values()):
        seen = ", ".join(repr(token) for token, _ in reply.top[:3])
        error = f"no choice is among the {len(reply.top)} likeliest first tokens, which begin with {seen}"
        return Answer(ended="failed", error=error)
    found = {word: _sum(own) for word, own in listed.items() if own}
    bound = math.nextafter(reply.top[-1][1], -math.inf)
    best = sorted(found.values(), reverse=True)
    near = len(best) > 1 and best[0] - best[1] < NEAR
    return Answer(logprobs=tuple(found.get(word, bound) for word in words), near_tie=near)


def _word(token: str) -> str:
    return token.strip().strip(SPACES)


def _sum(logprobs: Sequence[float]) -> float:
    """The log-probability of either: log(sum(exp))."""
    most = max(logprobs)
    return min(most + math.log(math.fsum(math.exp(p - most) for p in logprobs)), 0.0)


def _context(endpoint: Endpoint) -> int | None:
    """The context of the model, where the server tells (vLLM, SGLang); also sees that the server is there."""

    async def look(client: Client, _: None) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(FIRST_LOOK):
                return await client.models() or []
        except TimeoutError:
            return []

    try:
        ((_, models),) = next(side_by_side(endpoint, [None], look))
    except Failed:
        raise UserError("the server cannot be reached", where=endpoint.label, fix="start it, or check --url") from None
    lengths = [m.get("max_model_len") for m in models if m.get("id") == endpoint.model]
    return next((n for n in lengths if isinstance(n, int) and n > 0), None)
