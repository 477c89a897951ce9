"""What a model is to `evaluate`: something that is asked prompts and gives answers, here or behind a server."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from caravan.eval.benchmark import Answer, Ask


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, rendered whole. `seed` matters where `temperature` is above 0, and makes a sample repeatable."""

    prompt: str
    choices: tuple[str, ...] = ()
    new_tokens: int = 0
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Prompts(Protocol):
    """How a model is asked: what prompts look like, and how long they may be."""

    context: int | None
    """Tokens that prompt and answer may have together; None where unknown."""

    def render(self, ask: Ask) -> str:
        """The prompt, in chat form or plain."""

    def stops(self, ask: Ask) -> tuple[str, ...]:
        """The stop strings that go with the form."""

    def tokens(self, prompt: str) -> list[int]:
        """The ids that the model sees, special tokens included; empty where only the server knows."""

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens."""


class Model(Prompts, Protocol):
    """A model that can be asked."""

    name: str
    identity: str
    """Names all that answers depend on (weights, precision, template): an unfinished run goes on only with the same."""

    def answers(self, requests: Sequence[Request], done: Set[int]) -> Iterator[list[tuple[int, Answer]]]:
        """Answer requests, some at a time, each under its number; those in `done` need not be answered again.

        An answer does not depend on `done`: what was interrupted and goes on gives what it would have given.
        A request that fails gives `Answer(ended="failed", error=...)`; `UserError` where no request can succeed.
        """
