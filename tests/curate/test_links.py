"""The greedy pass against the rule written down in plain Python, and both indexes against every pair."""

import random
from itertools import combinations

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate import links as k
from caravan.curate.words import Shingles, shingles


def ragged(sets: list[set[int]]) -> Shingles:
    values = [sorted(one) for one in sets]
    return Shingles(
        np.array([v for one in values for v in one], np.uint64),
        np.concatenate([[0], np.cumsum([len(one) for one in values], dtype=np.int64)]),
    )


def as_sets(found: Shingles) -> list[set[int]]:
    return [set(part.tolist()) for part in np.split(found.values, found.offsets[1:-1])]


def links(
    sets: list[set[int]],
    members: list[tuple[int, int]],
    beside: list[set[int]] | None = None,
    beside_limit: float = 1.0,
) -> k.Links:
    return k.Links(
        key="conversation",
        reason="near_duplicate",
        row=np.array([row for row, _ in members], np.int64),
        bucket=np.array([bucket for _, bucket in members], np.uint64),
        shingles=ragged(sets),
        beside=None if beside is None else ragged(beside),
        beside_limit=beside_limit,
    )


def jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b)


Beside = tuple[list[set[int]], float]


def by_the_rule(
    sets: list[list[set[int]]],
    members: list[list[tuple[int, int]]],
    limits: list[float],
    order: list[int],
    beside: list[Beside | None],
) -> dict[int, tuple[int, int, float]]:
    """row -> (partner, link, similarity) of each row that repeats a kept one, as `greedy` documents it."""
    kept: list[int] = []
    repeats = {}
    for row in order:
        alike = []
        for number, (of, lies) in enumerate(zip(sets, members, strict=True)):
            buckets = [{bucket for r, bucket in lies if r == one} for one in range(len(of))]
            for place, other in enumerate(kept):
                if of[row] and of[other] and buckets[row] & buckets[other]:
                    similarity = jaccard(of[row], of[other])
                    also, least = beside[number] or ([set[int]()] * len(of), 1.0)
                    both = bool(also[row] | also[other])
                    if similarity >= limits[number] and not (both and jaccard(also[row], also[other]) < least):
                        alike.append((-similarity, place, number, other))
        if alike:
            similarity, _, number, other = min(alike)
            repeats[row] = (other, number, -similarity)
        else:
            kept.append(row)
    return repeats


def verdicts(found: k.Verdicts) -> dict[int, tuple[int, int, float]]:
    return {
        int(row): (int(found.partner[row]), int(found.link[row]), float(found.similarity[row]))
        for row in np.flatnonzero(found.partner >= 0)
    }


a_set = st.sets(st.integers(0, 9).map(lambda v: v * 0x1F123BB5159A55E5 % 2**64))
small_sets = st.lists(a_set, min_size=1, max_size=9)


@settings(max_examples=200, deadline=None)
@given(st.data(), small_sets, st.integers(1, 3))
def test_greedy_is_the_documented_rule(data: st.DataObject, first: list[set[int]], many: int) -> None:
    rows = len(first)
    sets = [data.draw(st.permutations(first)) for _ in range(many)]
    one_bucket = [(row, 5) for row in range(rows)]
    member = st.tuples(st.integers(0, rows - 1), st.sampled_from([0, 1, 2**64 - 1]))
    members = [data.draw(st.one_of(st.just(one_bucket), st.lists(member, max_size=20))) for _ in range(many)]
    share = st.sampled_from([0.1, 1 / 3, 0.5, 0.6, 0.8, 1.0])
    limits = data.draw(st.lists(share, min_size=many, max_size=many))
    besides = st.tuples(st.lists(a_set, min_size=rows, max_size=rows), share)
    beside = data.draw(st.lists(st.none() | besides, min_size=many, max_size=many))
    order = data.draw(st.permutations(range(rows)))[: data.draw(st.integers(0, rows))]
    made = [links(of, lies, *(also or ())) for of, lies, also in zip(sets, members, beside, strict=True)]
    found = k.greedy(rows, made, limits, np.array(order, np.int64))
    assert verdicts(found) == by_the_rule(sets, members, limits, order, beside)


