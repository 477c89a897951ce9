"""Open-Assistant: which threads a policy takes from a tree, and an account of every message it leaves."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import oasst

SAMPLE = Path(oasst.__file__).parents[1] / "samples" / "oasst.jsonl"
ROLES = {"P": "prompter", "A": "assistant"}
THREADS = {"prompter": "user", "assistant": "assistant"}


def flat(name: str, parent: str | None = None, **more: JsonValue) -> JsonObject:
    """A message row; its role is the first letter of its name, P or A."""
    return {
        "message_id": name,
        "parent_id": parent,
        "message_tree_id": "T",
        "tree_state": "ready_for_export",
        "role": ROLES.get(name[0], name),
        "text": f"text of {name}",
        "lang": "en",
        "rank": None,
        "deleted": False,
        "review_result": True,
        "synthetic": False,
        **more,
    }


def nested(rows: Sequence[JsonObject]) -> JsonObject:
    """The same tree as one row of a tree file, nulls left out as the export does."""
    nodes: dict[Any, Any] = {}
    for row in rows:
        own = {k: v for k, v in row.items() if k not in ("message_tree_id", "tree_state") and v is not None}
        nodes[row["message_id"]] = {**own, "replies": []}
    for row in rows:
        if row["parent_id"] is not None:
            nodes[row["parent_id"]]["replies"].append(nodes[row["message_id"]])
    root = nodes[next(row["message_id"] for row in rows if row["parent_id"] is None)]
    return {"message_tree_id": "T", "tree_state": "ready_for_export", "prompt": root}


def convert(rows: Iterable[JsonValue], **options: object) -> list[Converted | Rejected]:
    """Rows 1, 2, ... in groups as the converter asks for; each row must be cited or refused, and not both."""
    checked = oasst.Options.model_validate(options)
    groups: dict[object, list[RawRow]] = {}
    for number, value in enumerate(rows, 1):
        row = RawRow(number, value)
        key = oasst.group_key(row, checked)
        groups.setdefault(number if key is None else key, []).append(row)
    made: list[Converted | Rejected] = []
    for group in groups.values():
        results = list(oasst.convert(group, checked))
        cited = {n for m in results if isinstance(m, Converted) for n in m.rows or ()}
        refused = [n for m in results if isinstance(m, Rejected) for n in m.rows or () if m.lost is None]
        parts = {n for m in results if isinstance(m, Rejected) for n in m.rows or () if m.lost is not None}
        assert not cited & set(refused)
        assert len(refused) == len(set(refused))
        assert cited | set(refused) | parts == {row.row for row in group}
        made += results
    return made


def threads(made: Iterable[Converted | Rejected]) -> list[str]:
    """Threads by their messages' names: "P0 A1 P2 A3"."""
    return [
        " ".join(m["content"].removeprefix("text of ") for m in example.messages)
        for example in made
        if isinstance(example, Converted)
    ]


def refused(rows: Sequence[JsonValue], made: Iterable[Converted | Rejected]) -> dict[str, str]:
    """Code by message, of flat rows or of one tree row's parts."""
    codes: dict[str, str] = {}
    for m in made:
        if isinstance(m, Rejected):
            for number in m.rows or ():
                row = rows[number - 1]
                names = m.lost if isinstance(m.lost, list) else [row["message_id"] if isinstance(row, dict) else number]
                codes |= {str(name): m.code for name in names}
    return codes


# The tree that the published walk turns into one row: three answers, an unanswered and a deleted follow-up.
LOSSY = [
    flat("P0"),
    flat("A1", "P0", rank=0),
    flat("P2", "A1"),
    flat("A1b", "P0", rank=1),
    flat("P2b", "A1b", deleted=True),
    flat("A1c", "P0", rank=2),
]
BOTH = pytest.mark.parametrize("form", ["flat", "tree"])


def rows_of(form: str, rows: Sequence[JsonObject]) -> list[JsonValue]:
    return [nested(rows)] if form == "tree" else list(rows)


