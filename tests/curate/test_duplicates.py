"""What counts as a duplicate, from messages to the greedy verdict."""

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate import filter as contract
from caravan.curate.filters import duplicates as d
from caravan.curate.links import greedy, lsh_recall, lsh_shape
from caravan.curate.words import fold
from caravan.errors import UserError
from caravan.plugins import load
from rawrows import sentence

Turns = list[tuple[str, str]]
SCHEMA = {"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))}


def frame(rows: list[Turns]) -> pl.DataFrame:
    return pl.DataFrame({"messages": [[{"role": r, "content": c} for r, c in row] for row in rows]}, schema=SCHEMA)


def asked(*texts: str) -> list[Turns]:
    """Rows of one user turn."""
    return [[("user", text)] for text in texts]


def repeats(
    rows: list[Turns], order: list[int] | None = None, **options: Any
) -> dict[int, tuple[int, str, str, float]]:
    """row -> (kept row, reason, key, similarity) for each row that a recipe with these options would drop."""
    chosen = d.Settings(**{k: v for k, v in options.items() if k in d.Settings.model_fields})
    limits = d.Limits(**{k: v for k, v in options.items() if k in d.Limits.model_fields})
    batch = frame(rows)
    batch = batch.hstack(d.measure(batch, chosen))
    links = [(one, limit) for one in d.link(batch, chosen) if (limit := d.limit(one, limits)) is not None]
    found = greedy(
        len(rows),
        [one for one, _ in links],
        [limit for _, limit in links],
        np.array(order or range(len(rows)), np.int64),
    )
    return {
        int(row): (
            int(found.partner[row]),
            links[found.link[row]][0].reason,
            links[found.link[row]][0].key,
            float(found.similarity[row]),
        )
        for row in np.flatnonzero(found.partner >= 0)
    }


def dropped(rows: list[Turns], **options: Any) -> list[int]:
    return sorted(repeats(rows, **options))


LONG = (
    "You can reach the {0} in three ways. Take the ferry from the old harbour at noon, walk the coast path past the "
    "lighthouse for about two hours, or ask one of the farmers for a lift; whichever you choose, bring water, a hat "
    "and some coins for the little café near the top, where the owner keeps a telescope that visitors may use for free."
)


def test_it_keeps_the_contract() -> None:
    module = load("filters", "duplicates")
    assert isinstance(module, contract.LinkingFilter)
    batch = frame([*asked("a"), [], [("system", "s")]])
    measured = d.measure(batch, d.Settings())
    assert dict(measured.schema) == d.COLUMNS
    assert measured.height == 3
    assert d.measure(frame([]), d.Settings()).schema == pl.Schema(d.COLUMNS)
    assert measured.select(d.verdict(d.Limits()).alias("reason")).to_series().dtype == pl.String
    assert {one.reason for one in d.link(batch.hstack(measured), d.Settings())} == set(d.REASONS)
    assert "unicode" in str(d.fingerprint(d.Settings()))


def test_one_of_equal_words_goes() -> None:
    assert repeats(asked("cat", "dog", "cat")) == {2: (0, "exact_duplicate", "conversation", 1.0)}


def test_empty_texts_never_match() -> None:
    rows = [*asked("", "", " ", "\n\u2028", "\u200b"), [], [], [("system", "be kind")], [("system", "be kind")]]
    assert (
        dropped(rows, keys=("prompt", "response", "conversation"), exact=("prompt", "response", "conversation")) == []
    )
    assert d.measure(frame(rows), d.Settings()).null_count().row(0) == (9,) * len(d.COLUMNS)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Compute 12 + 7", "Compute 12 - 7"),
        ("12 + 7", "955 - 31"),
        ("Compute 12 + 7 and show each step.", "Compute 955 - 31 and show each step."),
        ("Name three rivers.", "Name three lakes."),
        ("Is it so", "It is so"),
        ("你好吗", "你好吧"),
        ("What is 10²?", "What is 102?"),
        ("log₂8", "log28"),
        ("What is ١٢ + ٧?", "What is 12 + 7?"),
    ],
)
@pytest.mark.parametrize("index", ["lsh", "prefix", "datasketch"])
def test_short_texts_that_differ_stay(a: str, b: str, index: str) -> None:
    assert dropped([[("user", a), ("assistant", "19")], [("user", b), ("assistant", "19")]], index=index) == []