def test_greedy_is_the_documented_rule_where_many_are_alike() -> None:
    """Enough rows of one template that what stands beside has the shorter lists."""
    draw = random.Random(8)
    sets = [{*range(100), *(1000 + draw.randrange(40) for _ in range(9))} for _ in range(300)]
    beside = [{draw.randrange(60) for _ in range(draw.randrange(4))} for _ in range(300)]
    every = [(row, 1) for row in range(300)]
    found = k.greedy(300, [links(sets, every, beside, 0.5)], [0.9], np.arange(300))
    wanted = by_the_rule([sets], [every], [0.9], list(range(300)), [(beside, 0.5)])
    assert 30 < len(wanted) < 270
    assert verdicts(found) == wanted


@settings(max_examples=150, deadline=None)
@given(st.data(), small_sets, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_components_join_whatever_is_alike_through_others(
    data: st.DataObject, sets: list[set[int]], limit: float
) -> None:
    rows = len(sets)
    lies = data.draw(st.lists(st.tuples(st.integers(0, rows - 1), st.sampled_from([0, 7, 2**64 - 1])), max_size=20))
    labels = list(range(rows))
    for a, b in combinations(range(rows), 2):
        meet = {bucket for row, bucket in lies if row == a} & {bucket for row, bucket in lies if row == b}
        if meet and sets[a] | sets[b] and jaccard(sets[a], sets[b]) >= limit:
            labels = [min(labels[a], labels[b]) if one in (labels[a], labels[b]) else one for one in labels]
    assert k.components(rows, [links(sets, lies)], [limit]).tolist() == labels


def test_a_chain_is_not_followed() -> None:
    """A resembles B and B resembles C, but A does not resemble C: A and C stay, B goes."""
    a, b, c = set(range(100)), set(range(8, 108)), set(range(16, 116))
    assert jaccard(a, b) > 0.8 > jaccard(a, c)
    every = links([a, b, c], [(0, 1), (1, 1), (2, 1)])
    found = k.greedy(3, [every], [0.8], np.array([0, 1, 2]))
    assert verdicts(found) == {1: (0, 0, 92 / 108)}
    found = k.greedy(3, [every], [0.8], np.array([1, 0, 2]))
    assert verdicts(found) == {0: (1, 0, 92 / 108), 2: (1, 0, 92 / 108)}


def test_the_limit_itself_counts() -> None:
    a, b = {1, 2, 3, 4}, {1, 2, 3, 4, 5}
    every = links([a, b], [(0, 1), (1, 1)])
    assert verdicts(k.greedy(2, [every], [0.8], np.array([0, 1]))) == {1: (0, 0, 0.8)}
    assert verdicts(k.greedy(2, [every], [np.nextafter(0.8, 1)], np.array([0, 1]))) == {}


def test_rows_out_of_the_order_take_no_part() -> None:
    every = links([{1}, {1}, {1}], [(0, 1), (1, 1), (2, 1)])
    found = k.greedy(3, [every], [0.8], np.array([2, 1]))
    assert found.partner.tolist() == [-1, 2, -1]


def test_without_links_or_rows_all_stay() -> None:
    assert k.greedy(3, [], [], np.arange(3)).partner.tolist() == [-1, -1, -1]
    assert k.greedy(0, [links([], [])], [0.8], np.arange(0)).partner.tolist() == []
    assert k.greedy(2, [links([set(), set()], [(0, 1), (1, 1)])], [0.1], np.arange(2)).partner.tolist() == [-1, -1]


def test_arrays_may_be_read_only() -> None:
    every = links([{1}, {1}], [(0, 1), (1, 1)])
    for array in (every.row, every.bucket, every.shingles.values, every.shingles.offsets):
        array.flags.writeable = False
    order = np.arange(2)
    order.flags.writeable = False
    assert k.greedy(2, [every], [1.0], order).partner.tolist() == [-1, 0]
    assert len(k.lsh_buckets(every.shingles, 21, 6)[0]) == 42
    assert len(k.prefix_buckets(every.shingles, 0.5)[0]) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=30))
def test_shared_drops_buckets_of_one_row(members: list[tuple[int, int]]) -> None:
    row, bucket = np.array([m[0] for m in members], np.int64), np.array([m[1] for m in members], np.uint64)
    found = list(zip(*(part.tolist() for part in k.shared(row, bucket)), strict=True))
    company = {b: {r for r, other in members if other == b} for _, b in members}
    assert found == [(r, b) for b in sorted(company) if len(company[b]) > 1 for r in sorted(company[b])]