@BOTH
@pytest.mark.parametrize(
    ("options", "kept", "left"),
    [
        (
            {},
            ["P0 A1"],
            {"P2": "unanswered_prompt", "P2b": "deleted", "A1b": "not_best_path", "A1c": "not_best_path"},
        ),
        ({"policy": "all_leaves"}, ["P0 A1", "P0 A1b", "P0 A1c"], {"P2": "unanswered_prompt", "P2b": "deleted"}),
        ({"policy": "all_assistant"}, ["P0 A1", "P0 A1b", "P0 A1c"], {"P2": "unanswered_prompt", "P2b": "deleted"}),
        (
            {"compat": "tulu-v1"},
            ["P0 A1c"],
            {"P2": "unanswered_prompt", "P2b": "deleted", "A1": "compat_loss", "A1b": "compat_loss"},
        ),
    ],
)
def test_no_thread_is_lost_but_on_request(
    form: str, options: dict[str, str], kept: list[str], left: dict[str, str]
) -> None:
    rows = rows_of(form, LOSSY)
    made = convert(rows, **options)
    assert threads(made) == kept
    assert refused(rows, made) == left


def quality(value: float) -> JsonObject:
    return {"labels": {"name": ["spam", "quality"], "value": [0.0, value], "count": [3, 3]}}


@BOTH
def test_tulu_v2_takes_the_best_label_and_loses_the_thread_when_it_ends_unanswered(form: str) -> None:
    rows = [
        flat("P0"),
        flat("A1", "P0", rank=0),
        flat("A2", "P0", rank=1, **quality(0.9)),
        flat("P3", "A2"),
        flat("P4", "A1"),
        flat("A5", "P4"),
    ]
    raw = rows_of(form, rows)
    made = convert(raw, compat="tulu-v2")
    assert threads(made) == []
    assert refused(raw, made) == {
        "P0": "compat_loss",
        "A2": "compat_loss",
        "P3": "unanswered_prompt",
        "A1": "not_best_path",
        "P4": "not_best_path",
        "A5": "not_best_path",
    }
    assert threads(convert(raw)) == ["P0 A1 P4 A5"]


def test_rank_then_quality_then_id_decide_among_answers() -> None:
    def best(*answers: JsonObject) -> str:
        (thread,) = threads(convert([flat("P0"), *answers]))
        return thread

    assert best(flat("A1", "P0", rank=2), flat("A2", "P0", rank=1), flat("A3", "P0", rank=3)) == "P0 A2"
    assert best(flat("A1", "P0", **quality(1.0)), flat("A2", "P0", rank=4)) == "P0 A2"
    assert best(flat("A1", "P0"), flat("A2", "P0", **quality(0.1)), flat("A3", "P0", **quality(0.2))) == "P0 A3"
    assert best(flat("A2", "P0"), flat("A1", "P0")) == "P0 A1"
    assert best(flat("A1", "P0", rank=0, deleted=True), flat("A2", "P0", rank=1)) == "P0 A2"
    assert best(flat("A1", "P0", labels={"quality": {"value": 0.2}}), flat("A2", "P0", **quality(0.1))) == "P0 A1"
    assert best(flat("A1", "P0", rank="first", labels=7), flat("A2", "P0", rank=True, labels={"quality": 1})) == "P0 A1"


def test_an_answered_follow_up_goes_before_an_unanswered_one() -> None:
    rows = [flat("P0"), flat("A1", "P0"), flat("P2", "A1", **quality(1.0)), flat("P3", "A1"), flat("A4", "P3")]
    made = convert(rows)
    assert threads(made) == ["P0 A1 P3 A4"]
    assert refused(rows, made) == {"P2": "unanswered_prompt"}


def test_all_leaves_writes_no_beginning_of_another_thread() -> None:
    rows = [
        flat("P0"),
        flat("A1", "P0"),
        flat("P2", "A1"),
        flat("P3", "A1"),
        flat("A4", "P3"),
        flat("P5", "A4"),
        flat("A6", "P3"),
    ]
    assert threads(convert(rows, policy="all_leaves")) == ["P0 A1 P3 A4", "P0 A1 P3 A6"]
    assert threads(convert(rows, policy="all_assistant")) == ["P0 A1", "P0 A1 P3 A4", "P0 A1 P3 A6"]


