from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.eval.human.order import REPEAT_EVERY, sequence

ids = st.lists(st.text(max_size=6), unique=True, max_size=70)


@given(ids, st.integers(0, 9), st.text(max_size=4))
def test_everyone_sees_every_item_once_and_some_again_at_the_end_with_sides_changed(
    items: list[str], annotator: int, seed: str
) -> None:
    slots = sequence(items, annotator, seed)
    first = [slot for slot in slots if not slot.repeat]
    again = slots[len(first) :]
    assert sorted(slot.item for slot in first) == sorted(items)
    assert len(again) == len(items) // REPEAT_EVERY == len({slot.item for slot in again})
    sides = {slot.item: slot.left for slot in first}
    assert all(slot.repeat and slot.left != sides[slot.item] for slot in again)


@given(ids, st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_hangs_on_nothing_but_ids_annotator_and_seed(
    items: list[str], annotator: int, random: object
) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sequence(items, annotator, "s") == sequence(shuffled, annotator, "s")


@given(ids, st.integers(1, 6))
@settings(max_examples=50)
def test_sides_are_balanced_for_each_person_and_over_each_couple_for_each_item(items: list[str], couples: int) -> None:
    per_item: Counter[str] = Counter()
    for annotator in range(2 * couples):
        left = [slot.item for slot in sequence(items, annotator, "s") if slot.left == "A" and not slot.repeat]
        assert abs(2 * len(left) - len(items)) <= 1
        per_item.update(left)
    assert all(per_item[item] == couples for item in items)


def test_couples_and_people_differ_in_sides_and_order() -> None:
    items = [str(n) for n in range(60)]
    seen = [sequence(items, annotator, "s")[:60] for annotator in range(4)]
    orders = {tuple(slot.item for slot in slots) for slots in seen}
    splits = {frozenset(slot.item for slot in slots if slot.left == "A") for slots in seen}
    assert len(orders) == len(splits) == 4
    shown = [slot.left for slot in seen[0]]
    assert 20 < sum(a != b for a, b in pairwise(shown)) < 40  # sides do not take turns


def test_what_is_shown_again_was_not_seen_a_moment_ago() -> None:
    slots = sequence([str(n) for n in range(200)], 0, "s")
    place = {slot.item: at for at, slot in enumerate(slots[:200])}
    assert all(place[slot.item] < 150 for slot in slots[200:])
    assert len(slots) == 210
