"""A judge for tests, on `fake_server`: it finds the answers between their fences, and decides."""

import random
import re
from collections.abc import Callable, Sequence

from caravan.eval.judging.prompt import boundary
from caravan.eval.pairs import Pair
from fake_server import Asked

WORDS = ["lentils", "river", "bridge", "lantern", "copper", "walk", "slowly", "under", "seven", "windows", "boats"]


def pairs_of(n: int, seed: int = 0) -> list[Pair]:
    """Pairs with answers of random length, in two groups; one in ten has two equal outputs."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 12)))

    found = []
    for number in range(n):
        a = text()
        b = a if number % 10 == 3 else text()
        found.append(
            Pair(f"item-{number:03}", f"Write about a {draw.choice(WORDS)} ({number}).", a, b, "pq"[number % 2])
        )
    return found


def shown(asked: Asked) -> tuple[str, str, str]:
    """The instruction, the first answer and the second, read as a judge would who trusts its fences alone."""
    mark = asked.prompt.split(" ", 1)[0]
    found = []
    for name in ("instruction", "answer A", "answer B"):
        (text,) = re.findall(
            f"^{mark} {name} begins\n(.*?)\n{mark} {name} ends$", asked.prompt, re.DOTALL | re.MULTILINE
        )
        found.append(text)
    instruction, a, b = found
    assert mark == boundary(instruction, a, b) or "<" in asked.prompt or "[" in asked.prompt
    return instruction, a, b


def longer(asked: Asked) -> str:
    """Prefers the longer answer, whichever comes first."""
    _, a, b = shown(asked)
    return "A" if len(a) > len(b) else "B" if len(b) > len(a) else "TIE"


def preferring(text: str) -> Callable[[Asked], str]:
    """A judge that prefers the answer which contains a text."""

    def decide(asked: Asked) -> str:
        _, a, b = shown(asked)
        return "TIE" if (text in a) == (text in b) else "A" if text in a else "B"

    return decide


def expected(pairs: Sequence[Pair]) -> float:
    """The win rate of A by `longer`."""
    scores = [(len(p.a) > len(p.b)) + (len(p.a) == len(p.b)) / 2 for p in pairs]
    return sum(scores) / len(scores)