@pytest.mark.parametrize(
    "other",
    [
        "what IS the capital of peru?",
        "  What is\n the capital\u3000of Peru? ",
        "\ufeffWhat is the cap\u00adital of Peru?",
        "Ｗhat is the capital of Peru?",
        "WHAT IS THE CAPITAL OF PERU?\r\n",
    ],
)
def test_case_white_space_and_forms_are_folded(other: str) -> None:
    first = "What is the capital of Peru?"
    assert repeats(asked(first, other), near=None) == {1: (0, "exact_duplicate", "conversation", 1.0)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Die Straße ist naß.", "DIE STRASSE IST NASS."),
        ("Η οδός είναι εδώ.", "Η ΟΔΌΣ ΕΊΝΑΙ ΕΔΏ."),
        ("Где находится музей?", "ГДЕ\u00a0НАХОДИТСЯ МУЗЕЙ?"),
        ("Որտեղ է թանգարանը", "ՈՐՏԵՂ Է\u2003ԹԱՆԳԱՐԱՆԸ"),
        ("სად არის მუზეუმი", "ᲡᲐᲓ ᲐᲠᲘᲡ ᲛᲣᲖᲔᲣᲛᲘ"),
        ("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "ꮳꮃꭹ ꭶꮼꮒꭿꮝꮧ"),
        ("ﾄｳｷｮｳ ﾊ ﾄﾞｺ", "トウキョウ\u3000ハ ドコ"),
        ("một hai ba", "MO\u0302\u0323T HAI BA"),
    ],
)
def test_case_and_white_space_are_folded_for_every_script(one: str, other: str) -> None:
    assert repeats(asked(one, other), near=None) == {1: (0, "exact_duplicate", "conversation", 1.0)}


def test_a_row_is_its_turns_in_order_with_their_roles() -> None:
    rows: list[Turns] = [
        [("user", "one"), ("assistant", "two")],
        [("user", "one two")],
        [("user", "one"), ("user", "two")],
        [("assistant", "one"), ("user", "two")],
        [("user", "onetwo")],
        [("user", "one"), ("assistant", "two"), ("user", "three")],
        [("system", "Be brief."), ("user", "ONE"), ("tool", "{}"), ("assistant", "Two")],
    ]
    assert dropped(rows, near=None) == [6]


def test_keys_look_at_their_roles() -> None:
    rows: list[Turns] = [
        [("user", "Name a colour"), ("assistant", "Red")],
        [("user", "Name a colour"), ("assistant", "Blue")],
        [("user", "Name a flag's colour"), ("assistant", "red")],
    ]
    assert dropped(rows) == []  # one prompt with different answers is no duplicate unless asked for
    assert repeats(rows, exact=("prompt",)) == {1: (0, "exact_duplicate", "prompt", 1.0)}
    assert repeats(rows, exact=("response",)) == {2: (0, "exact_duplicate", "response", 1.0)}
    assert dropped(rows, exact=()) == []
    long: list[Turns] = [
        [("user", LONG.format("island")), ("assistant", " ".join(f"step {n} of {count}," for n in range(count)))]
        for count in (5, 200)
    ]
    assert dropped(long) == []
    found = repeats(long, keys=("prompt", "conversation"), near_keys=("prompt",))
    assert found == {1: (0, "near_duplicate", "prompt", 1.0)}