def test_what_is_left_out_by_default_can_be_kept() -> None:
    rows = [
        flat("P0"),
        flat("A1", "P0", deleted=True),
        flat("A2", "P0", review_result=False),
        flat("A3", "P0", review_result=None),
        flat("A4", "P0", synthetic=True, model_name="helper"),
        flat("A5", "P0"),
        flat("P6", "A1"),
    ]
    made = convert(rows, policy="all_assistant")
    assert threads(made) == ["P0 A5"]
    assert refused(rows, made) == {
        "A1": "deleted",
        "A2": "not_reviewed",
        "A3": "not_reviewed",
        "A4": "synthetic",
        "P6": "parent_left_out",
    }
    kept = convert(rows, policy="all_assistant", keep_deleted=True, keep_unreviewed=True, keep_synthetic=True)
    assert threads(kept) == ["P0 A1", "P0 A2", "P0 A3", "P0 A4", "P0 A5"]
    tags = [m.tags for m in kept if isinstance(m, Converted)]
    assert [t.get("deleted", False) for t in tags] == [True, False, False, False, False]
    assert [t["synthetic"] for t in tags] == [False, False, False, True, False]
    assert tags[3]["model_name"] == "helper"
    assert threads(convert(rows, compat="tulu-v1")) == ["P0 A2", "P0 A3", "P0 A4", "P0 A5"]


def test_an_export_without_states_and_reviews_is_taken_as_it_is() -> None:
    root: JsonObject = {
        "message_id": "P0",
        "role": "prompter",
        "text": "text of P0",
        "replies": [{"message_id": "A1", "role": "assistant", "text": "text of A1", "replies": []}],
    }
    wrapped: JsonObject = {"message_tree_id": "P0", "prompt": root}
    for row in (wrapped, root):
        assert threads(convert([row])) == ["P0 A1"]
    bare = [{k: v for k, v in row.items() if k in ("message_id", "parent_id", "role", "text")} for row in LOSSY]
    assert threads(convert(bare)) == ["P0 A1"]


def test_trees_that_are_not_ready_go_whole() -> None:
    rows = [flat("P0", tree_state="growing"), flat("A1", "P0", tree_state="growing")]
    assert refused(rows, convert(rows)) == {"P0": "tree_not_ready", "A1": "tree_not_ready"}
    (made,) = convert([nested(rows) | {"tree_state": "growing"}])
    assert isinstance(made, Rejected)
    assert (made.code, made.rows, made.lost) == ("tree_not_ready", (1,), None)


def test_languages_may_be_named_without_their_region() -> None:
    rows = [
        flat("P0", lang="pt-BR"),
        flat("A1", "P0", lang="pt-BR"),
        flat("A2", "P0", lang="en"),
        flat("P9", lang="de"),
        flat("A9", "P9", lang="de"),
    ]
    made = convert(rows, policy="all_assistant", languages=["PT"])
    assert threads(made) == ["P0 A1"]
    assert refused(rows, made) == {"A2": "other_language", "P9": "other_language", "A9": "other_language"}
    assert threads(convert(rows, policy="all_assistant")) == ["P0 A1", "P0 A2", "P9 A9"]


