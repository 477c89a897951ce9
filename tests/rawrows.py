"""Raw rows for tests: small, of our own, in the raw formats of their sources."""

import random

# fmt: off
WORDS = [
    "harbour", "lantern", "meadow", "gravel", "cabinet", "thunder", "orchard", "velvet",
    "compass", "barley", "chimney", "ribbon", "glacier", "pepper", "walnut", "saddle",
    "canyon", "feather", "marble", "candle", "river", "anchor", "bucket", "copper",
    "daisy", "engine", "fabric", "garden", "hammer", "island", "jacket", "kettle",
]
# fmt: on


def sentence(seed: int, words: int = 30) -> str:
    """A text that no other seed gives, nor anything near it."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) + (str(rng.randrange(1000)) if n % 3 == 0 else "") for n in range(words)) + "."


def alpaca_rows(count: int, first: int = 0) -> list[dict[str, str]]:
    return [
        {
            "instruction": f"Describe the scene number {n}: {sentence(n, 12)}",
            "input": "",
            "output": f"The scene shows this. {sentence(10_000 + n, 40)}",
        }
        for n in range(first, first + count)
    ]


def message_rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [
        {
            "id": f"m{n}",
            "messages": [
                {"role": "user", "content": f"Please write about {sentence(20_000 + n, 10)}"},
                {"role": "assistant", "content": f"Here it is. {sentence(30_000 + n, 35)}"},
            ],
        }
        for n in range(first, first + count)
    ]