def test_a_shared_system_prompt_merges_nothing() -> None:
    system = ("You are a patient tutor who explains each step and never gives the answer away at once. " * 25)[:2000]
    questions = [f"Why does {thing} float?" for thing in ("ice", "oil", "wood", "a ship", "cork")]
    rows: list[Turns] = [[("system", system), ("user", q), ("assistant", "Think of density.")] for q in questions]
    assert dropped(rows, exact=("prompt", "conversation")) == []
    rows.append([("user", questions[0]), ("assistant", "Think of density.")])
    assert dropped(rows) == [5]


@pytest.mark.parametrize("index", ["lsh", "prefix", "datasketch"])
def test_near_duplicates_name_their_partner_and_exact_similarity(index: str) -> None:
    rows = asked(
        LONG.format("tower"), "Something else altogether, said in more than five words.", LONG.format("castle")
    )
    a, b = (
        {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
        for words in (LONG.format(name).lower().split() for name in ("tower", "castle"))
    )
    similarity = len(a & b) / len(a | b)
    assert 0.8 < similarity < 0.9
    assert repeats(rows, index=index) == {2: (0, "near_duplicate", "conversation", similarity)}
    assert dropped(rows, index=index, near=similarity + 1e-9) == []
    assert dropped(rows, index=index, near=None) == []
    assert sorted(repeats(rows, order=[2, 1, 0], index=index)) == [0]


def test_a_chain_keeps_both_ends() -> None:
    words = [f"word{i}" for i in range(100)]
    chain = asked(*(" ".join([*words[i:], *(f"more{j}" for j in range(i))]) for i in (0, 7, 14)))
    assert dropped(chain) == [1]
    assert sorted(repeats(chain, order=[1, 0, 2])) == [0, 2]


def test_one_template_with_many_questions() -> None:
    """Rows of one function-calling template: kept where the questions make the difference, however many there are."""
    draw = random.Random(5)
    words = [
        "weather",
        "Oslo",
        "tomorrow",
        "price",
        "gold",
        "flight",
        "train",
        "Lima",
        "hours",
        "rain",
        "tickets",
        "two",
    ]
    template = (
        "You have access to these functions: get_weather(city, day), get_price(item, currency), find_route(from, to). "
        "Call one of them when it helps, answer in plain words when none does, and never make up a result."
    )
    rows: list[Turns] = []
    for number in range(10_000):
        question = " ".join(draw.choices(words, k=25)) + f" case {number}"
        rows.append([("user", f"{template}\n{question}"), ("assistant", f"Calling a function for case {number}.")])
    assert dropped(rows) == []
    alike: list[Turns] = [
        [("user", f"{template} {LONG.format(number)}"), ("assistant", "Done.")] for number in range(10_000)
    ]
    assert len(dropped(alike)) == 9_999


def test_inputs_under_one_long_instruction_stay_though_their_labels_are_the_same() -> None:
    instruction = (
        "In this task you are given a short report on the weather, written by an observer at a coastal station. Read "
        "it to the end, think about what the observer saw and felt, and decide whether a small boat without an engine "
        "could have left the harbour on that morning. Answer with one word alone, which must be yes or no, and do not "
        "explain your answer. Reports that say nothing of wind or waves are to be answered with no, as are those that "
        "speak of fog, ice or thunder, whatever else they say about the sea, the sky and the day before."
    )
    draw = random.Random(2)
    words = [
        "wind",
        "calm",
        "grey",
        "gulls",
        "swell",
        "north",
        "tide",
        "drizzle",
        "sun",
        "cloud",
        "harbour",
        "quiet",
        "gust",
        "foam",
        "pier",
        "dawn",
        "mild",
        "low",
    ]
    reports = [" ".join(draw.sample(words, 9)) + "." for _ in range(60)]
    rows: list[Turns] = [[("user", f"{instruction} {text}"), ("assistant", "no")] for text in reports]
    assert dropped(rows) == []
    copy: Turns = [("user", f"{instruction.replace('harbour', 'haven')} {reports[7]}"), ("assistant", "no")]
    assert repeats([*rows, copy])[60][0] == 7
    few = rows[:12]  # a dozen rows make no template
    assert dropped(few) == list(range(1, 12))


def test_a_floor_is_a_promise() -> None:
    rows = asked(LONG.format("tower"), LONG.format("castle"))
    with pytest.raises(
        UserError, match=r"near = 0.6 is below floor = 0.7.*set filters.duplicates.floor = 0.6 or lower"
    ):
        repeats(rows, near=0.6)
    assert dropped(rows, near=0.6, floor=0.6) == [1]
    with pytest.raises(
        UserError, match=r'dropped by prompt, which was not looked at; add "prompt" to filters\.duplicates\.keys'
    ):
        repeats(rows, near_keys=("prompt",))
    assert dropped(rows, near=None, near_keys=("prompt",)) == []


def test_datasketch_missing_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(UserError, match=r"pip install 'caravan\[datasketch\]'"):
        repeats(asked("a b"), index="datasketch")


def edited_rows(seed: int, originals: int) -> list[Turns]:
    """Conversations and copies of them with a few words changed."""
    draw = random.Random(seed)
    vocabulary = [f"term{i}" for i in range(2000)]
    rows: list[Turns] = []
    for _ in range(originals):
        prompt, answer = (draw.choices(vocabulary, k=draw.randint(3, 80)) for _ in range(2))
        for _ in range(draw.randint(1, 4)):
            copy = list(answer)
            for _ in range(draw.randint(0, 2)):
                copy[draw.randrange(len(copy))] = draw.choice(vocabulary)
            rows.append([("user", " ".join(prompt)), ("assistant", " ".join(copy))])
    draw.shuffle(rows)
    return rows


def by_hand(rows: list[Turns], near: float) -> dict[int, tuple[int, float]]:
    """The same by comparing each row with each kept one, as Python sets."""
    sets, answers = [], []
    for row in rows:
        words = "\n".join(content for _, content in row).casefold().split()
        sets.append({tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))})
        answers.append(set(row[-1][1].split()))
    kept: list[int] = []
    out = {}
    for at, (one, answer) in enumerate(zip(sets, answers, strict=True)):
        alike = [k for k in kept if 2 * len(answer & answers[k]) >= len(answer | answers[k])]
        best = max(((len(one & sets[k]) / len(one | sets[k]), -k) for k in alike), default=(0.0, 0))
        if best[0] >= near:
            out[at] = (-best[1], best[0])
        else:
            kept.append(at)
    return out


