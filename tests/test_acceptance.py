"""Acceptance cases that published curation tools fail, as a user meets them: files in, mixture or table out."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from caravan.curate.build import MixResult, build_mix
from caravan.curate.check import contamination_check
from caravan.curate.dedup import dedup
from caravan.curate.gather import Gathered
from caravan.curate.options import recipe_from
from caravan.curate.recipe import Recipe
from caravan.curate.single import convert, gather_data, measure
from caravan.errors import UserError
from caravan.mixtures.manifest import Manifest
from rawrows import alpaca_rows, sentence

Said = list[tuple[str, str]]
Rows = Sequence[object]


def json_lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(*turns: tuple[str, str], **more: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def asked(question: str, answer: str) -> dict[str, object]:
    return chat(("user", question), ("assistant", answer))


def shared(name: str, turns: Iterable[tuple[str, str]], **more: object) -> dict[str, object]:
    return {"id": name, "conversations": [{"from": who, "value": text} for who, text in turns], **more}


def said(messages: Iterable[dict[str, str]]) -> Said:
    return [(m["role"], m["content"]) for m in messages]


def texts(gathered: Gathered) -> list[Said]:
    return [said(messages) for messages in gathered.rows["messages"].to_list()]


def from_files(paths: dict[str, Path], out: Path | None = None, **keys: Any) -> MixResult:
    """A mixture of one file a source; `options` and `converter` go to every source, the rest to the recipe."""
    own = {key: keys.pop(key) for key in ("options", "converter", "roles") if key in keys}
    table = {"sources": {name: {"paths": [str(path)], **own} for name, path in paths.items()}, "use": [], **keys}
    return build_mix(Recipe.model_validate(table), out=out)


def refusals(result: MixResult) -> Counter[tuple[int, str]]:
    (source,) = result.manifest.sources
    assert source.files[0].rows == source.files[0].cited + source.files[0].rejected + source.files[0].quarantined
    refused = result.ledger.filter(pl.col("fate").str.contains("rejected"))
    return Counter(refused.select("row", "reason").iter_rows())


# --- converters: the published splitters lose pairs, the published walk loses threads

SMALL, MIDDLE, HUGE, TINY = (10, 20), (30, 30), (10, 200), (10, 10)


def dialogue(pairs: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
    """Turns of these lengths, each with its own text."""
    turns = []
    for n, (question, reply) in enumerate(pairs):
        turns += [("human", f"q{n}".ljust(question, "?")), ("gpt", f"a{n}".ljust(reply, "!"))]
    return turns


def pairs_of(result: MixResult) -> list[list[int]]:
    """The numbers of the pairs in each part."""
    found = []
    for messages in result.mix.sort("row_id", "id")["messages"].to_list():
        numbers = [int(m["content"].rstrip("?!")[1:]) for m in messages]
        assert numbers[::2] == numbers[1::2]
        found.append(numbers[::2])
    return sorted(found)


@pytest.mark.parametrize(
    ("pairs", "parts", "refused"),
    [
        ([SMALL] * 3, [[0, 1], [2]], 0),
        ([MIDDLE] * 2, [[0], [1]], 0),
        ([SMALL, SMALL, HUGE], [[0, 1], [2]], 1),
        ([SMALL, HUGE, SMALL], [[0], [1], [2]], 1),
        ([HUGE, TINY], [[0], [1]], 1),
        ([HUGE], [[0]], 1),
    ],
)
@pytest.mark.parametrize("oversize", ["keep", "refuse"])
def test_each_pair_of_a_long_conversation_is_in_one_part_or_among_the_refusals(
    tmp_path: Path, pairs: list[tuple[int, int]], parts: list[list[int]], refused: int, oversize: str
) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [shared("x", dialogue(pairs)), shared("y", dialogue([TINY]))])
    options = {"max_tokens": 100, "bytes_per_token": 1.0, "oversize": oversize}
    result = from_files({"sharegpt": path}, options=options)
    huge = {n for n, pair in enumerate(pairs) if pair == HUGE and oversize == "refuse"}
    assert pairs_of(result) == sorted([p for p in parts if not huge & set(p)] + [[0]])
    assert [code for _, code in refusals(result)] == ["oversize_pair"] * (len(huge) > 0)


@pytest.mark.parametrize(
    ("compat", "pairs", "kept"),
    [
        ("tulu-v1", [(283, 565)] * 3, [[0, 1]]),
        ("fastchat", [(283, 565)] * 3, [[0, 1]]),
        ("tulu-v1", [(731, 731)] * 2, [[0]]),
        ("tulu-v1", [(283, 565), (205, 4096)], [[0]]),
        ("fastchat", [(283, 565), (205, 4096)], [[0]]),
        ("tulu-v1", [(205, 4096), (300, 300)], []),
        ("fastchat", [(283, 565), (205, 4096), (283, 565), (283, 565)], [[0], [1], [2, 3]]),
        ("tulu-v2", [(283, 565)] * 3, [[0, 1, 2]]),
    ],
)
def test_published_losses_on_request_and_the_account_says_what_they_cost(
    tmp_path: Path, compat: str, pairs: list[tuple[int, int]], kept: list[list[int]]
) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [shared("x", dialogue(pairs)), shared("y", dialogue([(9, 9)]))])
    result = from_files({"sharegpt": path}, options={"compat": compat, "bytes_per_token": 1.0})
    assert pairs_of(result) == sorted([*kept, [0]])
    lost = len(pairs) - sum(map(len, kept))
    assert {code for _, code in refusals(result)} == ({"compat_loss"} if lost else set())


MESSAGES: dict[
    str, tuple[str | None, str, int | None]
] = {  # id: parent, text, rank; the second answer's follow-up was deleted, the first one's has no answer
    "p0": (None, "How do I keep bread fresh?", None),
    "a1": ("p0", "In a cloth bag, away from the light.", 1),
    "p2": ("a1", "And in summer?", None),
    "a1b": ("p0", "Freeze it in slices.", 2),
    "p3": ("a1b", "(removed)", None),
    "a1c": ("p0", "Bake smaller loaves and eat them on the day.", 0),
}


def oasst_rows(form: str) -> list[dict[str, Any]]:
    nodes: dict[str, Any] = {}
    for name, (parent, text, rank) in MESSAGES.items():
        role = "prompter" if name.startswith("p") else "assistant"
        nodes[name] = {
            "message_id": name, "text": text, "role": role, "lang": "en", "deleted": name == "p3",
            "review_result": True, "synthetic": False, "message_tree_id": "p0", "tree_state": "ready_for_export",
        }  # fmt: skip
        if form == "flat":
            nodes[name]["parent_id"] = parent
        else:
            nodes[name]["replies"] = []
        if rank is not None or form == "flat":
            nodes[name]["rank"] = rank
        if parent and form != "flat":
            nodes[parent]["replies"].append(nodes[name])
    if form == "flat":
        return list(nodes.values())
    root = nodes["p0"]
    return [{"message_tree_id": "p0", "tree_state": "ready_for_export", "prompt": root} if form == "tree" else root]


@pytest.mark.parametrize("form", ["flat", "tree", "root"])
@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ({}, ["a1c"]),
        ({"policy": "all_leaves"}, ["a1", "a1b", "a1c"]),
        ({"policy": "all_assistant"}, ["a1", "a1b", "a1c"]),
        ({"compat": "tulu-v1"}, ["a1c"]),
    ],
)
def test_a_thread_is_not_lost_because_nobody_answered_its_last_question(
    tmp_path: Path, form: str, options: dict[str, str], answers: list[str]
) -> None:
    plain = json_lines(tmp_path / "trees.jsonl", oasst_rows(form))
    packed = tmp_path / "trees.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        result = from_files({"oasst": path}, options=options)
        assert sorted(result.mix["row_id"]) == answers
        for name, messages in result.mix.select("row_id", "messages").iter_rows():
            assert said(messages) == [("user", MESSAGES["p0"][1]), ("assistant", MESSAGES[name][1])]
        codes = {code for _, code in refusals(result)}
        assert {"deleted", "unanswered_prompt"} <= codes
        assert ("compat_loss" in codes) == ("compat" in options)


def test_who_speaks_in_a_sharegpt_file(tmp_path: Path) -> None:
    """A system and an instruction turn, a leading answer, Bing, a stranger, an empty value, an odd count, and more."""
    q, a = ("human", "How deep is the lake?"), ("gpt", "Forty metres.")
    rows: list[tuple[dict[str, object], str, str]] = [  # the row, roles that stay, codes
        (shared("plain", [q, a]), "user assistant", ""),
        (shared("told", [("system", "Be brief."), ("instruction", "Name a lake."), a]), "system user assistant", ""),
        (shared("both", [("system", "Be brief."), ("instruction", "Name."), q, a]), "", "instruction_and_user_turn"),
        (shared("leading", [a, q, a]), "user assistant", "leading_assistant_turn"),
        (shared("bing", [("user", "Where?"), ("bing", "Here.")]), "user assistant", ""),
        (shared("bard", [q, ("bard", "Deep."), q, ("chatgpt", "Very.")]), "user assistant user assistant", ""),
        (shared("stranger", [q, ("narrator", "A pause."), a]), "", "unknown_role:narrator"),
        (shared("empty", [q, ("gpt", "")]), "", "empty_response"),
        (shared("half", [q, ("gpt", " "), q, a]), "user assistant", "empty_response"),
        (shared("odd", [q, a, ("human", "And wide?")]), "user assistant", "trailing_user_turn"),
        (shared("twice", [q, ("human", "In metres."), a, a]), "user assistant", ""),
        (shared("silent_0", []), "", "empty_conversation"),
        (shared("silent_0", [q, a]), "user assistant", ""),
        (shared("null", [q, ("gpt", None)]), "", "missing_field:value"),  # type: ignore[list-item]
        (shared("call", [q, ("function_call", "{}"), ("observation", "40"), a]), "user assistant tool assistant", ""),
    ]
    path = json_lines(tmp_path / "shared.json", [row for row, *_ in rows])  # JSON Lines under .json
    gathered, guesses = gather_data(path)
    assert [guess.converter for guess in guesses.values()] == ["sharegpt"]
    roles = {
        number: " ".join(role for role, _ in turns)
        for number, turns in zip(gathered.rows["provenance"].struct.field("row"), texts(gathered), strict=True)
    }
    codes = dict(gathered.refused().select("row", "code").iter_rows())
    for number, (row, kept, code) in enumerate(rows, 1):
        assert (roles.get(number, ""), codes.get(number, "")) == (kept, code), row["id"]
    spoken = [text for turns in texts(gathered) for role, text in turns if role == "assistant"]
    assert not {q[1], "And wide?", "A pause."} & set(spoken)
    assert "How deep is the lake?\n\nIn metres." in [text for turns in texts(gathered) for _, text in turns]


def test_a_file_that_breaks_off_gives_its_whole_records_and_one_tail(tmp_path: Path) -> None:
    whole = [shared(f"r{n}_0", [("human", f"Question {n}?"), ("gpt", f"Answer {n}.")]) for n in range(5)]
    text = json.dumps(whole)
    path = tmp_path / "cut.json"
    path.write_text(text[: text.index("Answer 4")], encoding="utf-8")
    result = from_files({"sharegpt": path, "more": json_lines(tmp_path / "more.jsonl", [asked("Q?", "A.")])})
    cut = next(s.files[0] for s in result.manifest.sources if s.name == "sharegpt")
    assert (cut.rows, cut.cited, cut.quarantined) == (5, 4, 1)
    assert result.mix.height == 5


def test_chunks_that_repeat_a_turn_make_one_dialogue_and_numbered_rows_do_not(tmp_path: Path) -> None:
    turns = dialogue([(20, 20)] * 3)
    chunks = [
        shared("dream_0", []),  # the first record of the id is empty, the second is not
        shared("dream_0", turns[:2]),
        shared("dream_1", turns[1:4]),  # begins with the reply that ended the one before
        shared("dream_4", turns[4:]),
        *(shared(f"plain_{n}", [("human", f"{n} times 3?"), ("gpt", f"{3 * n}")]) for n in range(4)),
    ]
    path = tmp_path / "chunks.json"
    path.write_text(json.dumps(chunks), encoding="utf-8")
    result = from_files({"sharegpt": path})
    lengths = dict(result.mix.select("row_id", pl.col("messages").list.len()).iter_rows())
    assert lengths == {"dream_0": 6, **{f"plain_{n}": 2 for n in range(4)}}
    assert refusals(result) == {(1, "empty_conversation"): 1}


# --- converters: what real files were found to do, in rows of our own


def test_rationales_in_tsv(tmp_path: Path) -> None:
    """No header, quotes that quote nothing, a line separator inside a cell, newlines written as two characters."""
    path = tmp_path / "toy_train.tsv"
    path.write_text(
        'Is 9\u2028prime?\tno\tIt is 3 times 3.\n"Odd"?\tyes\t"7" leaves 1.\nWhich?\\n(a) 1\\n(b) 2\t(b)\tTwo fits.',
        encoding="utf-8",
    )
    gathered, guesses = gather_data(path)
    assert next(iter(guesses.values())).converter == "flan"
    assert texts(gathered) == [
        [("user", "Is 9\u2028prime?"), ("assistant", "It is 3 times 3.\nSo the answer is no.")],
        [("user", '"Odd"?'), ("assistant", '"7" leaves 1.\nSo the answer is yes.')],
        [("user", "Which?\n(a) 1\n(b) 2"), ("assistant", "Two fits.\nSo the answer is (b).")],
    ]


def test_prompts_and_completions_and_a_file_of_no_bytes(tmp_path: Path) -> None:
    rows = [{"prompt": "Write \\n or not.\n", "completion": f"Done {n}.<|endoftext|>"} for n in range(3)]
    folder = tmp_path / "p3"
    folder.mkdir()
    json_lines(folder / "a.jsonl", rows)
    (folder / "b.jsonl").write_bytes(b"")
    gathered, _ = gather_data(folder)
    assert texts(gathered) == [[("user", "Write \\n or not."), ("assistant", f"Done {n}.")] for n in range(3)]
    assert [f.quarantined for f in gathered.files] == [0, 1]
    assert dedup(folder, key="prompt").kept.height == 1
    assert dedup(folder).kept.height == 3  # one prompt with three answers is three rows


@pytest.mark.parametrize("early", [False, True])
def test_a_task_of_many_instances(tmp_path: Path, early: bool) -> None:
    definition = "Antworte mit einem Wort, das zu dem Satz passt."
    outputs = [["Haus"], ["Baum", "Wald"], ["Fluss", "Fluss"]]
    instances: list[dict[str, object]] = [{"input": f"Satz {n}", "output": o} for n, o in enumerate(outputs)]
    task: dict[str, object] = {"Definition": definition, "Instances": instances, "Positive Examples": []}
    if not early:
        task |= {"Definition": [definition], "Input_language": ["English"], "Instance License": ["MIT"]}
        task["Instances"] = [{"id": f"task7-{n}", **one} for n, one in enumerate(instances)]
    path = tmp_path / "task7_words.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    first = from_files({"flan": path})
    assert [m[1]["content"] for m in first.mix.sort("row_id")["messages"]] == ["Haus", "Baum", "Fluss"] or early
    assert Counter(m[1]["content"] for m in first.mix["messages"]) == Counter(["Haus", "Baum", "Fluss"])
    every = from_files({"flan": path}, options={"references": "all"})
    assert every.mix.height == 5
    assert every.mix["id"].n_unique() == 5  # an answer that a list repeats is a row of its own
    assert set(measure(path, filters=["language"]).frame["language"]) == {"de"}  # whatever the file says of itself


def test_relatives_of_alpaca(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"instruction": "Name a metal.", "input": "<noinput>", "output": "Iron"},
        {"instruction": "Name a gas.", "input": " No input required. ", "output": "Neon"},
        {"instruction": "Sort: b a", "input": "Sort: b a", "output": "a b"},
        {"instruction": "Say nothing.", "input": "", "output": "<nooutput>"},
        {"instruction": "Say nothing.", "input": "", "output": " \n"},
        {"instruction": " Keep\rme. ", "input": "", "output": " Kept \u0007\n"},
    ]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(rows), encoding="utf-8")  # no newline at the end
    gathered, _ = gather_data(path)
    assert texts(gathered) == [
        [("user", "Name a metal."), ("assistant", "Iron")],
        [("user", "Name a gas."), ("assistant", "Neon")],
        [("user", "Sort: b a\n\nSort: b a"), ("assistant", "a b")],
        [("user", " Keep\rme. "), ("assistant", " Kept \u0007\n")],
    ]
    assert dict(gathered.refused().select("row", "code").iter_rows()) == {4: "no_output_marker", 5: "empty_response"}

    played: list[object] = [{"instruction": "Be a cook.", "input": "", "response": "Order up!"}]
    assert texts(gather_data(json_lines(tmp_path / "gpteacher.jsonl", played))[0])[0][1] == ("assistant", "Order up!")
    four: list[object] = [{"instruction": "1+1", "input": "", "response": "2", "output": "2"}]
    assert texts(gather_data(json_lines(tmp_path / "code.jsonl", four))[0]) == [[("user", "1+1"), ("assistant", "2")]]
    both = {f"{p}_{k}": f"{p} {k}" for p in ("en", "zh") for k in ("instruction", "input", "output")}
    two = gather_data(json_lines(tmp_path / "bilingual.jsonl", [{**both, "metadata": {"score": 5}}]))[0]
    assert texts(two) == [
        [("user", f"{p} instruction\n\n{p} input"), ("assistant", f"{p} output")] for p in ("en", "zh")
    ]
    assert [json.loads(tags)["metadata"] for tags in two.rows["tags"]] == [{"score": 5}] * 2


def test_rows_of_messages_in_their_variants(tmp_path: Path) -> None:
    rows: list[object] = [
        {"messages": [{"content": "Hello?", "role": "user"}, {"content": "Hello.", "role": "assistant"}]},
        chat(("user", "Write to {{name}}."), ("assistant", "Dear {{name}}")),
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "value": "Rain?"}], "loss_weight": 0.0},
                {
                    "role": "assistant",
                    "content": [{"type": "reasoning", "value": "Clouds."}, {"type": "text", "value": "Yes."}],
                    "loss_weight": 1.0,
                },
            ]
        },
    ]
    gathered, guesses = gather_data(json_lines(tmp_path / "chats.jsonl", rows))
    assert next(iter(guesses.values())).converter == "messages"
    assert texts(gathered) == [
        [("user", "Hello?"), ("assistant", "Hello.")],
        [("user", "Write to {{name}}."), ("assistant", "Dear {{name}}")],
        [("user", "Rain?"), ("assistant", "Yes.")],
    ]
    assert json.loads(gathered.rows["tags"][2])["weights"] == [0, 1]

    spoken = [chat(("UTILISATEUR", "Ça va ?"), ("ASSISTANT", "Bien.")) for _ in range(2)]
    path = json_lines(tmp_path / "french.jsonl", spoken)
    assert gather_data(path)[0].refused()["code"].to_list() == ["unknown_role:UTILISATEUR"] * 2
    assert from_files({"messages": path}, roles={"UTILISATEUR": "user"}).mix.height == 2


def test_seeds_dolly_and_lima(tmp_path: Path) -> None:
    seeds: list[object] = [
        {"id": "s0", "name": "a", "instruction": "Rhyme.", "instances": [{"input": "", "output": "Time, lime."}],
         "is_classification": False},
        {"id": "u0", "motivation_app": "Mail", "instruction": "Greet.", "instances": [{"input": " ", "output": "Hi"}]},
    ]  # fmt: skip
    dolly: list[object] = [{"instruction": "When?", "category": "closed_qa", "input": "It was May.", "output": "May"}]
    lima: list[object] = [
        {"instruction": "And then?", "input": "", "output": " Rest. ", "history": [["What first?", "Work."]]}
    ]
    sources = {"self_instruct": seeds, "dolly": dolly, "lima": lima}
    paths = {name: json_lines(tmp_path / f"{name}.jsonl", rows) for name, rows in sources.items()}
    found = {
        name: [said(m) for m in rows]
        for name, rows in from_files(paths).mix.group_by("source").agg("messages").iter_rows()
    }
    assert sorted(found["self_instruct"]) == [
        [("user", "Greet."), ("assistant", "Hi")],
        [("user", "Rhyme."), ("assistant", "Time, lime.")],
    ]
    assert found["dolly"] == [[("user", "When?\n\nIt was May."), ("assistant", "May")]]
    assert found["lima"] == [
        [("user", "What first?"), ("assistant", "Work."), ("user", "And then?"), ("assistant", " Rest. ")]
    ]


# --- duplicates


def dropped_rows(path: Path, **options: Any) -> dict[int, tuple[int, str, float]]:
    """Row that goes: row that stays, reason, similarity."""
    found = dedup(path, **options)
    number = {
        name: int(name.rpartition(":")[2]) for pair in ("dropped", "kept") for name in found.pairs[f"{pair}_row_id"]
    }
    columns = ("dropped_row_id", "kept_row_id", "reason", "similarity")
    return {number[d]: (number[k], r, s) for d, k, r, s in found.pairs.select(columns).iter_rows()}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("key", ["response", "conversation"])
def test_short_texts_are_compared_whole(tmp_path: Path, key: str, exact: bool) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [asked("Name a pet.", word) for word in ("cat", "dog", "cat")])
    ((gone, (stays, reason, similarity)),) = dropped_rows(path, key=key, exact=exact).items()
    assert {gone, stays} == {1, 3}
    assert (reason, similarity) == ("exact_duplicate", 1.0)

    sums = [asked("Compute 12 + 7", "19"), asked("Compute 955 - 31", "924"), asked("Compute 12 - 7", "5")]
    assert dropped_rows(json_lines(tmp_path / "sums.jsonl", sums), key=key, exact=exact) == {}


def test_empty_texts_are_nobodys_duplicate(tmp_path: Path) -> None:
    blank = json_lines(tmp_path / "blank.jsonl", [*(asked("Say nothing.", t) for t in ("", "", " ")), asked("?", "!")])
    found = dedup(blank)
    assert (found.rows, found.kept.height) == (1, 1)  # the three are refused as empty answers, not as duplicates
    # what is only invisible is no text either, though no converter calls it blank
    hidden = [asked(mark, f"I heard nothing, {n} times over.") for n, mark in enumerate(["\u200b", "\u200b", "\u2060"])]
    assert dropped_rows(json_lines(tmp_path / "hidden.jsonl", hidden), key="prompt") == {}


def test_a_system_prompt_of_two_thousand_characters_merges_nothing(tmp_path: Path) -> None:
    system = ("You answer as the keeper of a lighthouse would: short, dry, and with an eye on the weather. " * 30)[
        :2000
    ]
    questions = ["Will it rain?", "Who lives here?", "What do you eat?", "When does the boat come?"]
    rows = [chat(("system", system), ("user", q), ("assistant", "Ask the gulls.")) for q in questions]
    rows.append(chat(("user", questions[0]), ("assistant", "Ask the gulls.")))
    path = json_lines(tmp_path / "keeper.jsonl", rows)
    for key in ("prompt", "conversation"):
        assert {frozenset((gone, pair[0])) for gone, pair in dropped_rows(path, key=key).items()} == {frozenset((1, 5))}


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


@pytest.mark.parametrize("exact", [False, True])
def test_a_chain_of_look_alikes_is_not_followed(tmp_path: Path, exact: bool) -> None:
    """Each row is like its neighbours, and like nobody else: linked groups would leave one of forty."""
    words = sentence(5, 400).split()
    answers = [" ".join(words[7 * n : 7 * n + 100]) for n in range(40)]
    path = json_lines(tmp_path / "chain.jsonl", [asked("Go on.", text) for text in answers])
    sets = [shingles(f"Go on.\n{text}") for text in answers]

    def alike(a: int, b: int) -> float:
        return len(sets[a - 1] & sets[b - 1]) / len(sets[a - 1] | sets[b - 1])

    assert alike(1, 2) > 0.8 > alike(1, 3)
    pairs = dropped_rows(path, threshold=0.8, exact=exact)
    kept = [n for n in range(1, 41) if n not in pairs]
    assert len(kept) >= 13
    for gone, (stays, reason, similarity) in pairs.items():
        assert stays in kept
        assert reason == "near_duplicate"
        assert similarity == pytest.approx(alike(gone, stays))
        assert abs(gone - stays) == 1
    assert all(alike(a, b) < 0.8 for n, a in enumerate(kept) for b in kept[:n])


def test_ten_thousand_rows_of_one_function_calling_template(tmp_path: Path) -> None:
    tools = "You may call get_fare(start, goal, day) or find_seat(train, class); answer in words if neither helps. " * 8
    draw = random.Random(11)
    towns = [f"{a}{b}" for a in ("Nor", "Kal", "Ober", "San") for b in ("by", "mar", "holm", "dorf", "vik", "feld")]
    rows = []
    for n in range(10_000):
        start, goal = draw.sample(towns, 2)
        call = json.dumps({"name": "get_fare", "arguments": {"start": start, "goal": goal, "day": n}})
        rows.append(
            shared(
                f"call{n}",
                [
                    ("human", f"What is the fare from {start} to {goal} on day {n}?"),
                    ("function_call", call),
                    ("observation", json.dumps({"fare": n % 90})),
                    ("gpt", f"The fare from {start} to {goal} is {n % 90} crowns."),
                ],
                system=tools,
            )
        )
    copies = [{**row, "id": f"again{n}"} for n, row in enumerate(rows[::100])]
    path = json_lines(tmp_path / "calls.jsonl", [*rows, *copies])
    found = dedup(path)
    assert (found.rows, found.kept.height) == (10_100, 10_000)
    assert Counter(found.pairs["reason"]) == {"exact_duplicate": 100}
    assert set(found.groups["size"]) == {2}


# --- language

ENGLISH = "When the rain had stopped, the children ran out to see whether the river had risen overnight."
FRENCH = "Quand la pluie a cessé, les enfants sont sortis pour voir si la rivière avait monté pendant la nuit."
GERMAN = "Als der Regen aufgehört hatte, liefen die Kinder hinaus, um zu sehen, ob der Fluss gestiegen war."
PYTHON = (
    "```python\ndef mean(values):\n    total = 0\n    for v in values:\n        total += v\n    return total / 3\n```"
)


def test_what_says_nothing_of_its_language_stays_and_what_is_foreign_goes(tmp_path: Path) -> None:
    singles = ["Yes", "42", "True", "Barack Obama", "x^2 + 3x - 4 = 0", "def f(x): return 2 * x", "LOVE", PYTHON]
    stay = [
        *(asked(text, text) for text in singles),  # the whole row says no more than the answer
        *(asked("Now only the result, please.", text) for text in singles),
        asked(f"Translate into French: {ENGLISH}", FRENCH),
        asked("Translate the weather report into French, all of it.", FRENCH * 3),
        chat(("user", ENGLISH), ("assistant", ENGLISH), ("user", "And in German?"), ("assistant", GERMAN)),
    ]
    go = [asked(FRENCH, FRENCH), asked(GERMAN, GERMAN), asked("雨停了以后，孩子们去了哪里？", "他们跑到河边去看水。")]
    path = json_lines(tmp_path / "chats.jsonl", [*stay, *go])
    found = measure(path, filters=["language"]).frame
    assert set(found["language"][: len(stay)]) <= {"en", "und"}
    assert found["language"][len(stay) :].to_list() == ["fr", "de", "zh"]
    result = from_files({"messages": path}, use=["language"])
    fates = result.ledger.sort("row")["fate"].to_list()
    assert fates == ["drawn"] * len(stay) + ["dropped"] * len(go)
    assert [found.row(i, named=True)["language_turns"][-1] for i in (-5, -4)] == ["fr", "de"]


@pytest.mark.parametrize(
    "prompt",
    [
        "Translate to French.", "Translate: Where is it?", "Now in French, please.", "Say it in French.",
        "Write a poem in French.", "How do you say that in French?", "Translate this sentence into French, please.",
    ],
)  # fmt: skip
def test_an_answer_in_the_language_that_was_asked_for_stays_however_short_the_question(
    tmp_path: Path, prompt: str
) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [asked(prompt, FRENCH), asked(ENGLISH, ENGLISH)])
    assert from_files({"messages": path}, use=["language"]).mix.height == 2


# --- contamination

LEAK = (
    "A miller grinds nine sacks on Monday and twice as many on each day after it; how many sacks by Thursday evening?"
)
OTHER = "Which of the three sisters in the story sold her boat before the winter storms reached the northern harbour?"
STEM = "Read the two statements below with care and then decide whether the second one follows from the first one."
FACTS = [
    "All bells ring. This is a bell. It rings.",
    "No owl swims. Mia swims. Mia is no owl.",
    "Some rope is wet. All rope is wet.",
    "Each key fits. One key is lost. It fits.",
    "Every lamp burns oil. This burns oil. It is a lamp.",
]


@pytest.fixture
def items(tmp_path: Path) -> str:
    rows: list[object] = [
        {"id": "miller", "question": LEAK, "answer": "135"},
        {"id": "sisters", "question": OTHER, "answer": "the eldest"},
        {"id": "short", "question": "Who painted the old chapel?", "answer": "72"},  # five words
        {"id": "six", "question": "Can a heron see at night?", "answer": "72"},
        *({"id": f"logic{n}", "question": f"{STEM} {fact}", "answer": "yes"} for n, fact in enumerate(FACTS)),
    ]
    return str(json_lines(tmp_path / "held_out.jsonl", rows))


CASES: dict[str, tuple[dict[str, object], set[str]]] = {
    "with its answer": (asked(LEAK, "She grinds 135 sacks."), {"miller"}),
    "without its answer": (asked(LEAK, "I would rather talk about bread."), {"miller"}),
    "in the answer": (asked("Give me a sum to solve.", LEAK), {"miller"}),
    "in the system turn": (chat(("system", f"Ask this: {LEAK}"), ("user", "Go."), ("assistant", "Yes.")), {"miller"}),
    "in capitals, inside other text": (asked(f"Please help!\n\n{LEAK.upper()}\n\nThanks.", "135"), {"miller"}),
    "two items": (asked(f"{LEAK}\n{OTHER}", "135, the eldest"), {"miller", "sisters"}),
    "six words": (asked("Can a heron see at night?", "It can."), {"six"}),
    "six words inside a sentence": (asked("Can a heron see at night in deep fog too?", "No."), set()),
    "the answer alone": (asked("72", "72"), set()),
    "the template alone": (asked(STEM, "I see no statements."), set()),
    "a new question in the template": (
        asked(f"{STEM} All ferries are late. The Hilda is a ferry. The Hilda is late.", "yes"),
        set(),
    ),
    "a template item whole": (asked(f"{STEM} {FACTS[1]}", "yes"), {"logic1"}),
    "the same story told anew": (
        asked("Nine sacks get ground on the first day, and from then on the mill doubles. Total after four?", "135"),
        set(),
    ),
    "nothing of it": (asked("Where do storks winter?", "South of the desert, by the great lakes."), set()),
}


def test_which_rows_leak_which_items(tmp_path: Path, items: str) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [row for row, _ in CASES.values()])
    check = contamination_check(path, items, out=tmp_path / "out")
    hits: dict[int, set[str]] = {}
    over = check.matches.filter(pl.col("coverage_item") >= 0.5)
    for row, item in over.select("row", "item").iter_rows():
        hits.setdefault(row, set()).add(item)
    for number, (name, (_, expected)) in enumerate(CASES.items(), 1):
        assert hits.get(number, set()) == expected, name
    (record,) = check.records
    assert (record.items, record.hit, record.rows_hit) == (9, 4, 8)
    assert check.worst == pytest.approx(4 / 9)
    assert check.leaked
    written = pl.read_parquet(tmp_path / "out" / "contamination.parquet")
    leaks = written.filter(pl.col("kind").is_in(["verbatim", "edited"]))
    assert leaks.height == check.matches.height
    suspected = written.filter(kind="rewritten").select("row", "item").rows()
    assert suspected == [(1 + list(CASES).index("six words inside a sentence"), "six")]
    clean = [row for row, expected in CASES.values() if not expected]
    assert not contamination_check(json_lines(tmp_path / "clean.jsonl", clean), items).leaked


def test_leaks_leave_the_mixture_with_their_evidence(tmp_path: Path, items: str) -> None:
    path = json_lines(tmp_path / "chats.jsonl", [row for row, _ in CASES.values()])
    filters = {"contamination": {"benchmarks": items}}
    result = from_files({"chats": path}, tmp_path / "mix", use=["contamination"], filters=filters, converter="messages")
    fates = result.ledger.sort("row")["fate"].to_list()
    assert fates == ["dropped" if expected else "drawn" for _, expected in CASES.values()]
    lines = pl.read_parquet(tmp_path / "mix" / "contamination.parquet")
    assert set(lines["kind"]) == {"verbatim", "rewritten"}
    lines = lines.filter(kind="verbatim")
    for row, spans, item_spans in lines.filter(item="miller").select("row", "row_spans", "item_spans").iter_rows():
        messages: Any = list(CASES.values())[row - 1][0]["messages"]
        held = " ".join(messages[s["message"]]["content"][s["start"] : s["end"]] for s in spans)
        assert held.casefold() == LEAK.casefold().rstrip("?")
        assert [LEAK[s["start"] : s["end"]] for s in item_spans] == [LEAK.rstrip("?")]


def put(path: Path, data: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data, encoding="utf-8", newline="")


QUESTIONS = {
    "test": "In the tale of the miller, who carries the copper bell across the frozen lake before the lamps are lit?",
    "dev": "Which of the seven sisters hid a wool sack under the floor of the bakery on the night of the great storm?",
    "val": "Why did the ferryman throw his broken oar into the well behind the church instead of mending it?",
    "train": "How long does the potter's clay jug stay in the kiln when the fire is fed with apple wood?",
    "sums": "Nine apples hang on each branch of a tree with twelve branches; what is left after forty were picked?",
    "tydi": "Where was the old letter found that the gardener had written to his brother in the south?",
    "teach": "Who taught the shepherds to lay a salt block beside every gate of the mountain pasture in early spring?",
    "truth": "Does a false coin ring lower than a good one when both are dropped on a marble table by the same hand?",
    "bbh": "Two maps disagree about the bend of a river near the fort; is the surveyor who drew them both honest?",
    "koala": "Suggest a menu with warm bread, smoked cheese and pickled plums for a picnic of eight on a windy hill.",
    "rules": "Write about a red thread in exactly three paragraphs, never using commas, and end with the word harbour.",
    "code": "Return the number of turns that open a heavy lock whose four wheels start at zero and only move forward.",
}


def test_a_folder_of_benchmarks_as_published_and_only_its_evaluation_splits(tmp_path: Path) -> None:
    """Records of several lines, twice in a file, options that look like numbers; training splits are no leak."""
    q, folder = QUESTIONS, tmp_path / "benchmarks"
    record = f'"{q["test"]}\r\n",None, 007,1e3,None,D\r\n'
    put(folder / "mmlu/test/tales_test.csv", record + record)
    put(folder / "mmlu/dev/tales_dev.csv", f'"{q["dev"]}",1,2,3,4,A\n')
    put(folder / "mmlu/val/tales_val.csv", f'"{q["val"]}",1,2,3,4,A')
    for split, name in (("test", "sums"), ("train", "train")):
        row = {"question": q[name] + "\u2028\u00a0", "answer": "Nobody.\n#### -1,024"}
        put(folder / f"gsm8k/{split}.jsonl", json.dumps(row, ensure_ascii=False) + "\n")
    for language, split, name in (("finnish", "dev", "tydi"), ("korean", "train", "teach")):
        qa = {"id": f"{language}-1-0", "question": q[name], "answers": [{"text": a, "answer_start": 0} for a in "AB"]}
        data = {"data": [{"paragraphs": [{"context": f" {sentence(77, 60)}", "qas": [qa]}]}]}
        put(folder / f"tydiqa/{language}_tydiqa_{split}.json", json.dumps(data))
    head = "\ufeffType,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\r\n"
    put(folder / "truthfulqa/v1/TruthfulQA.csv", head + f'Adversarial,Tales,"{q["truth"]}",Nobody,Nobody;,I;,\r\n')
    put(folder / "truthfulqa/mc_task.json", "[]")
    doubled = [{"input": q["bbh"], "target": t} for t in ("Yes", "No")]
    put(folder / "bbh/causal_judgement.json", json.dumps({"examples": doubled}))
    outputs = [{"dataset": "koala", "instruction": f" {q['koala']}\n", "output": "", "generator": "m"}]
    put(folder / "alpaca_eval/results/m/model_outputs.json", json.dumps(outputs))
    put(folder / "ifeval/input_data.jsonl", json.dumps({"key": 13, "prompt": f"\n{q['rules']} "}) + "\n")
    code = {
        "task_id": "HumanEval/0",
        "prompt": f'def f():\n    """{q["code"]}"""\n',
        "canonical_solution": "    pass\n",
    }
    put(folder / "humaneval/HumanEval.jsonl", json.dumps(code) + "\n")
    put(folder / "logs/notes.txt", "not a benchmark")

    path = json_lines(tmp_path / "chats.jsonl", [asked(text, "The ferryman's daughter.") for text in q.values()])
    check = contamination_check(path, str(folder))
    counts = {r.name: (r.items, r.too_short, r.hit, r.rows_hit) for r in check.records}
    assert counts == {
        "mmlu": (2, 0, 2, 1), "gsm8k": (1, 0, 1, 1), "tydiqa": (1, 0, 1, 1), "truthfulqa": (1, 0, 1, 1),
        "bbh": (2, 0, 2, 1), "alpaca_eval": (1, 0, 1, 1), "ifeval": (1, 0, 1, 1), "humaneval": (1, 0, 1, 1),
    }  # fmt: skip
    hit = {list(q)[row - 1] for row in check.matches.filter(pl.col("coverage_item") >= 0.5)["row"]}
    assert hit == set(q) - {"dev", "val", "train", "teach"}


# --- mixing

STRATEGIES = ["equal", "proportional", "inverse", "temperature", "quality_weighted", "tuned"]


def three(many: list[dict[str, str]], **keys: Any) -> MixResult:
    """A mixture of 1, 10 and 1,000 rows."""
    frames = {
        "one": pl.DataFrame(alpaca_rows(1)),
        "ten": pl.DataFrame(alpaca_rows(10, first=10)),
        "many": pl.DataFrame(many),
    }
    sources = {"one": {"share": 0.2}, "ten": {"share": 0.3}, "many": {"share": 0.5}}
    table = {"sources": sources, "use": ["quality", "length"], **keys}
    return build_mix(Recipe.model_validate(table), frames=frames, out=None)


def drawn(result: MixResult, source: str | None = None) -> set[tuple[str, int]]:
    chosen = result.mix if source is None else result.mix.filter(source=source)
    pairs = set(chosen.select("id", "repeat").iter_rows())
    assert len(pairs) == chosen.height
    return pairs


def test_sources_of_1_10_and_1000_rows_by_every_strategy() -> None:
    rows = alpaca_rows(1000, first=100)
    changed = rows[:970] + alpaca_rows(30, first=5000)
    for strategy in STRATEGIES:
        result = three(rows, size=100, strategy=strategy)
        given = {s.name: s.given.examples for s in result.manifest.sources}
        wanted = {s.name: s.requested for s in result.manifest.sources}
        assert result.mix.height == sum(given.values()) == sum(wanted.values()) == 100, strategy
        assert given["one"] <= 4, strategy
        assert given["ten"] <= 40, strategy
        copies = Counter(result.mix["id"])
        assert max(copies.values()) <= 4
        for name, size in (("one", 1), ("ten", 10), ("many", 1000)):  # as evenly as can be, no row again before all
            own = [copies[i] for i in result.mix.filter(source=name)["id"].unique()]
            assert len(own) == min(size, given[name]), strategy
            assert not own or max(own) - min(own) <= 1, strategy
        notes = " ".join(result.manifest.notes)
        for name in ("one", "ten", "many"):
            assert (wanted[name] > given[name]) == (f"{name}: {wanted[name]} examples requested" in notes), strategy

        sizes = [three(rows, size=n, strategy=strategy) for n in (7, 40, 400, 2000)]
        for small, large in zip([*sizes[:2], result, *sizes[2:]], [sizes[1], result, *sizes[2:]], strict=False):
            assert drawn(small) < drawn(large), strategy

        after = three(changed, size=100, strategy=strategy)
        for name in ("one", "ten"):
            before, now = drawn(result, name), drawn(after, name)
            assert before <= now or now <= before, strategy
        if strategy in ("equal", "tuned", "proportional", "inverse", "temperature"):  # the same sizes, the same shares
            assert drawn(result, "one") == drawn(after, "one"), strategy
            assert drawn(result, "ten") == drawn(after, "ten"), strategy


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_source_that_gives_nothing_takes_nothing(tmp_path: Path, strategy: str) -> None:
    paths = {
        "full": json_lines(tmp_path / "full.jsonl", alpaca_rows(30)),
        "refused": json_lines(tmp_path / "refused.jsonl", [{"instruction": "Go.", "input": "", "output": ""}] * 3),
        "empty": json_lines(tmp_path / "empty.jsonl", []),
    }
    table = {
        "sources": {name: {"paths": [str(path)], "converter": "alpaca", "share": 1} for name, path in paths.items()},
        "use": ["quality", "length"],
        "strategy": strategy,
        "size": 50,
    }
    result = build_mix(Recipe.model_validate(table), out=None)
    assert {s.name: s.given.examples for s in result.manifest.sources} == {"empty": 0, "full": 50, "refused": 0}
    assert sum("no examples left" in note for note in result.manifest.notes) == 2


def test_one_is_a_share_and_a_size_is_a_whole_number(tmp_path: Path) -> None:
    """Elsewhere "1" means one row and "1.0" all: here a share is only ever a share, and a size only ever a count."""
    rows = alpaca_rows(40)
    by_share: list[Manifest] = []
    for share in ("1", "1.0"):
        file = tmp_path / f"share{len(by_share)}.toml"
        path = json_lines(tmp_path / "rows.jsonl", rows)
        file.write_text(
            f'use = []\nsize = 30\n[sources.a]\npaths = ["{path}"]\nshare = {share}\n'
            f'[sources.b]\npaths = ["{path}"]\nshare = {share}\n[strategy]\nname = "tuned"\n',
            encoding="utf-8",
        )
        by_share.append(build_mix(recipe_from(str(file)), out=None).manifest)
    assert by_share[0].content_hash == by_share[1].content_hash
    assert [s.given.examples for s in by_share[0].sources] == [15, 15]
    typed = [recipe_from(None, weights=w).sources for w in ("a=1,b=1", "a=1.0,b=1.0")]
    assert typed[0] == typed[1]
    for size in (0.5, 1.5, "50%", "0.5", 0, -1):
        with pytest.raises(UserError, match="size"):
            recipe_from(None, keys=[f"size={json.dumps(size)}"])
    with pytest.raises(UserError, match="not a number"):
        recipe_from(None, weights="a=50%,b=50%")


@pytest.mark.parametrize("size", ["1.0", "100.0", "true"])
def test_a_size_with_a_point_is_no_count(tmp_path: Path, size: str) -> None:
    """Who writes 1.0 means all rows; a mixture of one row is the worst answer to that."""
    file = tmp_path / "mine.toml"
    file.write_text(f"size = {size}\n", encoding="utf-8")
    with pytest.raises(UserError, match="size"):
        recipe_from(str(file))


@pytest.mark.parametrize("weights", ["a=inf,b=1", "a=1e400,b=1", "a=nan,b=1"])
def test_a_share_that_is_no_number_is_one_clear_line(weights: str) -> None:
    frames = {"a": pl.DataFrame(alpaca_rows(5)), "b": pl.DataFrame(alpaca_rows(5, first=50))}
    with pytest.raises(UserError):
        build_mix(recipe_from(None, weights=weights, size=4), frames=frames, out=None)


def test_one_more_row_takes_at_most_one_row_from_each_source() -> None:
    """Shares of 6 : 6 : 2 are where largest remainders take a row back: no more than that one."""
    frames = {name: pl.DataFrame(alpaca_rows(40, first=100 * n)) for n, name in enumerate("abc")}
    sources = {"a": {"share": 6}, "b": {"share": 6}, "c": {"share": 2}}
    table = {"sources": sources, "use": [], "strategy": "tuned"}
    rows = [
        drawn(build_mix(Recipe.model_validate({**table, "size": size}), frames=frames, out=None))
        for size in range(1, 31)
    ]
    assert [len(found) for found in rows] == list(range(1, 31))
    assert max(len(small - large) for small, large in pairwise(rows)) <= 1


# --- files


def hostile_rows() -> list[str]:
    return [
        '{"instruction": "First, without a column.", "output": "Fine so far."}',
        '{"instruction": "A score of nothing.", "input": "", "output": "Not a number.", "score": NaN}',
        '{"instruction": "Half a pair \\ud83d here.", "input": "", "output": "And \\udc00 there."}',
        '{"instruction": "A huge score.", "input": "", "output": "Beyond all.", "score": 1e400}',
        '{"instruction": "Said twice.", "input": "", "output": "First.", "output": "Second."}',
        '{"instruction": "Run this.", "input": "<b>x</b>", "output": "<script>alert(1)</script>", "id": "<script>7"}',
        '{"instruction": "Last line.", "input": "With input.", "output": "No newline after me."}',
    ]


ANSWERS = ["Fine so far.", "Not a number.", "And \ufffd there.", "Beyond all.", "Second."]
ANSWERS += ["<script>alert(1)</script>", "No newline after me."]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: "\n".join(rows).encode(),
        lambda rows: "\r\n".join(rows).encode(),
        lambda rows: b"\xef\xbb\xbf" + "\r\n".join(rows).encode(),
        lambda rows: ("[" + ",\r\n".join(rows) + "]").encode(),
        lambda rows: "\n".join(rows).encode("utf-16"),
        lambda rows: gzip.compress(b"\xef\xbb\xbf" + "\n\n".join(rows).encode()),
    ],
    ids=["lf", "crlf", "bom", "list", "utf-16", "gzip"],
)
def test_odd_json_reaches_the_mixture_whole(tmp_path: Path, wrap: Callable[[list[str]], bytes]) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(wrap(hostile_rows()))
    result = from_files({"alpaca": path}, tmp_path / "mix")
    file = result.manifest.sources[0].files[0]
    assert (file.rows, file.cited, file.rejected, file.quarantined) == (7, 7, 0, 0)
    assert {k: n for k, n in file.text_changes.items() if n} == {"surrogate": 2, "number": 2}
    loaded = pq.read_table(tmp_path / "mix" / "mix.parquet").to_pylist()
    answers = {row["messages"][1]["content"]: row for row in loaded}
    assert set(answers) == set(ANSWERS)
    assert answers["No newline after me."]["messages"][0]["content"] == "Last line.\n\nWith input."
    assert [json.loads(answers[a]["tags"]) for a in ("Not a number.", "Beyond all.")] == [{"score": None}] * 2


def test_a_column_that_the_first_row_lacks_is_read_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"instruction": "Name it.", "output": "A"}, {"instruction": "Name it.", "input": "this", "output": "B"}]
    json_lines(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    pl.DataFrame(rows, schema={"instruction": pl.String, "input": pl.String, "output": pl.String}).write_parquet(
        tmp_path / "a.parquet"
    )
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfinstruction,input,output\r\nName it.,,A\r\nName it.,this,B")
    for name in ("a.jsonl", "a.json", "a.parquet", "a.csv"):
        assert [said(m)[0][1] for m in convert(tmp_path / name).frame["messages"]] == ["Name it.", "Name it.\n\nthis"]


class Tags(HTMLParser):
    """The elements of a page, and attributes that could run something."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = Counter[str]()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.active += [
            name
            for name, value in attrs
            if name.startswith("on") or (value or "").strip().casefold().startswith(("javascript:", "data:text/html"))
        ]


