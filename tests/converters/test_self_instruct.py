"""Self-Instruct's four forms."""

import pytest
from pydantic import JsonValue

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import alpaca, flan, self_instruct


def convert(value: JsonValue) -> list[Converted | Rejected]:
    made = list(self_instruct.convert([RawRow(4, value)], self_instruct.Options()))
    assert {m.rows for m in made} == {(4,)}
    return made


def one(value: JsonValue) -> Converted:
    (made,) = convert(value)
    assert isinstance(made, Converted)
    return made


def seed(*instances: JsonValue, **fields: JsonValue) -> JsonObject:
    return {
        "id": "seed_task_3",
        "name": "rhyme",
        "instruction": "Find a rhyme.",
        "instances": list(instances),
        "is_classification": False,
        **fields,
    }


MOON: JsonObject = {"input": "moon", "output": "spoon"}


def test_a_nested_instance_is_an_example() -> None:
    made = one(seed(MOON))
    assert [m["content"] for m in made.messages] == ["Find a rhyme.\n\nmoon", "spoon"]
    assert made.own_id == "seed_task_3"
    assert made.tags == {"name": "rhyme", "is_classification": False}


def test_several_instances_are_several_examples_and_a_bad_one_is_lost_alone() -> None:
    first, bad, last = convert(seed(MOON, {"input": "light", "output": ""}, {"input": "", "output": "tea"}))
    assert isinstance(first, Converted)
    assert first.tags["instance"] == 0
    assert isinstance(bad, Rejected)
    assert (bad.code, bad.lost) == ("empty_response", {"input": "light", "output": ""})
    assert isinstance(last, Converted)
    assert last.messages[0]["content"] == "Find a rhyme."
    assert last.tags["instance"] == 2


def test_user_oriented_tasks_name_an_app_and_no_class() -> None:
    made = one({"id": "user_oriented_task_0", "motivation_app": "Maps", "instruction": "Go.", "instances": [MOON]})
    assert made.tags == {"motivation_app": "Maps"}


def test_instances_as_parallel_lists() -> None:
    made = convert({"instruction": "Rhyme.", "instances": {"input": ["a", "b"], "output": ["c", "d"]}})
    assert [m.messages[1]["content"] for m in made if isinstance(m, Converted)] == ["c", "d"]


def test_a_generation_is_flat_and_its_marker_means_no_input() -> None:
    made = one({"instruction": "Find a rhyme.", "input": "<noinput>", "output": "tea", "most_similar": 0.3})
    assert made.messages[0]["content"] == "Find a rhyme."
    assert made.tags == {"most_similar": 0.3, "no_input": "<noinput>"}


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("Find a rhyme.\n\nInput: moon\n\nOutput:", "Find a rhyme.\n\nInput: moon"),
        ("Find a rhyme.\nOutput:", "Find a rhyme."),
        ("Find a rhyme for moon", "Find a rhyme for moon"),
        ("Output: what is it?", "Output: what is it?"),
    ],
)
def test_the_form_that_gpt3_was_tuned_on_loses_its_marks(prompt: str, shown: str) -> None:
    made = one({"prompt": prompt, "completion": " spoon\n<|endoftext|>"})
    assert [m["content"] for m in made.messages] == [shown, "spoon\n"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "not_an_object"),
        ({}, "missing_field:instruction"),
        (seed(), "no_instances"),
        (seed("moon"), "not_an_object"),
        (seed({"input": "moon"}), "missing_field:output"),
        (seed(MOON, instruction=None), "wrong_type:instruction"),
        (seed(MOON, instances="moon"), "wrong_type:instances"),
        ({"prompt": "Go.", "completion": " <|endoftext|>"}, "empty_response"),
        ({"prompt": "Go."}, "missing_field:completion"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str) -> None:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    assert made.code == expected


def test_guessing_tells_gpt3_rows_from_p3_and_generations_by_their_name() -> None:
    gpt3: list[JsonValue] = [{"prompt": "Rhyme.\n\nOutput:", "completion": " tea<|endoftext|>"}] * 5
    p3: list[JsonValue] = [{"prompt": "Sports or science?\n", "completion": "Science<|endoftext|>"}] * 5
    assert self_instruct.matches(gpt3, "x.jsonl").confidence > flan.matches(gpt3, "x.jsonl").confidence
    assert self_instruct.matches(p3, "x.jsonl").confidence < flan.matches(p3, "x.jsonl").confidence
    flat: list[JsonValue] = [{"instruction": "Rhyme.", "input": "", "output": "tea"}] * 5
    name = "all_instances_82K.jsonl"
    assert self_instruct.matches(flat, name).confidence > alpaca.matches(flat, name).confidence
    assert self_instruct.matches(flat, "x.jsonl").confidence == 0
    assert self_instruct.matches([seed(MOON)], "x.jsonl").confidence > 0.9
