"""Questions to a judge: each asked once, ever; what is known is not paid again, a limit is kept, a kill loses nothing.

A reply is known by the hash of all that it depends on: the endpoint, the model, the messages, the sampling, the version
of the prompt and of how verdicts are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caravan.cache import cache_folder, key
from caravan.errors import UserError
from caravan.eval.judging import prompt
from caravan.eval.judging.cost import Budget, Plan, Prices, money, plan, prompt_tokens, text_tokens
from caravan.eval.judging.prompt import Messages
from caravan.eval.judging.store import Kept, Replies
from caravan.eval.models.client import Client, Endpoint, Failed, Sampling
from caravan.eval.models.side_by_side import side_by_side
from caravan.terminal import Progress

VERSION = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation, under the key by which its reply is kept."""

    key: str
    messages: Messages


@dataclass(frozen=True, slots=True)
class Limits:
    """What a judge may cost: `prices`, where they are known, and the most that this command may spend."""

    prices: Prices | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.most is not None and self.prices is None:
            raise UserError("a limit of the cost needs prices", fix="say what a million tokens cost")


def question(endpoint: Endpoint, messages: Messages, answer_tokens: int) -> Question:
    """A question to a judge, which answers without chance."""
    versions = (VERSION, prompt.VERSION)
    return Question(key(endpoint.label, endpoint.model, messages, answer_tokens, versions), messages)


def cache_file(endpoint: Endpoint) -> Path:
    """Where the replies of a judge are kept for other runs."""
    return cache_folder() / "judge" / f"{key(endpoint.label, endpoint.model)}.jsonl"


def planned(
    questions: Sequence[Question], replies: Replies, endpoint: Endpoint, answer_tokens: int, prices: Prices | None
) -> Plan:
    """What asking these questions would take."""
    left = _left(questions, replies)
    known = len({q.key for q in questions}) - len(left)
    return plan(prompt_tokens([q.messages for q in left]), answer_tokens, known, endpoint.concurrency, prices)


def ask_all(
    questions: Sequence[Question],
    replies: Replies,
    endpoint: Endpoint,
    answer_tokens: int,
    limits: Limits,
    progress: Progress,
) -> dict[str, str]:
    """Ask what has no reply yet, and keep each reply as it comes; why those failed that did, by key.

    Raises `UserError` before anything is asked when the estimate passes the limit; when spending comes to it, after
    what was under way is kept; and when no request can succeed.
    """
    left = _left(questions, replies)
    if not left:
        return {}
    prompts = prompt_tokens([q.messages for q in left])
    known = len({q.key for q in questions}) - len(left)
    estimate = plan(prompts, answer_tokens, known, endpoint.concurrency, limits.prices)
    progress.say(f"judge {endpoint.model}: {estimate}")
    if limits.most is not None and estimate.cost is not None and estimate.cost > limits.most:
        what = f"judging would cost at most about {money(estimate.cost)}, above the limit of {money(limits.most)}"
        raise UserError(what, fix="raise --max-cost, or judge fewer pairs")
    budget, sampling = Budget(limits.prices, limits.most), Sampling(answer_tokens)
    sizes = dict(zip((q.key for q in left), prompts, strict=True))
    changes: set[str] = set()

    async def ask(client: Client, one: Question) -> str | None:
        held = budget.hold(sizes[one.key], answer_tokens)
        if held is None:
            return None
        try:
            reply = await client.chat(one.messages, sampling, lambda: budget.lose(held))
        except Failed as error:
            budget.free(held)
            return str(error)
        changes.update(client.changes)
        prompted = sizes[one.key] if reply.prompt_tokens is None else reply.prompt_tokens
        answered = text_tokens([reply.text])[0] if reply.answer_tokens is None else reply.answer_tokens
        replies.add(one.key, Kept(reply.text, prompted, answered))
        budget.pay(held, sizes[one.key], prompted, answered)
        return ""

    failed: dict[str, str] = {}
    replied = side_by_side(endpoint, left, ask, proven=known > 0)
    for some in progress.track(replied, "judge", len(left), "verdicts", len):
        failed |= {one.key: why for one, why in some if why}
    for change in sorted(changes):
        progress.warn(f"judge {endpoint.model}: asked with {change}")
    if budget.stopped:
        what = f"stopped at {money(budget.spent)}: more would pass the limit of {money(limits.most or 0.0)}"
        raise UserError(what, fix="raise --max-cost and run it again: what was answered is kept")
    if failed:
        why = next(iter(failed.values()))
        progress.warn(f"{len(failed):,} verdicts failed ({why}); the same command asks them again")
    return failed


def _left(questions: Sequence[Question], replies: Replies) -> list[Question]:
    """What has no reply, each question once, in order."""
    first = {q.key: q for q in reversed(questions)}
    wanted = dict.fromkeys(q.key for q in questions)
    return [first[name] for name in wanted if replies.get(name) is None]