VOCABULARY = [f"w{i}" for i in range(3000)]


def edited(seed: int, originals: int, copies: int, longest: int = 300) -> list[str]:
    """Texts, each with copies in which a few words were changed, left out or put in: Jaccard from .3 to 1."""
    draw = random.Random(seed)
    texts = []
    for _ in range(originals):
        base = draw.choices(VOCABULARY, k=draw.randint(6, longest))
        texts.append(" ".join(base))
        for _ in range(copies):
            copy = list(base)
            for _ in range(draw.randint(0, max(1, len(base) // 25))):
                at = draw.randrange(len(copy))
                copy[at : at + draw.randint(0, 1)] = draw.choices(VOCABULARY, k=draw.randint(0, 1))
                copy = copy or ["w0"]
            texts.append(" ".join(copy))
    draw.shuffle(texts)
    return texts


def pairs_above(sets: list[set[int]], limit: float) -> set[tuple[int, int]]:
    holders: dict[int, list[int]] = {}
    for row, one in enumerate(sets):
        for value in one:
            holders.setdefault(value, []).append(row)
    candidates = {pair for rows in holders.values() for pair in combinations(rows, 2)}
    return {(a, b) for a, b in candidates if jaccard(sets[a], sets[b]) >= limit}


def pairs_in(row: np.ndarray, bucket: np.ndarray) -> set[tuple[int, int]]:
    lies: dict[int, list[int]] = {}
    for r, b in zip(row.tolist(), bucket.tolist(), strict=True):
        lies.setdefault(b, []).append(r)
    return {pair for rows in lies.values() for pair in combinations(sorted(rows), 2)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=25).map(" ".join), max_size=15),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_prefix_buckets_miss_no_pair(texts: list[str], floor: float) -> None:
    found = shingles(texts, 2)
    row, bucket = k.prefix_buckets(found, floor)
    assert pairs_above(as_sets(found), floor) <= pairs_in(row, bucket)


def test_prefix_buckets_miss_no_pair_of_long_texts_and_stay_small() -> None:
    found = shingles(edited(1, 60, 4))
    row, bucket = k.prefix_buckets(found, 0.8)
    wanted, candidates = pairs_above(as_sets(found), 0.8), pairs_in(row, bucket)
    assert len(wanted) > 200
    assert wanted <= candidates
    assert len(candidates) < 60 * 10 * 1.1  # hardly a pair across originals


@pytest.mark.parametrize("longest", [12, 40, 300])
def test_lsh_buckets_find_what_they_promise(longest: int) -> None:
    found = shingles(edited(2, 250, 4, longest))
    sets = as_sets(found)
    shape = k.lsh_shape(0.7)
    candidates = pairs_in(*k.lsh_buckets(found, *shape))
    wanted = pairs_above(sets, 0.7)
    assert len(wanted) > 400
    assert len(wanted - candidates) <= 0.002 * len(wanted)
    below = {pair for pair in pairs_above(sets, 0.02) if jaccard(sets[pair[0]], sets[pair[1]]) < 0.1}
    assert len(below & candidates) <= 0.1 * len(below) + 1


def test_lsh_recall_follows_the_curve() -> None:
    """Pairs of one known similarity, band shapes at which about half of them are missed."""
    draw = random.Random(3)
    for similarity, shape in ((0.5, (21, 6)), (0.6, (14, 9)), (0.8, (5, 25)), (0.8, (9, 13))):
        sets: list[set[int]] = []
        for _ in range(600):
            union = [draw.getrandbits(64) for _ in range(400)]
            own = int(400 * (1 - similarity) / 2)
            sets += [set(union[own:]), set(union[: 400 - own])]
        candidates = pairs_in(*k.lsh_buckets(ragged(sets), *shape))
        share = sum((2 * i, 2 * i + 1) in candidates for i in range(600)) / 600
        expected = k.lsh_recall(jaccard(sets[0], sets[1]), *shape)
        assert abs(share - expected) < 0.08, (similarity, shape, share, expected)


def test_datasketch_estimates_what_is_verified() -> None:
    """A second opinion on the similarities themselves, and on what its own index at the same threshold finds."""
    texts = edited(4, 60, 3, 120)
    found = shingles(texts)
    row, bucket = k.lsh_buckets(found, *k.lsh_shape(0.7))
    result = k.greedy(
        len(texts),
        [links(as_sets(found), list(zip(row.tolist(), bucket.tolist(), strict=True)))],
        [0.8],
        np.arange(len(texts)),
    )
    hashes = []
    for text in texts:
        words = text.split()
        hashes.append(MinHash(num_perm=512))
        hashes[-1].update_batch([" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))])
    dropped = np.flatnonzero(result.partner >= 0)
    assert len(dropped) > 60
    for row_ in dropped.tolist():
        assert abs(hashes[row_].jaccard(hashes[result.partner[row_]]) - result.similarity[row_]) < 0.12


@pytest.mark.parametrize(
    ("bands", "rows", "curve"),
    [  # expected probabilities at .5, .6, .7, .8, .9, worked out by hand for the shapes of several tools
        (14, 8, (0.053, 0.211, 0.565, 0.924, 1.0)),
        (21, 6, (0.282, 0.633, 0.928, 0.998, 1.0)),
        (9, 13, (0.0011, 0.0117, 0.084, 0.399, 0.929)),
    ],
)
def test_the_curve(bands: int, rows: int, curve: tuple[float, ...]) -> None:
    for similarity, expected in zip((0.5, 0.6, 0.7, 0.8, 0.9), curve, strict=True):
        assert k.lsh_recall(similarity, bands, rows) == pytest.approx(expected, abs=1.1e-3)


@pytest.mark.parametrize(
    ("floor", "shape"), [(0.5, (64, 2)), (0.7, (32, 4)), (0.8, (25, 5)), (0.9, (16, 8)), (1.0, (1, 128))]
)
def test_the_shape_reaches_its_recall(floor: float, shape: tuple[int, int]) -> None:
    assert k.lsh_shape(floor) == shape
    assert k.lsh_recall(floor, *shape) >= 0.999


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (26, 5), (-1, -1)])
def test_a_shape_that_does_not_fit_is_a_mistake(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit 128 slots"):
        k.lsh_buckets(ragged([{1}]), *shape)


def template_rows(shared: int, own: int, rows: int) -> list[str]:
    draw = random.Random(6)
    template = " ".join(draw.choices(VOCABULARY, k=shared))
    return [template + " " + " ".join(draw.choices(VOCABULARY, k=own)) for _ in range(rows)]


@pytest.mark.parametrize(("own", "kept"), [(10, 1), (60, 10_000)])
@pytest.mark.parametrize("index", ["lsh", "prefix"])
def test_a_template_of_ten_thousand_rows_costs_its_length(own: int, kept: int, index: str) -> None:
    """Look-alikes go, rows below the limit stay, and hardly a pair is looked at: of 50 million there are."""
    found = shingles(template_rows(170, own, 10_000))
    if index == "lsh":
        row, bucket = k.lsh_buckets(found, *k.lsh_shape(0.7))
    else:
        row, bucket = k.prefix_buckets(found, 0.7)
    every = k.Links("conversation", "near_duplicate", row, bucket, found, 0.7)
    result = k.greedy(10_000, [every], [0.8], np.arange(10_000))
    assert int((result.partner < 0).sum()) == kept
    assert result.pairs < 20_000


@pytest.mark.parametrize("answer_words", [1, 15])
def test_nor_do_ten_thousand_answers_to_one_prompt(answer_words: int) -> None:
    """All rows are alike, and what stands beside them is not: each stays, without each being compared with each."""
    draw = random.Random(6)
    prompt = template_rows(170, 0, 1)[0]
    answers = [" ".join([f"word{n}", *draw.choices(VOCABULARY, k=answer_words - 1)]) for n in range(10_000)]
    found = shingles([f"{prompt} {answer}" for answer in answers])
    row, bucket = k.lsh_buckets(found, *k.lsh_shape(0.7))
    beside = shingles(answers, 1)
    every = k.Links("conversation", "near_duplicate", row, bucket, found, 0.7, beside, 0.5)
    result = k.greedy(10_000, [every], [0.8], np.arange(10_000))
    assert int((result.partner < 0).sum()) > 9_990
    assert result.pairs < 2_000_000