def test_markup_in_data_is_text_in_the_report(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    picture = "<img src=x onerror=alert(1)>"
    rows: list[dict[str, object]] = [
        *(shared(f"{bad}{n}", [("human", f"{picture} {sentence(n)}"), ("gpt", f"{bad} {sentence(n + 50)}")])
          for n in range(6)),
        shared(f"{bad}0", [("human", f"{picture} {sentence(0)}"), ("gpt", f"{bad} {sentence(50)}")]),  # a duplicate
        shared(f"{bad}x", [("human", "Who?"), (picture, "Me.")]),  # refused: an unknown role
        shared(f"{bad}y", [("human", FRENCH + bad), ("gpt", FRENCH + bad)]),  # dropped: language
        shared(f"{bad}z", [("human", LEAK), ("gpt", bad)]),  # dropped: an item
    ]  # fmt: skip
    path = json_lines(tmp_path / "<img src=x onerror=alert(1)>.jsonl", rows)
    items = json_lines(tmp_path / "<svg onload=alert(1)>.jsonl", [{"id": bad, "question": LEAK}])
    filters = {"contamination": {"benchmarks": str(items)}}
    use = ["contamination", "language", "quality", "length", "duplicates"]
    result = from_files({bad: path}, tmp_path / "mix", converter="sharegpt", use=use, filters=filters)
    reasons = {reason for source in result.manifest.sources for reason in source.dropped}
    assert {"contaminated", "language", "exact_duplicate"} <= reasons
    page = (tmp_path / "mix" / "report.html").read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(page)
    assert parser.elements["html"] == 1
    assert parser.elements["svg"] > 0
    assert not {"script", "img", "iframe", "object", "embed"} & set(parser.elements)
    assert parser.active == []
    assert "&lt;script&gt;" in page
