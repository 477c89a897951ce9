"""What is computed together: beginnings that pay, and batches that depend on the requests and the limits alone."""

from hypothesis import given
from hypothesis import strategies as st

from caravan.eval.models.batches import Job, Limits, plan, share
from caravan.eval.models.prefix import groups

ids = st.lists(st.integers(0, 2), max_size=9)
prompts = st.lists(st.tuples(st.sampled_from([[], [5] * 20, [5] * 20 + [6] * 30, [7] * 40]), ids), max_size=25).map(
    lambda pairs: [[*stem, *rest] for stem, rest in pairs]
)
jobs = st.lists(
    st.tuples(
        st.sampled_from([[5], [5] * 20, [5] * 20 + [6] * 30]),
        ids,
        st.sampled_from([((1,), (2,)), ((1,), (2, 3)), ()]),
        st.integers(1, 9),
    ).map(lambda t: Job([*t[0], *t[1]], t[2], 0 if t[2] else t[3])),
    max_size=25,
)
limits = st.builds(
    Limits,
    letters=st.integers(1, 300),
    texts=st.integers(1, 300),
    rows=st.integers(1, 9),
    room=st.integers(1, 20_000),
    read_bytes=st.integers(0, 9),
    kept_bytes=st.integers(0, 9),
    layer_bytes=st.integers(0, 9),
    reuse=st.booleans(),
    expanded=st.booleans(),
    pads=st.booleans(),
    even=st.booleans(),
    singly=st.booleans(),
    whole_above=st.sampled_from([None, 40]),
)


@given(prompts, st.integers(1, 100))
def test_groups_hold_each_prompt_once_and_share_what_they_say(some: list[list[int]], worth: int) -> None:
    found = groups(some, worth)
    assert sorted(n for group in found for n in group.members) == [n for n, one in enumerate(some) if one]
    for group in found:
        assert list(group.cuts) == sorted(set(group.cuts))
        last = group.cuts[-1] if group.cuts else 0
        assert len({tuple(some[n][:last]) for n in group.members}) == 1
        assert all(last < len(some[n]) for n in group.members)
    stack: list[tuple[int, ...]] = []
    computed = 0
    for group in found:  # the walk along the tree that a model does
        first = some[group.members[0]]
        wanted = [tuple(first[:cut]) for cut in group.cuts]
        kept = next(
            (n for n, (a, b) in enumerate(zip(stack, wanted, strict=False)) if a != b), min(len(stack), len(wanted))
        )
        base = len(stack[kept - 1]) if kept else 0
        stack = wanted
        computed += (group.cuts[-1] if group.cuts else 0) - base if len(wanted) > kept else 0
        computed += sum(len(some[n]) - (group.cuts[-1] if group.cuts else 0) for n in group.members)
    assert computed <= sum(map(len, some))


def test_beginnings_within_beginnings() -> None:
    a, b, c = [1] * 100, [2] * 50, [3] * 60
    some = [[*a, *b, n] for n in range(9)] + [[*a, *c, n] for n in range(9)] + [[*a, 9]] + [[8], [9]]
    found = {group.cuts: group.members for group in groups(some, 64)}
    assert found == {(): [19, 20], (100,): [18], (100, 150): [*range(9)], (100, 160): [*range(9, 18)]}
    assert [group.cuts for group in groups(some, 10_000)] == [()]
    assert groups([[5, 6, 7]] * 4, 2)[0].cuts == (2,)  # the same prompt: a token is left to each
    assert groups([], 64) == groups([[]], 64) == []


@given(jobs, limits)
def test_a_plan_has_each_job_once_within_the_limits(some: list[Job], bounds: Limits) -> None:
    found = plan(some, bounds)
    assert found == plan(some, bounds)
    assert sorted(n for batch in found for n in batch.members) == list(range(len(some)))
    for batch in found:
        members = [some[n] for n in batch.members]
        cut = batch.cuts[-1] if batch.cuts else 0
        assert {job.kind for job in members} == {batch.kind}
        assert bounds.reuse or not cut
        assert len({tuple(job.ids[:cut]) for job in members}) == 1
        width, new = max(len(job.ids) for job in members) - cut, max(job.new for job in members)
        if len(members) > 1:
            most = bounds.letters if batch.kind == "letters" else bounds.texts
            assert len(members) * (width + new) <= most
            assert len(members) <= bounds.rows
            assert len(members) * bounds.bytes(cut, width, new) <= bounds.room
            assert batch.kind != "choices"
            if batch.kind == "text":
                assert not bounds.singly
            if not bounds.pads or (bounds.even and batch.kind == "text"):
                assert len({len(job.ids) for job in members}) == 1
            assert bounds.whole_above is None or max(job.length for job in members) <= bounds.whole_above


@given(jobs, limits, st.integers(1, 5))
def test_shares_are_neighbours_and_make_up_the_whole(some: list[Job], bounds: Limits, world: int) -> None:
    found = plan(some, bounds)
    parts = [share(found, rank, world) for rank in range(world)]
    assert [batch for part in parts for batch in part] == found
    total, largest = sum(b.cost for b in found), max((b.cost for b in found), default=0)
    assert all(sum(b.cost for b in part) <= total / world + largest for part in parts)