def test_one_long_prompt_with_different_answers_is_not_one_row() -> None:
    instruction = "Name the kind of thing that the last word stands for. Do not use any of these words: " + sentence(
        3, 80
    )
    answers = ["a bird", "a tool", "a river in Asia", "a bird"]
    rows: list[Turns] = [[("user", f"{instruction} Word {n}"), ("assistant", text)] for n, text in enumerate(answers)]
    assert dropped(rows, near=0.8) == [3]  # of the look-alikes only the two with the same answer are one


def test_ten_thousand_answers_to_one_long_prompt_stay() -> None:
    """Each pair of them is alike but for the answers: comparing each with each takes half a minute."""
    instruction = sentence(3, 150)
    rows: list[Turns] = [[("user", instruction), ("assistant", f"answer{n}")] for n in range(10_000)]
    assert dropped([*rows, rows[7]]) == [10_000]


def test_odd_rows_are_measured_like_any_other() -> None:
    rows: list[Any] = [
        [("user", None), ("assistant", "x")],
        [("user", "y" * 1_000_000)],
        [("user", "z " * 100_000)],
        [("user", "a")] * 5000,
        [("critic", "a"), ("user", "x\u0301" * 1000)],
        [("user", "y" * 1_000_000 + "y")],
        [("user", "z " * 100_001)],
    ]
    # A run of one word is one gram, whatever its length: 6 repeats 2.
    assert repeats(rows) == {6: (2, "near_duplicate", "conversation", 1.0)}


