"""Which item a person sees when, and which answer stands on which side: fixed by hashes, balanced, never drawn again.

Balance. Annotators come in couples, in the order of invitation. Each couple has its own ranking of the items by hash;
the first of the two sees answer A on the left of every other item of it, the second sees the mirror image. So each
person has A on the left for half of the items (one more where the number is odd), and each couple, taken together,
for exactly half of its showings of every single item.

Every twentieth item comes a second time at the end, with its sides changed: how far people agree with themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Side = Literal["A", "B"]
REPEAT_EVERY = 20


@dataclass(frozen=True, slots=True)
class Slot:
    """One showing: the item's id, whose answer stands on the left, and whether the item was shown before."""

    item: str
    left: Side
    repeat: bool = False


def sequence(items: Sequence[str], annotator: int, seed: str) -> list[Slot]:
    """All showings of the annotator invited as number `annotator` (from 0), in order.

    Each person has an order of their own, so that neither learning nor tiredness falls on the same items.
    """
    left = _left(items, annotator, seed)
    shown = [Slot(item, left[item]) for item in _ranked(items, "order", annotator, seed)]
    earlier = shown[: len(shown) - len(shown) // 4]  # what was seen a moment ago would be remembered
    again = set(_ranked([slot.item for slot in earlier], "again", annotator, seed)[: len(items) // REPEAT_EVERY])
    return shown + [Slot(s.item, "B" if s.left == "A" else "A", True) for s in earlier if s.item in again]


def _left(items: Sequence[str], annotator: int, seed: str) -> dict[str, Side]:
    couple, second = divmod(annotator, 2)
    ranked = _ranked(items, "side", couple, seed)
    return {item: "A" if at % 2 == second else "B" for at, item in enumerate(ranked)}


def _ranked(items: Sequence[str], what: str, who: int, seed: str) -> list[str]:
    def digest(item: str) -> bytes:
        return blake2b(
            "\0".join((seed, what, str(who), item)).encode("utf-8", "surrogatepass"), digest_size=16
        ).digest()

    return sorted(items, key=digest)