def test_a_broken_tree_is_refused_by_message() -> None:
    rows: list[JsonObject] = [
        flat("A5", "P4"),  # stands before its parent
        flat("P4", "A1"),
        flat("P0"),
        flat("A1", "P0"),
        flat("A1", "P0", text="again"),
        flat("A2", "A1"),
        flat("P3", "A2"),
        flat("A6", "gone"),
        flat("P7", "A6"),
        flat("Pa", "Ab"),
        flat("Ab", "Pa"),
        flat("Pc", "Ab"),
        flat("Ad", "Ad"),
        flat("Ae"),
        flat("Pf", "Ae"),
        flat("A8", "P0", text=" \n"),
    ]
    made = convert(rows)
    assert threads(made) == ["P0 A1 P4 A5"]
    (example,) = [m for m in made if isinstance(m, Converted)]
    assert (example.own_id, example.rows) == ("A5", (3, 4, 2, 1))
    assert [(m.code, m.rows) for m in made if isinstance(m, Rejected)] == [
        ("duplicate_id", (5,)),
        ("same_role", (6,)),
        ("parent_left_out", (7,)),
        ("orphan", (8,)),
        ("orphan", (9,)),
        ("cycle", (10,)),
        ("cycle", (11,)),
        ("cycle", (12,)),
        ("cycle", (13,)),
        ("starts_with_answer", (14,)),
        ("parent_left_out", (15,)),
        ("empty_response", (16,)),
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "not_an_object"),
        ([1], "not_an_object"),
        ({}, "missing_field:message_id"),
        ({"message_id": 5, "role": "prompter", "text": "a"}, "wrong_type:message_id"),
        ({"message_id": "a", "text": "a"}, "missing_field:role"),
        ({"message_id": "a", "role": None, "text": "a"}, "wrong_type:role"),
        ({"message_id": "a", "role": "prompter"}, "missing_field:text"),
        ({"message_id": "a", "role": "prompter", "text": ["a"]}, "wrong_type:text"),
        ({"message_id": "a", "role": "moderator", "text": "a"}, "unknown_role:moderator"),
        ({"message_id": "a", "role": "system", "text": "a"}, "unknown_role:system"),
        ({"message_id": "a", "role": "prompter", "text": "a", "parent_id": 3}, "wrong_type:parent_id"),
        ({"message_id": "a", "role": "prompter", "text": "a", "replies": "b"}, "wrong_type:replies"),
        ({"message_id": "a", "role": "prompter", "text": " "}, "empty_prompt"),
        ({"message_id": "a", "role": "prompter", "text": "a", "parent_id": ""}, "unanswered_prompt"),
        ({"prompt": "a", "message_tree_id": "b"}, "wrong_type:prompt"),
        ({"prompt": None}, "wrong_type:prompt"),
    ],
)
def test_what_is_wrong_has_a_code(value: JsonValue, code: str) -> None:
    (made,) = convert([value])
    assert isinstance(made, Rejected)
    assert (made.code, made.rows, made.lost) == (code, (1,), None)


def test_a_broken_reply_inside_a_tree_costs_only_what_hangs_below_it() -> None:
    tree = nested([flat("P0"), flat("A1", "P0", rank=0), flat("A2", "P0", rank=1)])
    tree["prompt"]["replies"] += ["a text", {"role": "assistant", "replies": [nested([flat("P9")])["prompt"]]}]  # type: ignore[index, call-overload, operator]
    made = convert([tree])
    assert threads(made) == ["P0 A1"]
    assert [(m.code, m.rows, m.lost) for m in made if isinstance(m, Rejected)] == [
        ("missing_field:message_id", (1,), ["P0/4"]),
        ("not_an_object", (1,), ["P0/3"]),
        ("not_best_path", (1,), ["A2"]),
        ("parent_left_out", (1,), ["P9"]),
    ]


@BOTH
def test_a_chain_of_5000_messages(form: str) -> None:
    rows = [flat("P0")]
    for n in range(1, 5000):
        rows.append(flat(f"{'PA'[n % 2]}{n}", str(rows[-1]["message_id"])))
    raw = rows_of(form, rows)
    for options in ({}, {"policy": "all_leaves"}, {"compat": "tulu-v1"}, {"compat": "tulu-v2"}):
        (made,) = convert(raw, **options)
        assert isinstance(made, Converted)
        assert len(made.messages) == 5000


def test_tags_are_those_of_the_last_answer() -> None:
    rows = [
        flat("P0", lang="fr"),
        flat("A1", "P0", lang="en", rank=0, user_id="someone", created_date="2023-02-01", **quality(0.5)),
    ]
    for form in ("flat", "tree"):
        (made,) = convert(rows_of(form, rows))
        assert isinstance(made, Converted)
        assert made.own_id == "A1"
        assert made.tags == {
            "message_tree_id": "T",
            "tree_state": "ready_for_export",
            "lang": "en",
            "rank": 0,
            "created_date": "2023-02-01",
            "synthetic": False,
            "labels": {"spam": 0.0, "quality": 0.5},
        }


def test_options_are_checked() -> None:
    for wrong in ({"policy": "best"}, {"compat": "tulu"}, {"languages": 3}, {"lang": "en"}):
        with pytest.raises(ValidationError):
            oasst.Options.model_validate(wrong)


