"""What a judge will cost and how long it will take, before it starts; and the limit, while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from caravan.errors import UserError
from caravan.eval.judging.prompt import Messages
from caravan.eval.models.client import Failed

ENCODING = "o200k_base"  # near enough to any judge's own; what it says is an estimate
AROUND = 4  # tokens that a chat template puts around a message
SECONDS = 2.0  # a reply of a few tokens, by a hosted judge


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars, or whatever the judge is paid in, for a million tokens of prompt and of answer."""

    prompt: float
    answer: float

    def __post_init__(self) -> None:
        if not (self.prompt >= 0 and self.answer >= 0):
            raise UserError("a price is below nought", fix="give what a million tokens cost")

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        """What these tokens cost."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to ask. `answer_tokens` and `cost` (None without prices) are the most it can be."""

    requests: int
    known: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    seconds: float

    def __str__(self) -> str:
        told = (
            f"{self.requests:,} verdicts to ask, {self.known:,} known; about {self.prompt_tokens:,} tokens of prompts"
        )
        told += f", at most {self.answer_tokens:,} of answers"
        if self.cost is not None:
            told += f"; at most about {money(self.cost)}"
        return f"{told}; about {duration(self.seconds)} at {SECONDS:g} s a reply"


def plan(prompts: Sequence[int], answer_tokens: int, known: int, concurrency: int, prices: Prices | None) -> Plan:
    """The plan for prompts of so many tokens each, answered in at most `answer_tokens`."""
    total, answers = sum(prompts), len(prompts) * answer_tokens
    cost = None if prices is None else prices.of(total, answers)
    return Plan(len(prompts), known, total, answers, cost, len(prompts) * SECONDS / concurrency)


def prompt_tokens(asked: Sequence[Messages]) -> list[int]:
    """About how many tokens each conversation has."""
    return [sum(text_tokens([m["content"] for m in messages])) + AROUND * len(messages) for messages in asked]


def text_tokens(texts: Sequence[str]) -> list[int]:
    """About how many tokens each text has: by tiktoken's vocabulary, else by its bytes."""
    from caravan.curate.tokens import counter

    return counter(ENCODING)(texts)


class Budget:
    """Sees that spending stays within a limit. What is asked counts at its estimate until the reply says what it was.

    Estimates grow with the worst that was seen, so that a judge whose tokens are smaller is stopped in time too.
    """

    def __init__(self, prices: Prices | None, most: float | None) -> None:
        self._prices, self._most = prices, most
        self.spent = 0.0
        self._held = 0.0
        self._worst = 1.0
        self.stopped = False

    def hold(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """Set aside what a request may cost; None when it would pass the limit, and from then on."""
        if self._prices is None:
            return 0.0
        cost = self._prices.of(round(prompt_tokens * self._worst), answer_tokens)
        if self.stopped or (self._most is not None and self.spent + self._held + cost > self._most * (1 + 1e-9)):
            self.stopped = True
            return None
        self._held += cost
        return cost

    def free(self, held: float) -> None:
        """The request was not answered, and cost nothing."""
        self._held -= held

    def pay(self, held: float, estimated: int, prompt_tokens: int, answer_tokens: int) -> None:
        """The reply had so many tokens, where the prompt's were estimated."""
        self._held -= held
        self._worst = max(self._worst, prompt_tokens / max(estimated, 1))
        if self._prices is not None:
            self.spent += self._prices.of(prompt_tokens, answer_tokens)

    def lose(self, cost: float) -> None:
        """A try failed that may have been charged: it counts as if it was. `Failed` when no other can be paid."""
        self.spent += cost
        if self._most is not None and self.spent + self._held > self._most * (1 + 1e-9):
            self.stopped = True
            raise Failed("not tried again: the limit of the cost is reached")


def money(cost: float) -> str:
    """A sum, with as many digits as it needs."""
    return f"{cost:,.2f}" if cost >= 0.1 else f"{cost:.2g}"


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
