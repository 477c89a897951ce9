"""What every converter promises, whoever wrote it: attributes, a sample that it recognises, books that balance."""

import copy
import json
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

import caravan.converters
from caravan.converters.converter import Match, Options, row_type
from caravan.converters.schema import MESSAGES, Converted, ConvertedPair, Example, Preference, RawRow, Rejected, to_json
from caravan.plugins import find, load

NAMES = sorted(find("converters"))
ON_REQUEST = {"columns"}
SAMPLES = Path(caravan.converters.__path__[0]) / "samples"
FIELDS = """
    id instruction input output response history system context category instances is_classification reformulations
    instruction_with_input constraints prompt completion conversations conversation messages from value role content
    type text function_call tool_calls function name arguments weight tools inputs targets task_source Instances
    Definition message_id parent_id message_tree_id replies rank deleted lang en_instruction zh_output question
    chosen rejected chosen_messages rejected_messages score_chosen prompt_id
"""
KEYS = FIELDS.split()
WORDS = [
    "",
    " ",
    "<noinput>",
    "N/A",
    "user",
    "human",
    "gpt",
    "assistant",
    "system",
    "tool",
    "instruction",
    "text",
    "a[1]",
    "\n\nHuman: a\n\nAssistant: b",
    "\n\nHuman: a\n\nAssistant: c",
]
MADE: dict[type, type] = {Example: Converted, Preference: ConvertedPair}

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([*WORDS, "abc_0"])
)
values: st.SearchStrategy[JsonValue] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
        | st.dictionaries(st.sampled_from(["role", "from"]), st.sampled_from(WORDS), min_size=1).flatmap(
            lambda turn: st.dictionaries(st.sampled_from(["content", "value", "weight"]), inner).map(lambda d: turn | d)
        )
    ),
    max_leaves=12,
)
shaped = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)


def options_of(name: str, module: ModuleType) -> Options:
    described = {"columns": {"user": "question", "assistant": "output.text", "history": "history"}}
    made: Options = module.Options.model_validate(described if name == "columns" else {})
    return made


def sample_of(name: str) -> tuple[str, list[JsonValue]]:
    (path,) = SAMPLES.glob(f"{name}.*")
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]
    return path.name, rows


def convert(module: ModuleType, options: Options, rows: list[JsonValue]) -> list[Converted | ConvertedPair | Rejected]:
    groups = defaultdict[object, list[RawRow]](list)
    for number, value in enumerate(rows, 1):
        raw = RawRow(number, value)
        groups[module.group_key(raw, options) or number].append(raw)
    made = []
    for group in groups.values():
        for result in module.convert(group, options):
            result.rows = tuple(raw.row for raw in group) if result.rows is None else result.rows
            assert set(result.rows) <= {raw.row for raw in group}
            made.append(result)
    return made


def check_pair(made: ConvertedPair) -> None:
    """What a preference is, whoever made it."""
    for messages in (made.prompt, made.chosen, made.rejected):
        assert messages
        MESSAGES.validate_python(messages, strict=True)
    for side in (made.chosen, made.rejected):
        assert side[0]["role"] == side[-1]["role"] == "assistant"
        assert {message["role"] for message in side} <= {"assistant", "tool"}
        assert side[-1]["content"].strip()
    assert made.chosen != made.rejected


@pytest.mark.parametrize("name", NAMES)
def test_a_converter_has_what_the_contract_names(name: str) -> None:
    module = load("converters", name)
    assert isinstance(module.VERSION, int)
    assert module.VERSION >= 1
    assert isinstance(module.LICENCE, str)
    assert module.HUB is None or module.HUB.count("/") == 1
    assert issubclass(module.Options, Options)
    assert module.Options.model_config["extra"] == "forbid"
    assert getattr(module, "GIVES", Example) is row_type(module)
    assert module.__doc__


@pytest.mark.parametrize("name", sorted(set(NAMES) - ON_REQUEST))
def test_a_converter_recognises_its_own_sample_best(name: str) -> None:
    file, rows = sample_of(name)
    judged = {other: load("converters", other).matches(rows[:20], file) for other in NAMES}
    others = {other: match.confidence for other, match in judged.items() if other != name}
    assert judged[name].confidence > max(others.values()), judged
    assert judged[name].why
    assert all(0 <= match.confidence <= 1 for match in judged.values())