def test_each_form_is_recognised() -> None:
    def confidence(*rows: JsonValue) -> float:
        return oasst.matches(rows, "any").confidence

    assert confidence(*LOSSY) == confidence(nested(LOSSY)) == 0.98
    assert confidence(nested(LOSSY)["prompt"]) == 0.98
    assert confidence(LOSSY[0], {"prompt": "a", "completion": "b"}) == 0.49
    assert confidence({"prompt": "a", "completion": "b"}) == confidence({"messages": []}) == confidence() == 0


# ---- properties ----


@st.composite
def trees(draw: st.DrawFn) -> list[JsonObject]:
    """A random tree of 1 to 14 messages, roles mostly alternating, some of them not to be used."""
    rows = [flat("P0")]
    for n in range(1, draw(st.integers(1, 14))):
        parent = draw(st.sampled_from(rows))
        turn = str(parent["message_id"])[0] == "P"
        letter = "AP"[turn ^ draw(st.sampled_from([True] * 9 + [False]))]
        more: JsonObject = {
            "rank": draw(st.none() | st.integers(0, 3)),
            "deleted": draw(st.sampled_from([False] * 5 + [True])),
            "review_result": draw(st.sampled_from([True] * 5 + [False, None])),
        }
        rows.append(flat(f"{letter}{n}", str(parent["message_id"]), **more))
    return rows


def good_threads(rows: Sequence[JsonObject]) -> list[str]:
    """All answers that may be used, with their threads: written from the rows alone, by recursion."""
    by_id = {row["message_id"]: row for row in rows}

    def thread(row: JsonObject) -> str | None:
        usable = row["deleted"] is False and row["review_result"] is True
        if row["parent_id"] is None:
            return str(row["message_id"]) if usable and row["role"] == "prompter" else None
        above = by_id[row["parent_id"]]
        before = thread(above)
        fits = usable and before is not None and above["role"] != row["role"]
        return f"{before} {row['message_id']}" if fits else None

    found = [thread(row) for row in rows if row["role"] == "assistant"]
    return [t for t in found if t is not None]


@given(trees(), st.randoms(use_true_random=False))
def test_policies_agree_with_an_independent_walk(rows: list[JsonObject], random: Random) -> None:
    every = good_threads(rows)
    longest = [t for t in every if not any(other.startswith(f"{t} ") for other in every)]
    assert sorted(threads(convert(rows, policy="all_assistant"))) == sorted(every)
    assert sorted(threads(convert(rows, policy="all_leaves"))) == sorted(longest)
    best = threads(convert(rows))
    assert len(best) == bool(every)
    assert set(best) <= set(every)
    shuffled = random.sample(rows, len(rows))
    assert threads(convert(shuffled)) == threads(convert([nested(rows)])) == best
    assert sorted(threads(convert(shuffled, policy="all_leaves"))) == sorted(longest)


@given(trees(), st.sampled_from([{}, {"policy": "all_leaves"}, {"compat": "tulu-v1"}, {"compat": "tulu-v2"}]))
def test_every_message_of_a_tree_is_in_a_thread_or_refused_once(
    rows: list[JsonObject], options: dict[str, str]
) -> None:
    names = {str(row["message_id"]) for row in rows}
    for raw in (rows_of("flat", rows), rows_of("tree", rows)):
        made = convert(raw, **options)
        cited = {name for t in threads(made) for name in t.split(" ")}
        if len(raw) == 1 and len(made) == 1 and isinstance(made[0], Rejected) and made[0].lost is None:
            assert not cited  # the whole tree, under one code
            continue
        left = refused(raw, made)
        assert cited | set(left) == names
        assert not cited & set(left)


KEYS = ["message_id", "parent_id", "message_tree_id", "role", "text", "replies", "prompt", "rank", "labels", "lang"]
KEYS += ["name", "value", "quality", "deleted", "review_result", "tree_state", "synthetic"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["prompter", "assistant", "a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=8,
        )
    ),
    max_leaves=30,
)


@given(st.lists(JSON, max_size=4), st.sampled_from(["", "tulu-v1", "tulu-v2"]))
def test_any_json_is_converted_or_refused(rows: list[JsonValue], compat: str) -> None:
    convert(rows, compat=compat, languages=["a"])
    assert 0 <= oasst.matches(rows, "f").confidence <= 1


