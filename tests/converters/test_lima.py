"""LIMA as published and as LLaMA-Factory has it."""

import pytest
from pydantic import JsonValue

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import alpaca, lima


def convert(value: JsonValue) -> list[Converted | Rejected]:
    made = list(lima.convert([RawRow(6, value)], lima.Options()))
    assert all(m.rows == (6,) for m in made)
    return made


def turns(*texts: JsonValue) -> JsonObject:
    return {"conversations": list(texts), "source": "wikihow"}


def test_strings_alternate_and_the_user_begins() -> None:
    (made,) = convert(turns("How?", "So.", "And then?", " Like this."))
    assert isinstance(made, Converted)
    assert [(m["role"], m["content"]) for m in made.messages] == [
        ("user", "How?"),
        ("assistant", "So."),
        ("user", "And then?"),
        ("assistant", " Like this."),
    ]
    assert made.tags == {"source": "wikihow"}


def test_a_last_prompt_without_answer_is_cut_and_reported() -> None:
    made, lost = convert(turns("How?", "So.", "And then?"))
    assert isinstance(made, Converted)
    assert len(made.messages) == 2
    assert isinstance(lost, Rejected)
    assert (lost.code, lost.lost) == ("trailing_user_turn", "And then?")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "not_an_object"),
        ({}, "missing_field:conversations"),
        (turns(), "no_messages"),
        (turns("a prompt of the test split"), "no_assistant_turn"),
        (turns("How?", ""), "empty_response"),
        (turns(" ", "So."), "empty_prompt"),
        (turns("How?", "So.", "", "Yes."), "empty_prompt"),
        (turns("How?", " ", "And?", "Yes."), "empty_response"),
        (turns("How?", None), "wrong_type:conversations"),
        (turns({"from": "human", "value": "How?"}, "So."), "wrong_type:conversations"),
        ({"conversations": "How?"}, "wrong_type:conversations"),
        ({"instruction": "How?", "history": []}, "missing_field:output"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str) -> None:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    assert made.code == expected


CONVERTED: JsonObject = {"instruction": "And?", "input": "", "output": "Yes.", "history": [["How?", "So."]]}


def test_the_converted_form_reads_as_alpaca() -> None:
    (made,) = convert(CONVERTED)
    assert isinstance(made, Converted)
    assert [m["content"] for m in made.messages] == ["How?", "So.", "And?", "Yes."]


def test_guessing() -> None:
    assert lima.matches([turns("How?", "So.")], "train.jsonl").confidence > 0.95
    assert lima.matches([{"conversations": [{"from": "human", "value": "How?"}]}], "x.json").confidence == 0
    named, other = "lima.json", "data.json"
    assert lima.matches([CONVERTED], named).confidence > alpaca.matches([CONVERTED], named).confidence
    assert lima.matches([CONVERTED], other).confidence < alpaca.matches([CONVERTED], other).confidence
