"""Unnatural Instructions: core, full with reformulations, flattened."""

import pytest
from pydantic import JsonValue

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import alpaca, unnatural


def convert(value: JsonValue, **options: object) -> list[Converted | Rejected]:
    made = list(unnatural.convert([RawRow(5, value)], unnatural.Options.model_validate(options)))
    assert all(m.rows == (5,) for m in made)
    return made


def instance(**fields: JsonValue) -> JsonObject:
    return {
        "instruction_with_input": "Name a synonym.\nglad",
        "input": "glad",
        "constraints": "One word only.",
        "output": "happy",
        **fields,
    }


def core(*instances: JsonValue, **fields: JsonValue) -> JsonObject:
    return {"instruction": "Name a synonym.", "instances": list(instances), **fields}


def one(value: JsonValue, **options: object) -> Converted:
    (made,) = convert(value, **options)
    assert isinstance(made, Converted)
    return made


def named(made: Converted) -> dict[str, str]:
    return {f["name"]: made.messages[f["message"]]["content"][f["start"] : f["end"]] for f in made.fields}


def test_constraints_go_on_a_new_line_and_all_parts_are_found_again() -> None:
    made = one(core(instance()))
    assert [m["content"] for m in made.messages] == ["Name a synonym.\nglad\nOne word only.", "happy"]
    assert named(made) == {
        "instruction_with_input": "Name a synonym.\nglad",
        "instruction": "Name a synonym.",
        "input": "glad",
        "constraints": "One word only.",
        "output": "happy",
    }
    assert made.tags == {"instance": 0}


@pytest.mark.parametrize("nothing", ["none", "None.", "NONE", " none. ", "", None])
def test_no_constraints(nothing: JsonValue) -> None:
    made = one(core(instance(constraints=nothing)))
    assert made.messages[0]["content"] == "Name a synonym.\nglad"
    assert made.tags == ({"instance": 0, "constraints": nothing} if nothing else {"instance": 0})


def test_an_input_that_is_not_there_word_for_word_has_no_place() -> None:
    assert "input" not in named(one(core(instance(input="Word: glad"))))


FULL = core(
    instance(),
    instance(output="cheerful"),
    reformulations=[
        {"instruction": "A word for {INPUT}?", "instruction_with_input": "A word for glad?", "output": "joyful"},
        {"instruction": "Broken {INPUT}", "instruction_with_input": "Broken", "input": "glad", "output": ""},
    ],
)


def test_each_instance_and_each_reformulation_is_an_example() -> None:
    *made, refused = convert(FULL)
    assert [m.messages[1]["content"] for m in made if isinstance(m, Converted)] == ["happy", "cheerful", "joyful"]
    assert [m.tags for m in made if isinstance(m, Converted)] == [
        {"instance": 0},
        {"instance": 1},
        {"reformulation": 0},
    ]
    assert isinstance(refused, Rejected)
    assert refused.code == "empty_response"


def test_without_reformulations_the_full_file_is_the_core_file() -> None:
    assert len(convert(FULL, reformulations=False)) == 2


def test_the_flattened_form_is_joined_and_its_prompt_is_a_tag() -> None:
    made = one({"instruction": "Name a synonym.", "input": "glad", "output": "happy", "prompt": "### Name ..."})
    assert [m["content"] for m in made.messages] == ["Name a synonym.\n\nglad", "happy"]
    assert made.tags == {"prompt": "### Name ..."}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "not_an_object"),
        ({}, "missing_field:instances"),
        (core(), "no_instances"),
        (core("x"), "not_an_object"),
        (core({"input": "a", "output": "b"}), "missing_field:instruction_with_input"),
        (core(instance(output=None)), "wrong_type:output"),
        (core(instance(constraints=["a"])), "wrong_type:constraints"),
        (core(instance(output="<nooutput>")), "no_output_marker"),
        (core(reformulations="x"), "wrong_type:reformulations"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str) -> None:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    assert made.code == expected


def test_guessing() -> None:
    assert unnatural.matches([core(instance())], "x.jsonl").confidence > 0.95
    flat: list[JsonValue] = [{"instruction": "a", "input": "b", "output": "c", "prompt": "a b"}]
    assert (
        unnatural.matches(flat, "uinst_valid.jsonl").confidence > alpaca.matches(flat, "uinst_valid.jsonl").confidence
    )
    assert unnatural.matches(flat, "x.jsonl").confidence < alpaca.matches(flat, "x.jsonl").confidence