def test_the_sample_is_in_raw_format_with_its_planted_defects() -> None:
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").split("\n") if line]
    assert oasst.matches(rows[:20], "oasst.jsonl").confidence == 0.98
    made = convert(rows)
    examples = [m for m in made if isinstance(m, Converted)]
    assert len(rows) == 13
    assert len(examples) == 11
    assert sum(len(m.messages) > 2 for m in examples) >= 4
    assert len(set(threads(made))) == 10
    assert {m.tags["lang"] for m in examples} == {"en", "es"}
    codes = {m.code for m in made if isinstance(m, Rejected)}
    assert codes == {"deleted", "empty_response", "not_best_path", "tree_not_ready", "unanswered_prompt"}
    assert len(threads(convert(rows, policy="all_assistant"))) >= 25


# ---- real files ----


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line.strip()]


def messages_of(rows: Sequence[Any]) -> list[JsonObject]:
    """Flat messages of a file of trees, with parent ids written in (plain code of the test's own)."""
    found: list[JsonObject] = []
    waiting = [(row.get("prompt", row), None) for row in rows]
    while waiting:
        node, parent = waiting.pop()
        found.append({"deleted": False, "review_result": True, **node, "parent_id": parent, "replies": None})
        waiting += [(reply, node["message_id"]) for reply in node["replies"]]
    return found


def by_code(made: Iterable[Converted | Rejected], sizes: Sequence[int]) -> Counter[str]:
    """Messages by code in trees of these sizes: a tree that goes whole counts all of its messages."""
    codes = Counter[str]()
    for m in made:
        if isinstance(m, Rejected):
            assert m.rows is not None
            codes[m.code] += len(m.lost) if isinstance(m.lost, list) else sizes[m.rows[0] - 1]
    return codes


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "examples", "codes"),
    [
        ({}, 188, {"not_best_path": 1105, "unanswered_prompt": 277, "deleted": 40, "not_reviewed": 43, "orphan": 3}),
        ({"policy": "all_leaves"}, 901, {"unanswered_prompt": 277, "deleted": 40, "not_reviewed": 43, "orphan": 3}),
        ({"policy": "all_assistant"}, 1185, {"unanswered_prompt": 277, "deleted": 40, "not_reviewed": 43, "orphan": 3}),
    ],
)
def test_real_flat_messages(real_data: Path, options: dict[str, str], examples: int, codes: dict[str, int]) -> None:
    rows = lines(real_data / "oasst" / "en_validation_messages.jsonl")
    assert (len(rows), len({row["message_tree_id"] for row in rows})) == (2022, 191)
    made = convert(rows, **options)
    assert sum(isinstance(m, Converted) for m in made) == examples
    assert by_code(made, [1] * len(rows)) == codes
    ids = {row["message_id"] for row in rows}
    good = {t.rsplit(" ", 1)[-1] for t in good_threads([r for r in rows if r["parent_id"] in ids | {None}])}
    ends = [m.own_id for m in made if isinstance(m, Converted)]
    assert set(ends) <= good
    if options.get("policy") == "all_assistant":
        assert sorted(map(str, ends)) == sorted(good)


@pytest.mark.real
@pytest.mark.parametrize("name", ["en_100_tree", "en_100_message"])
@pytest.mark.parametrize(
    ("options", "examples", "codes"),
    [
        ({}, 95, {"synthetic": 22, "not_best_path": 639, "unanswered_prompt": 226}),
        ({"policy": "all_leaves"}, 529, {"synthetic": 22, "unanswered_prompt": 226}),
        ({"policy": "all_assistant"}, 670, {"synthetic": 22, "unanswered_prompt": 226}),
        ({"policy": "all_assistant", "keep_synthetic": True}, 687, {"unanswered_prompt": 226}),
    ],
)
def test_real_trees(real_data: Path, name: str, options: dict[str, Any], examples: int, codes: dict[str, int]) -> None:
    rows = lines(real_data / "oasst" / f"{name}.jsonl")
    trees = [messages_of([row]) for row in rows]
    messages = {str(m["message_id"]): m for tree in trees for m in tree}
    assert (len(rows), len(messages)) == (100, 1167)
    made = convert(rows, **options)
    kept = [m for m in made if isinstance(m, Converted)]
    assert len(kept) == examples
    assert by_code(made, [len(tree) for tree in trees]) == codes
    for example in kept:  # each thread is the line of parents of its last answer, text by text
        name_of_next: Any = example.own_id
        for turn in reversed(example.messages):
            raw = messages[name_of_next]
            assert (turn["content"], turn["role"]) == (raw["text"], THREADS[str(raw["role"])])
            name_of_next = raw["parent_id"]
        assert name_of_next is None


