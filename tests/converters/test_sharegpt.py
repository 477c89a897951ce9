"""ShareGPT rows as people find them: chunks, blank turns, strange speakers, and what becomes of every turn."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

import caravan.converters
from caravan.converters.schema import Converted, Message, RawRow, Rejected
from caravan.converters.sources import sharegpt
from caravan.converters.sources.sharegpt import Options

Turns = Sequence[tuple[str, str]]
NAMES = ["human", "gpt", "system", "bing", "function_call", "observation"]
ROLES = {"human": "user", "gpt": "assistant", "system": "system", "bing": "assistant"}
ROLES |= {"function_call": "assistant", "observation": "tool"}
QUESTION = (
    "Write a short note that explains to a new neighbour how the shared garden is watered, who holds the key to the "
    "shed, and what to do when the pump fails."
)


def row(own_id: str | None, turns: Turns, **extra: JsonValue) -> JsonValue:
    found: dict[str, JsonValue] = {"id": own_id} if own_id is not None else {}
    return {**found, "conversations": [{"from": name, "value": text} for name, text in turns], **extra}


def convert(rows: Iterable[JsonValue], **options: object) -> tuple[list[Converted], list[Rejected]]:
    """Group the rows as a reader does, convert them, and check that every row is cited."""
    settings = Options.model_validate(options)
    groups = dict[object, list[RawRow]]()
    for number, value in enumerate(rows, 1):
        raw = RawRow(number, value)
        key = sharegpt.group_key(raw, settings)
        groups.setdefault(number if key is None else key, []).append(raw)
    made = [result for group in groups.values() for result in sharegpt.convert(group, settings)]
    cited = {n for result in made for n in (result.rows or ())}
    assert cited == {raw.row for group in groups.values() for raw in group}
    return [m for m in made if isinstance(m, Converted)], [m for m in made if isinstance(m, Rejected)]


def said(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in messages]


def one(turns: Turns, **options: object) -> tuple[list[tuple[str, str]], list[str]]:
    """The only conversation of a single row as role and content, and the codes of what was refused."""
    made, refused = convert([row("x", turns)], **options)
    assert len(made) <= 1
    return said(made[0].messages) if made else [], [r.code for r in refused]


# --- who may speak when


def test_a_plain_row_stays_as_it_is() -> None:
    made, refused = convert(
        [row("a1", [("human", " Hi\n"), ("gpt", "Hello"), ("human", "?"), ("gpt", "!")], lang="en")]
    )
    assert said(made[0].messages) == [("user", " Hi\n"), ("assistant", "Hello"), ("user", "?"), ("assistant", "!")]
    assert (made[0].own_id, made[0].rows, made[0].tags, refused) == ("a1", (1,), {"lang": "en"}, [])


@pytest.mark.parametrize(
    ("turns", "kept", "codes"),
    [
        ("g:a h:q g:b", "u:q a:b", ["leading_assistant_turn"]),
        ("s:s g:a h:q g:b", "s:s u:q a:b", ["leading_assistant_turn"]),
        ("h:q g:a h:r", "u:q a:a", ["trailing_user_turn"]),
        ("h:q h:r g:a", "u:q\n\nr a:a", []),
        ("h:q g:a g:b", "u:q a:a\n\nb", []),
        ("h: h:q g:a", "u:q a:a", ["blank_turn"]),
        ("h:q g:a h: g:b", "u:q a:a\n\nb", ["blank_turn"]),
        ("h:q g: h:r g:b", "u:r a:b", ["empty_response"]),
        ("h:q g:a h:r g:", "u:q a:a", ["empty_response"]),
        ("h:q g: g:a", "u:q a:a", ["blank_turn"]),
        ("s:s t:x h:q g:a", "s:s u:q a:a", ["leading_assistant_turn"]),
        ("s: h:q g:a", "u:q a:a", ["blank_turn"]),
        ("s:s s:t h:q g:a", "s:s\n\nt u:q a:a", []),
        ("h:q c:f() o:1 o:2 g:a", "u:q a:f() t:1 t:2 a:a", []),
        ("h:q c:f() o: g:a", "u:q a:f() t: a:a", []),
        ("h:q c:f() o:1", "u:q a:f()", ["trailing_tool_turn"]),
        ("h:q c: o:1 g:a", "u:q t:1 a:a", ["blank_turn"]),
        ("h:q c:f() o:1 g: h:r g:a", "u:q a:f() t:1 u:r a:a", ["blank_turn"]),
        ("h:q", "", ["trailing_user_turn"]),
        ("g:a", "", ["leading_assistant_turn"]),
        ("s:s", "", ["only_system_turn"]),
        ("s:s h:q", "", ["trailing_user_turn"]),
        ("h:q g:", "", ["empty_response"]),
        ("h: g:", "", ["blank_turn"]),
        ("h:q g:a s:s h:r g:b", "", ["system_turn_inside"]),
        ("h:q b:a", "u:q a:a", []),
        ("i:q g:a", "u:q a:a", []),
        ("s:s i:q g:a", "s:s u:q a:a", []),
        ("s:s i:q h:r g:a", "", ["instruction_and_user_turn"]),
        ("h:q z:a", "", ["unknown_role:narrator"]),
    ],
)
def test_who_may_speak_when(turns: str, kept: str, codes: list[str]) -> None:
    names = {"h": "human", "g": "gpt", "s": "system", "c": "function_call", "o": "observation", "t": "tool"}
    names |= {"b": "bing", "i": "instruction", "z": "narrator"}
    raw = [(names[t[0]], t[2:]) for t in turns.split(" ")]
    letters = {"user": "u", "assistant": "a", "system": "s", "tool": "t"}
    messages, found = one(raw)
    assert (" ".join(f"{letters[role]}:{text}" for role, text in messages), found) == (kept, codes)


def test_what_is_lost_is_shown_with_its_place() -> None:
    _, refused = convert([row("x", [("gpt", "hello"), ("human", "q"), ("gpt", "a"), ("human", "bye")])])
    assert [(r.code, r.rows, r.lost) for r in refused] == [
        ("leading_assistant_turn", (1,), [{"row": 1, "turn": 0, "role": "assistant", "content": "hello"}]),
        ("trailing_user_turn", (1,), [{"row": 1, "turn": 3, "role": "user", "content": "bye"}]),
    ]


def test_a_recipe_can_name_further_speakers() -> None:
    turns = [("Patient", "q"), ("doctor", "a")]
    assert one(turns)[1] == ["unknown_role:Patient"]
    assert one(turns, roles={"patient": "user", "doctor": "gpt"})[0] == [("user", "q"), ("assistant", "a")]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["", " ", "a", "b c", "d"])), max_size=12))
def test_no_turn_is_lost_without_a_code(turns: Turns) -> None:
    made, refused = convert([row("x_0", turns)])
    whole = any(r.lost is None for r in refused)
    assert (len(made), len(refused)) == (0, 1) if whole else len(made) == 1
    if not whole:
        assert account(made, refused) == Counter((ROLES[name], text) for name, text in turns)
        roles = [m["role"] for m in made[0].messages]
        assert roles[roles[0] == "system"] == "user"
        assert roles[-1] == "assistant"
        assert not any(a == b != "tool" for a, b in pairwise(roles))
        assert "system" not in roles[1:]


def account(made: Iterable[Converted], refused: Iterable[Rejected]) -> Counter[tuple[str, str]]:
    """All turns that reached an example or a refusal; texts hold no blank line themselves."""
    turns = Counter[tuple[str, str]]()
    for message in (m for c in made for m in c.messages):
        turns.update((message["role"], text) for text in message["content"].split("\n\n"))
    for refusal in refused:
        assert isinstance(refusal.lost, list)
        for turn in refusal.lost:
            assert isinstance(turn, dict)
            turns[str(turn["role"]), str(turn["content"])] += 1
    return turns


# --- chunks


def test_a_chunk_that_repeats_a_reply_is_joined_without_it() -> None:
    first = row("k_0", [("human", "q"), ("gpt", "a"), ("human", "r"), ("gpt", "b")])
    made, refused = convert(
        [
            first,
            row("other_0", [("human", "x"), ("gpt", "y")]),
            row("k_3", [("gpt", "b"), ("human", "s"), ("gpt", "c")]),
        ]
    )
    assert [said(m.messages) for m in made] == [
        [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b"), ("user", "s"), ("assistant", "c")],
        [("user", "x"), ("assistant", "y")],
    ]
    assert (made[0].own_id, made[0].rows, refused) == ("k_0", (1, 3), [])
    assert made[0].tags == {"chunks": ["k_0", "k_3"], "repeated_turns": 1}


def test_a_chunk_that_continues_is_joined() -> None:
    made, _ = convert([row("k_0", [("human", "q"), ("gpt", "a")]), row("k_2", [("human", "r"), ("gpt", "b")])])
    assert len(made) == 1
    assert made[0].tags == {"chunks": ["k_0", "k_2"], "repeated_turns": 0}


def test_a_chunk_that_is_only_the_repeated_reply_is_cited() -> None:
    made, refused = convert([row("k_0", [("human", "q"), ("gpt", "a")]), row("k_1", [("gpt", "a")])])
    assert ([m.rows for m in made], refused) == ([(1, 2)], [])


def test_a_chunk_that_does_not_fit_stays_alone() -> None:
    made, refused = convert(
        [row("k_0", [("human", "q"), ("gpt", "a")]), row("k_7", [("gpt", "b"), ("human", "r"), ("gpt", "c")])]
    )
    assert [m.rows for m in made] == [(1,), (2,)]
    assert [(r.code, r.rows) for r in refused] == [("leading_assistant_turn", (2,))]


def test_the_empty_first_record_of_an_id_does_not_cost_the_second() -> None:
    made, refused = convert(
        [row("k_0", []), row("k_0", [("human", "q"), ("gpt", "a")]), row("k_2", [("human", "r"), ("gpt", "b")])]
    )
    assert [(m.own_id, m.rows, len(m.messages)) for m in made] == [("k_0", (2, 3), 4)]
    assert [(r.code, r.rows, r.lost) for r in refused] == [("empty_conversation", (1,), None)]


@pytest.mark.parametrize("lengths", [[2] * 9, [2, 4, 6] * 3, [6, 2, 4, 2], [4, 2, 2]])
def test_rows_that_are_only_numbered_are_not_joined(lengths: list[int]) -> None:
    rows = [
        row(f"identity_{i}", [("human", "Who are you?"), ("gpt", "A bot.")] * (n // 2)) for i, n in enumerate(lengths)
    ]
    made, refused = convert(rows)
    assert [m.rows for m in made] == [(i,) for i in range(1, len(lengths) + 1)]
    assert refused == []


def test_numbered_rows_that_fit_by_chance_are_not_joined_either() -> None:
    pair = [("human", "q"), ("gpt", "a")]
    made, _ = convert([row(f"n_{i}", pair) for i in (0, 2, 3, 5, 6)])
    assert len(made) == 5


def test_without_a_chunk_0_only_a_repeated_turn_joins() -> None:
    pair = [("human", "q"), ("gpt", "a")]
    assert len(convert([row("task_2", pair), row("task_4", pair)])[0]) == 2
    assert len(convert([row("task_2", pair), row("task_3", [pair[1], *pair])])[0]) == 1


def test_a_file_that_was_concatenated_twice_gives_each_dialogue_twice() -> None:
    chunks = [row("k_0", [("human", "q"), ("gpt", "a")]), row("k_1", [("gpt", "a"), ("human", "r"), ("gpt", "b")])]
    made, refused = convert(chunks * 2)
    assert ([m.rows for m in made], refused) == ([(1, 2), (3, 4)], [])


def test_two_copies_of_a_row_of_one_turn_are_not_a_dialogue() -> None:
    _, refused = convert([row("k_0", [("gpt", "a")])] * 2)
    assert [r.rows for r in refused] == [(1,), (2,)]


def test_tags_on_which_chunks_disagree_become_lists() -> None:
    a = row("k_0", [("human", "q"), ("gpt", "a")], lang="en", model="m1")
    made, _ = convert([a, row("k_2", [("human", "r"), ("gpt", "b")], lang="en", tokens=3)])
    assert made[0].tags["lang"] == "en"
    assert made[0].tags["model"] == ["m1", None]
    assert made[0].tags["tokens"] == [None, 3]


@settings(deadline=None)
@given(st.data())
def test_a_dialogue_cut_into_chunks_comes_back_whole(data: st.DataObject) -> None:
    texts = st.sampled_from(["", "a", "b", "c d"])
    turns = data.draw(st.lists(st.tuples(st.sampled_from(["human", "gpt"]), texts), min_size=1, max_size=14))
    rows, start = list[JsonValue](), 0
    while True:
        stop = data.draw(st.integers(start + 2, start + 6))
        rows.append(row(f"k_{start}", turns[start:stop]))
        if stop >= len(turns):
            break
        start = stop - data.draw(st.integers(0, 1))
    data.draw(st.randoms()).shuffle(rows)
    made, refused = convert(rows)
    whole, refused_whole = convert([row("k", turns)])
    assert [said(m.messages) for m in made] == [said(m.messages) for m in whole]
    assert [(r.code, r.detail) for r in refused] == [(r.code, r.detail) for r in refused_whole]


def test_a_part_names_the_row_in_which_it_begins() -> None:
    first, second = [("system", "s"), ("human", "q"), ("gpt", "a")], [("human", "r"), ("gpt", "b")]
    made, _ = convert([row("k_0", first), row("k_3", second)], max_tokens=22)
    assert [(m.own_id, m.rows, m.tags["part"]) for m in made] == [("k_0", (1,), [1, 2]), ("k_3", (1, 2), [2, 2])]
    made, refused = convert([row("k_0", [("human", " ")]), row("k_1", second)])
    assert [(m.own_id, m.rows, m.tags["chunks"]) for m in made] == [("k_1", (2,), ["k_0", "k_1"])]
    assert [(r.code, r.rows) for r in refused] == [("blank_turn", (1,))]


# --- forms seen in place of id, conversations, from, value


@pytest.mark.parametrize(
    "value",
    [
        {"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"user": "human", "text": "q"}, {"user": "gpt", "text": "a"}]},
        {"conversation": [{"human": "q", "assistant": "a"}], "conversation_id": 7},
        {"conversations": {"from": ["human", "gpt"], "value": ["q", "a"]}},
        {"conversations": [{"from": "human", "value": "q", "role": None}, {"from": None, "role": "gpt", "value": "a"}]},
    ],
)
def test_other_forms(value: JsonValue) -> None:
    made, refused = convert([value])
    assert (said(made[0].messages), refused) == ([("user", "q"), ("assistant", "a")], [])
    assert made[0].tags == {}


def test_a_system_text_of_the_row_comes_first_and_once() -> None:
    pair = [("human", "q"), ("gpt", "a")]
    expected = [("system", "Be brief."), ("user", "q"), ("assistant", "a")]
    for value in (row("a", pair, system="Be brief."), row("a", [("system", "Be brief."), *pair], system="Be brief.")):
        made, _ = convert([value])
        assert (said(made[0].messages), made[0].tags) == (expected, {})
    made, _ = convert([row("a", pair, system_prompt="Be brief.", system=None)])
    assert said(made[0].messages) == expected
    made, _ = convert([row("k_0", pair, system="Be brief."), row("k_2", pair, system="Be brief.")])
    assert [m["role"] for m in made[0].messages] == ["system", "user", "assistant", "user", "assistant"]
    made, _ = convert([row("k_0", pair, system="Be brief."), row("k_2", pair, system="Be rude.")])
    assert len(made) == 2


def test_calls_weights_and_other_fields_go_to_tags() -> None:
    turns: list[JsonValue] = [
        {"from": "human", "value": "q", "markdown": None},
        {"from": "function_call", "value": "f()", "weight": 0},
        {"from": "observation", "value": "1", "ms": 5},
        {"from": "gpt", "value": "a", "weight": 1},
    ]
    made, _ = convert([{"conversations": turns, "tools": "[]", "weights": "none", "id": None}])
    assert made[0].tags == {
        "tools": "[]",
        "raw_weights": "none",
        "id": None,
        "speakers": ["human", "function_call", "observation", "gpt"],
        "weights": [1, 0, 1, 1],
        "turns": [{}, {}, {"ms": 5}, {}],
    }
    assert made[0].own_id is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "not_an_object"),
        (["q", "a"], "not_an_object"),
        ({}, "missing_field:conversations"),
        ({"conversations": "q"}, "wrong_type:conversations"),
        ({"conversations": []}, "empty_conversation"),
        ({"conversations": ["q", "a"]}, "wrong_type:turn"),
        ({"conversations": [{"value": "q"}]}, "missing_field:from"),
        ({"conversations": [{"from": 3, "value": "q"}]}, "wrong_type:from"),
        ({"conversations": [{"from": "human"}]}, "missing_field:value"),
        ({"conversations": [{"from": "human", "value": ["q"]}]}, "wrong_type:value"),
        ({"conversations": [{"from": "", "value": "q"}]}, "unknown_role:"),
    ],
)
def test_wrong_forms(value: JsonValue, code: str) -> None:
    made, refused = convert([value])
    assert (made, [(r.code, r.rows, r.lost) for r in refused]) == ([], [(code, (1,), None)])


KEYS = st.sampled_from(
    ["id", "conversations", "conversation", "from", "value", "role", "system", "human", "assistant", "weight"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "human", "gpt", "k_0", "k_" + "9" * 5000])
)
ANY_JSON = st.recursive(LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(KEYS, x, max_size=4), max_leaves=12)
NEARLY = st.fixed_dictionaries(
    {"id": LEAVES, "conversations": st.lists(st.dictionaries(KEYS, ANY_JSON, max_size=4), max_size=4)}
)


@settings(deadline=None)
@given(st.lists(ANY_JSON | NEARLY, max_size=4))
def test_no_json_value_makes_it_raise(rows: list[JsonValue]) -> None:
    assert 0 <= sharegpt.matches(rows, "x.json").confidence <= 1
    for compat in (None, "tulu-v1", "fastchat"):
        convert(rows, compat=compat, html="markdown")


def test_a_deeply_nested_extra_does_not_make_it_raise() -> None:
    deep: JsonValue = []
    for _ in range(5000):
        deep = [deep]
    made, _ = convert([row("x", [("human", "q"), ("gpt", "a")], extra=deep)])
    assert made[0].tags["extra"] is deep


# --- length, compat, HTML


def test_a_long_conversation_is_cut_between_exchanges() -> None:
    turns = [
        ("system", "s" * 40),
        *[("human", "q" * 40), ("function_call", "f" * 40), ("observation", "1"), ("gpt", "a" * 40)] * 3,
    ]
    made, refused = convert([row("x", turns)], max_tokens=16 + 55 * 2)
    assert [[m["role"] for m in c.messages] for c in made] == [
        ["system", *["user", "assistant", "tool", "assistant"] * 2],
        ["system", "user", "assistant", "tool", "assistant"],
    ]
    assert [(c.tags["part"], c.own_id, c.tags["speakers"]) for c in made] == [
        ([1, 2], "x", ["system", *["human", "function_call", "observation", "gpt"] * 2]),
        ([2, 2], "x", ["system", "human", "function_call", "observation", "gpt"]),
    ]
    assert refused == []
    assert len(convert([row("x", turns)], max_tokens=16 + 55 * 2 - 1)[0]) == 3
    assert len(convert([row("x", turns)], max_tokens=16 + 55 * 2, bytes_per_token=40)[0]) == 1


def test_an_oversize_exchange_is_kept_or_refused() -> None:
    turns = [("human", "q"), ("gpt", "a"), ("human", "long"), ("gpt", "x" * 999), ("human", "r"), ("gpt", "b")]
    made, refused = convert([row("x", turns)], max_tokens=40)
    assert ([len(c.messages) for c in made], refused) == ([2, 2, 2], [])
    made, refused = convert([row("x", turns)], max_tokens=40, oversize="refuse")
    assert [said(c.messages)[0][1] for c in made] == ["q", "r"]
    assert [
        (r.code, [t["content"] for t in r.lost if isinstance(t, dict)]) for r in refused if isinstance(r.lost, list)
    ] == [("oversize_pair", ["long", "x" * 999])]
    made, refused = convert([row("x", [("system", "s"), *turns[2:4]])], max_tokens=40, oversize="refuse")
    assert (made, [r.code for r in refused]) == ([], ["oversize_pair"])
    assert account([], refused) == Counter([("system", "s"), ("user", "long"), ("assistant", "x" * 999)])


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 60), st.booleans())
def test_cutting_loses_nothing(lengths: list[int], limit: int, system: bool) -> None:
    turns = [("system", "s")] * system + [t for n in lengths for t in (("human", "q"), ("gpt", "a" * (1 + n)))]
    if lengths:
        made, refused = convert([row("x", turns)], max_tokens=limit, oversize="refuse")
        found = account(made, refused)
        if system:
            found["system", "s"] -= max(0, len(made) - 1)  # every part repeats it
        assert found == Counter((ROLES[name], text) for name, text in turns)


def test_compat_loses_what_was_lost_and_says_so() -> None:
    turns = [("human", "q"), ("gpt", "a" * 5000), ("human", "r"), ("gpt", "b" * 5000)]
    made, refused = convert([row("x", turns)], compat="tulu-v1")
    assert [said(m.messages) for m in made] == [[("user", "q"), ("assistant", "a" * 5000)]]
    assert [(r.code, r.rows, r.lost) for r in refused] == [
        ("compat_loss", (1,), [{"row": 1, "turn": 2}, {"row": 1, "turn": 3}])
    ]
    made, refused = convert([row("x", turns)], compat="tulu-v2")
    assert ([len(m.messages) for m in made], refused) == ([4], [])


@pytest.mark.parametrize("turns", ["s h g", "s h g h g", "h bing", "g h g", "h h g", "h g h bing", "h", "h g s h g h"])
def test_compat_takes_only_human_and_gpt_in_turn(turns: str) -> None:
    names = {"h": "human", "g": "gpt", "s": "system", "bing": "bing"}
    raw = [(names[t], "x") for t in turns.split()]
    made, refused = convert([row("x", raw)], compat="tulu-v2")
    assert made == []
    assert {r.code for r in refused} == {"compat_loss"}
    assert sum(len(r.lost) for r in refused if isinstance(r.lost, list)) == len(raw)


def test_compat_and_a_limit_of_ones_own_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="brings its own limit"):
        Options(compat="tulu-v1", max_tokens=100)


def test_html_is_kept_unless_asked_for() -> None:
    turns = [("human", "<p>What does this do?</p>"), ("gpt", "<p>It makes a <b>paragraph</b>.</p>")]
    assert one(turns)[0][1] == ("assistant", turns[1][1])
    assert one(turns, html="markdown")[0] == [("user", turns[0][1]), ("assistant", "It makes a **paragraph**.")]


# --- which files, and the sample


def test_matches() -> None:
    rows = [row("a", []), row("b", [("human", "q"), ("gpt", "a")])]
    assert sharegpt.matches(rows, "any.json").confidence > 0.9
    assert sharegpt.matches(rows, "ShareGPT_V3.json").confidence > sharegpt.matches(rows, "any.json").confidence
    chat: JsonValue = {"conversations": [{"role": "user", "content": "q"}]}
    assert 0.3 < sharegpt.matches([chat], "x.json").confidence < 0.9
    others: list[JsonValue] = [{"instruction": "q", "output": "a"}, {"conversations": ["q", "a"]}, {"messages": []}]
    for other in [*others, "text", None]:
        assert sharegpt.matches([other], "x.json").confidence == 0
    assert sharegpt.matches([row("b", [("human", "q")], chosen="a", rejected="b")], "x.json").confidence == 0
    assert sharegpt.matches([], "x.json").confidence == 0


def test_the_order_of_rows_does_not_change_what_comes_out() -> None:
    rows = sample()
    made, _ = convert(rows)
    random.Random(5).shuffle(rows)
    again, _ = convert(rows)
    assert sorted(said(m.messages) for m in made) == sorted(said(m.messages) for m in again)


def sample() -> list[JsonValue]:
    rows: list[JsonValue] = json.loads(
        (Path(caravan.converters.__file__).parent / "samples" / "sharegpt.json").read_text(encoding="utf-8")
    )
    return rows


def test_the_sample_has_its_defects() -> None:
    rows = sample()
    assert sharegpt.matches(rows[:20], "sharegpt.json").confidence > 0.9
    made, refused = convert(rows)
    assert (len(rows), len(made)) == (40, 36)
    assert Counter(r.code for r in refused) == {"empty_conversation": 1, "empty_response": 1}
    assert [m.tags["repeated_turns"] for m in made if "chunks" in m.tags] == [1, 0]
    assert len(made) - len({str(said(m.messages)) for m in made}) == 2
    assert sum(m["content"] == QUESTION for c in made for m in c.messages) == 1
    assert {m.messages[0]["role"] for m in made} == {"system", "user"}