@pytest.mark.parametrize("name", sorted(set(NAMES) - ON_REQUEST))
def test_a_sample_gives_examples_and_its_books_balance(name: str) -> None:
    module = load("converters", name)
    rows = sample_of(name)[1]
    made = convert(module, options_of(name, module), rows)
    assert sum(isinstance(result, MADE[row_type(module)]) for result in made) >= 10
    assert {row for result in made for row in result.rows or ()} == set(range(1, len(rows) + 1))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(values | shaped, max_size=4))
def test_no_json_breaks_a_converter_and_no_row_is_lost(name: str, rows: list[JsonValue]) -> None:
    module = load("converters", name)
    options = options_of(name, module)
    before = copy.deepcopy(rows)
    made = convert(module, options, rows)
    assert repr(rows) == repr(before), "a converter must not change what it reads"
    assert {row for result in made for row in result.rows or ()} == set(range(1, len(rows) + 1))
    for result in made:
        if isinstance(result, Rejected):
            assert result.code
            to_json(result.lost)
            continue
        assert isinstance(result, MADE[row_type(module)])
        to_json(result.tags)
        if isinstance(result, ConvertedPair):
            check_pair(result)
            continue
        assert result.messages
        MESSAGES.validate_python(result.messages, strict=True)
        for field in result.fields:
            content = result.messages[field["message"]]["content"]
            assert 0 <= field["start"] <= field["end"] <= len(content)
    assert repr(convert(module, options, rows)) == repr(made)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sample=st.lists(values | shaped, max_size=4), file=st.sampled_from(["", "x.json", "alpaca_cot.json", "lima.tsv"])
)
def test_no_json_breaks_a_guess(name: str, sample: list[JsonValue], file: str) -> None:
    match = load("converters", name).matches(sample, file)
    assert isinstance(match, Match)
    assert 0 <= match.confidence <= 1
    assert bool(match.confidence) == bool(match.why)


PAIRS = [name for name in NAMES if row_type(load("converters", name)) is Preference]
TEXTS = ["", " ", "Hello?", "Hello? ", "Yes.", " Yes.", "No.", "No. I mean\n\nyes."]


def spoken(*roles: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from(roles), st.sampled_from(TEXTS[2:] * 3 + TEXTS)), max_size=2)


def test_there_are_converters_of_preferences() -> None:
    assert {"hh_rlhf", "ultrafeedback", "sharegpt_dpo"} <= set(PAIRS)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=st.sampled_from(TEXTS[2:]),
    shared=spoken("user", "assistant", "tool", "system"),
    better=spoken("assistant", "assistant", "assistant", "tool"),
    worse=spoken("assistant", "assistant", "assistant", "tool"),
)
def test_the_forms_of_preferences_agree_on_the_same_dialogues(
    first: str, shared: list[tuple[str, str]], better: list[tuple[str, str]], worse: list[tuple[str, str]]
) -> None:
    shared = [("user", first), *shared]
    sides = {"chosen": better, "rejected": worse}
    rows: dict[str, JsonValue] = {
        "ultrafeedback": {
            name: [{"role": who, "content": text} for who, text in shared + side] for name, side in sides.items()
        },
        "sharegpt_dpo": {
            name: [{"from": who, "value": text} for who, text in side]
            for name, side in ({"conversations": shared} | sides).items()
        },
    }
    if {who for who, _ in shared + better + worse} <= {"user", "assistant"}:
        rows["hh_rlhf"] = {
            name: "".join(f"\n\n{'Human' if who == 'user' else 'Assistant'}: {text}" for who, text in shared + side)
            for name, side in sides.items()
        }
    results = []
    for name, row in rows.items():
        module = load("converters", name)
        (made,) = convert(module, options_of(name, module), [row])
        if isinstance(made, ConvertedPair):
            check_pair(made)
            assert made.prompt[0]["role"] == "user"
            whole = [(m["role"], m["content"]) for m in made.prompt + made.chosen]
            assert whole == [turn for turn in shared + better if turn[0] != "system" or turn[1].strip()]
            results.append(repr((made.prompt, made.chosen, made.rejected)))
        else:
            assert isinstance(made, Rejected)
            results.append(made.code)
    assert len(set(results)) == 1, results