@pytest.mark.real
def test_real_best_path_takes_the_best_rank_at_each_step(real_data: Path) -> None:
    rows = lines(real_data / "oasst" / "en_100_tree.jsonl")
    messages = messages_of(rows)
    by_id, siblings = {str(m["message_id"]): m for m in messages}, defaultdict[Any, list[JsonObject]](list)
    for m in messages:
        siblings[m["parent_id"]].append(m)
    steps = 0
    for example in convert(rows):
        node = by_id[str(example.own_id)] if isinstance(example, Converted) else None
        while node is not None:
            ranks = [s["rank"] for s in siblings[node["parent_id"]] if s["synthetic"] is False and "rank" in s]
            if node["role"] == "assistant" and ranks:
                assert node.get("rank") == min(ranks)  # type: ignore[type-var]
                steps += 1
            node = by_id.get(str(node["parent_id"]))
    assert steps > 100


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "examples"), [({}, 7), ({"policy": "all_leaves"}, 17), ({"policy": "all_assistant"}, 43)]
)
def test_real_early_export(real_data: Path, options: dict[str, str], examples: int) -> None:
    rows = lines(real_data / "oasst" / "backend_test_trees.jsonl")
    sizes = [len(messages_of([row])) for row in rows]
    assert (len(rows), sum(sizes)) == (21, 150)
    made = convert(rows, **options)
    assert sum(isinstance(m, Converted) for m in made) == examples
    codes = by_code(made, sizes)
    assert (codes["synthetic"], codes["same_role"], codes["parent_left_out"]) == (70, 1, 3)


def published_walk(node: Any, before: list[str], best_only: bool) -> Iterator[list[str]]:
    """What the Tulu papers' walk gives, after its description: leaves that are answers, deleted messages skipped."""
    if node["deleted"]:
        return
    path = [*before, node["text"]]
    below = [child for child in node["replies"] if not child["deleted"]]
    if best_only:
        below.sort(key=lambda child: -((child.get("labels") or {}).get("quality", {"value": 0.0})["value"]))
        below = below[:1]
    if node["role"] == "assistant" and not node["replies"]:
        yield path
    for child in below:
        yield from published_walk(child, path, best_only)


@pytest.mark.real
@pytest.mark.parametrize(("compat", "trees_file", "flat_file"), [("tulu-v1", 400, 683), ("tulu-v2", 61, 123)])
def test_real_compat_walks(real_data: Path, compat: str, trees_file: int, flat_file: int) -> None:
    rows = lines(real_data / "oasst" / "en_100_tree.jsonl")
    flat_rows = lines(real_data / "oasst" / "en_validation_messages.jsonl")
    nodes: dict[Any, Any] = {r["message_id"]: {**r, "replies": [], "labels": {}} for r in flat_rows}
    for r in flat_rows:
        if r["labels"] is not None:
            pairs = zip(r["labels"]["name"], r["labels"]["value"], strict=True)
            nodes[r["message_id"]]["labels"] = {name: {"value": value} for name, value in pairs}
        if r["parent_id"] in nodes:
            nodes[r["parent_id"]]["replies"].append(nodes[r["message_id"]])
    roots = [node for node in nodes.values() if node["parent_id"] is None]
    for raw, starts, count in ((rows, [r["prompt"] for r in rows], trees_file), (flat_rows, roots, flat_file)):
        expected = [path for root in starts for path in published_walk(root, [], compat == "tulu-v2")]
        made = convert(raw, compat=compat)
        found = [[m["content"] for m in e.messages] for e in made if isinstance(e, Converted)]
        assert sorted(found) == sorted(expected)
        assert len(found) == count
        assert any(m.code == "compat_loss" for m in made if isinstance(m, Rejected))