@pytest.mark.parametrize("index", ["lsh", "prefix", "datasketch"])
def test_against_each_row_with_each(index: str) -> None:
    rows = edited_rows(7, 150)
    wanted = by_hand(rows, 0.8)
    found = {row: (partner, similarity) for row, (partner, _, _, similarity) in repeats(rows, index=index).items()}
    assert len(wanted) > 80
    assert found == wanted


texts = st.text(st.sampled_from("ab \n你é\u200bI"), max_size=8)
turns = st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(turns, max_size=4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_measure_is_of_the_row_alone(rows: list[Turns], draw: random.Random) -> None:
    together = d.measure(frame(rows), d.Settings())
    for i, row in enumerate(rows):
        assert d.measure(frame([row]), d.Settings()).row(0) == together.row(i)
    shuffled = draw.sample(range(len(rows)), len(rows))
    assert d.measure(frame([rows[i] for i in shuffled]), d.Settings()).rows() == [together.row(i) for i in shuffled]
    for key in ("prompt", "response", "conversation"):
        for digest, row in zip(together[f"duplicate_{key}"], rows, strict=True):
            text = "".join(content for role, content in row if role in d.ROLES[key])
            assert (digest is None) == (not text.replace("\u200b", "").strip())
            assert digest is None or (len(digest) == 32 and int(digest, 16) >= 0)


def test_links_are_the_same_in_any_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = edited_rows(9, 60)
    whole = repeats(rows)
    monkeypatch.setattr(d, "_SLICE", 7)
    assert repeats(rows) == whole


def test_only_rows_that_may_be_alike_carry_shingles() -> None:
    batch = frame(
        [*asked(LONG.format("tower"), "Nothing like it, in so many words as these.", LONG.format("castle")), []]
    )
    links = d.link(batch.hstack(d.measure(batch, d.Settings())), d.Settings())
    near = next(one for one in links if one.reason == "near_duplicate" and one.key == "conversation")
    assert near.shingles.offsets.size == 5
    assert (np.diff(near.shingles.offsets) > 0).tolist() == [True, False, True, False]
    assert near.floor == 0.7
    assert [one.floor for one in links if one.key == "prompt"] == [1.0, math.inf]
    assert lsh_recall(near.floor, *lsh_shape(near.floor)) >= 0.999


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (d.Settings, {"keys": ["answer"]}),
        (d.Settings, {"index": "simhash"}),
        (d.Settings, {"floor": 0}),
        (d.Settings, {"width": 0}),
        (d.Settings, {"near": 0.8}),
        (d.Limits, {"near": 1.2}),
        (d.Limits, {"near": 0.0}),
        (d.Limits, {"floor": 0.5}),
    ],
)
def test_wrong_options_are_refused(model: type[d.Settings] | type[d.Limits], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model.model_validate(wrong)


@pytest.mark.real
def test_every_pair_of_real_conversations_is_found(real_data: Path) -> None:
    """LSH drops the very rows that the exact join drops, and each reported similarity is that of plain sets."""
    records = json.loads((real_data / "sharegpt" / "v3_records_0_8000.json").read_text(encoding="utf-8"))
    speakers = {"human": "user", "gpt": "assistant"}
    rows: list[Turns] = [
        [(speakers.get(turn["from"], "tool"), turn["value"]) for turn in record["conversations"]] for record in records
    ]
    found = repeats(rows)
    assert found == repeats(rows, index="prefix")
    assert len(found) > 100

    def plain(row: int) -> set[tuple[str, ...]]:
        words = "\n".join(c for r, c in rows[row] if r != "tool").translate({0x200B: None, 0xFEFF: None})
        tokens = fold(words).split()
        return {tuple(tokens[i : i + 5]) for i in range(max(1, len(tokens) - 4))}

    checked = 0
    for row, (partner, _, _, similarity) in found.items():
        if all(c < "\u0e00" for r in (row, partner) for _, content in rows[r] for c in content):
            a, b = plain(row), plain(partner)
            assert similarity == pytest.approx(len(a & b) / len(a | b))
            checked += 1
    assert checked > 50
