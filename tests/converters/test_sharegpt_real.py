"""Real ShareGPT files. What is expected is counted here from the plain JSON, or is a golden number of the file."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from caravan.converters.schema import Converted, RawRow, Rejected
from caravan.converters.sources import sharegpt
from caravan.converters.sources.sharegpt import Options

pytestmark = pytest.mark.real

Record = dict[str, Any]


@cache
def v3(folder: Path) -> list[Record]:
    """All complete records of a list that breaks off inside a string."""
    text = (folder / "sharegpt" / "ShareGPT_V3_unfiltered_cleaned_split.json").read_text(encoding="utf-8")
    decoder, at, records = json.JSONDecoder(), 1, list[Record]()
    while True:
        at = text.index("{", at)
        try:
            record, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return records
        records.append(record)


def load(folder: Path, name: str) -> list[Record]:
    text = (folder / "sharegpt" / name).read_text(encoding="utf-8")
    found: list[Record] = json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.splitlines() if x]
    return found


def convert(records: Sequence[Record], **options: object) -> tuple[list[Converted], list[Rejected]]:
    settings = Options.model_validate(options)
    groups = defaultdict[object, list[RawRow]](list)
    for number, record in enumerate(records, 1):
        raw = RawRow(number, record)
        groups[sharegpt.group_key(raw, settings) or number].append(raw)
    made = [result for group in groups.values() for result in sharegpt.convert(group, settings)]
    assert {n for result in made for n in (result.rows or ())} == set(range(1, len(records) + 1))
    return [m for m in made if isinstance(m, Converted)], [m for m in made if isinstance(m, Rejected)]


def turns_of(record: Record) -> list[tuple[str, str]]:
    return [(turn["from"], turn["value"]) for turn in record["conversations"]]


def dialogues(records: Sequence[Record]) -> Iterator[tuple[list[int], list[tuple[str, str]], int]]:
    """Rows, turns and number of repeated turns of each dialogue: neighbours of one base that fit, in file order."""
    bases = defaultdict[str, list[tuple[int, int, list[tuple[str, str]]]]](list)
    for number, record in enumerate(records, 1):
        if turns := turns_of(record):
            base, _, offset = record["id"].rpartition("_")
            bases[base].append((number, int(offset), turns))
    for chunks in bases.values():
        rows, turns, repeated = [chunks[0][0]], list(chunks[0][2]), 0
        for (_, n, before), (row, m, after) in pairwise(chunks):
            if m == n + len(before) - 1 and before[-1] == after[0]:
                turns += after[1:]
                repeated += 1
            else:
                assert m == n + len(before)
                turns += after
            rows.append(row)
        yield rows, turns, repeated


def lost_turns(refused: Sequence[Rejected]) -> Counter[str]:
    return Counter(r.code for r in refused if isinstance(r.lost, list) for _ in r.lost)


def whole(refused: Sequence[Rejected]) -> Counter[str]:
    return Counter(r.code for r in refused if r.lost is None)


def test_v3_joins_all_chunks_and_balances(real_data: Path) -> None:
    records = v3(real_data)
    made, refused = convert(records)
    found = list(dialogues(records))
    assert (len(records), sum(len(r["conversations"]) for r in records)) == (17_671, 129_071)
    assert (len(found), sum(repeated for *_, repeated in found)) == (9_457, 6_340)
    assert sum(len(rows) - 1 for rows, *_ in found) == 6_340 + 1_748

    empty = [i for i, r in enumerate(records, 1) if not r["conversations"]]
    assert [r.rows for r in refused if r.code == "empty_conversation"] == [(i,) for i in empty]
    assert len(empty) == 126

    speakers = {"human": "user", "user": "user", "system": "system"}
    answered = [  # a dialogue survives when somebody answers somebody
        (rows, turns)
        for rows, turns, _ in found
        if re.search("user.*assistant", " ".join(speakers.get(n, "assistant") for n, t in turns if t.strip()))
    ]
    dialogue = {row: rows for rows, _ in answered for row in rows}
    assert sorted(dialogue[m.rows[0]] for m in made if m.rows) == sorted(rows for rows, _ in answered)
    # a row that is missing there has only blank turns, and is cited by their refusal
    missing = [set(dialogue[m.rows[0]]) - set(m.rows) for m in made if m.rows]
    assert [n for n in map(len, missing) if n] == [1]
    assert len(made) == len(answered) == 9_435
    assert sum(int(str(m.tags.get("repeated_turns", 0))) for m in made) == 6_340
    assert sum(whole(refused).values()) == 126 + 9_457 - 9_435

    # every turn is in a message or refused, to the character: joined turns differ by a blank line
    kept = sum(len(turns) for _, turns in answered) - sum(lost_turns(refused).values())
    messages = [m for c in made for m in c.messages]
    characters = sum(len(text) for _, turns in answered for _, text in turns)
    gone = sum(len(str(turn["content"])) for r in refused for turn in _objects(r.lost))
    assert sum(len(m["content"]) for m in messages) == characters - gone + 2 * (kept - len(messages))


def _objects(value: object) -> list[Record]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def test_v3_refusals_by_code(real_data: Path) -> None:
    records = v3(real_data)
    _, refused = convert(records)
    system_only = sum(all(n == "system" for n, _ in turns) for _, turns, _ in dialogues(records))
    assert whole(refused)["only_system_turn"] == system_only == 12
    blank = sum(not t.strip() for _, turns, _ in dialogues(records) for _, t in turns)
    assert blank == 136
    assert whole(refused) == {
        "empty_conversation": 126,
        "only_system_turn": 12,
        "leading_assistant_turn": 5,
        "trailing_user_turn": 4,
        "blank_turn": 1,
    }
    assert lost_turns(refused) == {
        "blank_turn": 129,
        "leading_assistant_turn": 17,
        "empty_response": 12,
        "trailing_user_turn": 8,
    }


def test_v3_identical_conversations_and_the_123_ids(real_data: Path) -> None:
    records = v3(real_data)
    assert len(records) - len({str(turns_of(r)) for r in records}) == 882
    twice = [i for i, n in Counter(r["id"] for r in records).items() if n == 2]
    assert len(twice) == 123
    made, refused = convert(records)
    saved = {m.own_id for m in made} | {c for m in made for c in _strings(m.tags.get("chunks"))}
    refused_rows = {n for r in refused if r.code != "empty_conversation" and r.lost is None for n in r.rows or ()}
    assert set(twice) <= saved | {records[n - 1]["id"] for n in refused_rows}
    assert len(set(twice) - saved) == 0


def _strings(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def test_v3_cut_to_a_length(real_data: Path) -> None:
    records = v3(real_data)[:4000]
    whole_made, _ = convert(records)
    made, refused = convert(records, max_tokens=2048, oversize="refuse")
    assert len(made) > len(whole_made)

    def users(found: Sequence[Converted]) -> int:
        return sum(m["role"] == "user" for c in found for m in c.messages)

    refused_pairs = sum(t["role"] == "user" for r in refused if r.code == "oversize_pair" for t in _objects(r.lost))
    assert refused_pairs > 0
    for c in made:
        assert sum(-(-len(m["content"].encode()) // 4) + 6 for m in c.messages) <= 2048
    # turns that were joined into one message are refused one by one
    assert users(whole_made) - users(made) <= refused_pairs
    kept, _ = convert(records, max_tokens=2048)
    assert users(kept) == users(whole_made)


@pytest.mark.parametrize("compat", ["tulu-v1", "tulu-v2", "fastchat"])
def test_v3_as_it_was_published(real_data: Path, compat: str) -> None:
    records = v3(real_data)
    made, refused = convert(records, compat=compat)
    total = sum(len(turns) for _, turns, _ in dialogues(records))
    lost = lost_turns(refused)["compat_loss"]
    assert sum(len(c.messages) for c in made) + lost == total == 129_071 - 6_340
    assert lost == {"tulu-v1": 4_153, "tulu-v2": 1_951, "fastchat": 3_417}[compat]
    assert all(m["role"] == ("user", "assistant")[i % 2] for c in made for i, m in enumerate(c.messages))


def test_v3_as_a_proper_list(real_data: Path) -> None:
    records = load(real_data, "v3_records_0_8000.json")
    assert records == v3(real_data)[:8000]
    made, _ = convert(records)
    assert len(made) == 4_133


def test_numbered_rows_stay_apart(real_data: Path) -> None:
    made, refused = convert(load(real_data, "fastchat_dummy_conversation.json"))
    assert (len(made), sum(len(m.messages) for m in made), refused) == (500, 2_000, [])
    assert not any(m.tags for m in made)


def test_tool_calls(real_data: Path) -> None:
    records = load(real_data, "glaive_toolcall_en_demo.json")
    made, refused = convert(records)
    assert (len(made), refused) == (300, [])
    roles = Counter(m["role"] for c in made for m in c.messages)
    assert roles == {"user": 746, "assistant": 746 + 211, "tool": 211}
    assert sum("speakers" in m.tags for m in made) == sum(
        any(n == "function_call" for n, _ in turns_of(r)) for r in records
    )
    assert [m.tags["tools"] for m in made] == [r["tools"] for r in records]
    assert len({str(m.messages) for m in made}) == 300 - 38


def test_system_turns(real_data: Path) -> None:
    made, refused = convert(load(real_data, "pyfade_system_10.json"))
    assert ([[m["role"] for m in c.messages] for c in made], refused) == ([["system", "user", "assistant"]] * 10, [])
    assert all(set(m.tags) == {"contributor", "timestamp", "chat_format"} for m in made)


def test_chinese(real_data: Path) -> None:
    made, refused = convert(load(real_data, "sharegpt_zh_1K.json"))
    assert len(made) == 999
    assert whole(refused) == {"trailing_user_turn": 1}
    assert lost_turns(refused) == {"trailing_user_turn": 6, "blank_turn": 17}
    assert {m.tags["lang"] for m in made} == {"zh"}


def test_an_added_key(real_data: Path) -> None:
    made, refused = convert(load(real_data, "dialogstudio_original_example.json"))
    assert (sum(len(m.messages) for m in made), refused) == (28, [])
    assert {m.tags["model"] for m in made} == {""}


@pytest.mark.parametrize(
    "name",
    [
        "v3_records_0_8000.json",
        "sharegpt_zh_1K.json",
        "glaive_toolcall_en_demo.json",
        "pyfade_system_10.json",
        "fastchat_dummy_conversation.json",
        "dialogstudio_original_example.json",
    ],
)
def test_files_are_recognised(real_data: Path, name: str) -> None:
    assert sharegpt.matches(load(real_data, name)[:20], name).confidence >= 0.9
