"""Unknown JSON, described by columns and roles as axolotl and LLaMA-Factory users expect."""

import pytest
from pydantic import JsonValue, ValidationError

from caravan.converters.schema import Converted, RawRow, Rejected
from caravan.converters.sources import columns


def convert(value: JsonValue, described: dict[str, str], **options: object) -> Converted | Rejected:
    settings = columns.Options.model_validate({"columns": described, **options})
    again = columns.Options.model_validate_json(settings.model_dump_json())
    assert again == settings
    made = list(columns.convert([RawRow(9, value)], settings))
    assert all(m.rows == (9,) for m in made)
    return made[0]


def one(value: JsonValue, described: dict[str, str], **options: object) -> Converted:
    made = convert(value, described, **options)
    assert isinstance(made, Converted)
    return made


def spoken(made: Converted) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in made.messages]


QUESTION = {"user": "question", "assistant": "answer"}


def test_roles_name_fields() -> None:
    made = one({"id": 4, "question": "Why?", "answer": "So.", "votes": 7}, QUESTION)
    assert spoken(made) == [("user", "Why?"), ("assistant", "So.")]
    assert (made.own_id, made.tags) == ("4", {"votes": 7})
    assert [f["name"] for f in made.fields] == ["question", "answer"]


def test_llama_factory_names() -> None:
    described = {"prompt": "q", "query": "more", "response": "a", "history": "past", "system": "rules"}
    row: JsonValue = {"q": "Why?", "more": "Briefly.", "a": "So.", "past": [["Hi", "Hello!"]], "rules": "Be kind."}
    assert spoken(one(row, described)) == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "Why?\n\nBriefly."),
        ("assistant", "So."),
    ]
    assert spoken(one({"q": "Why?", "a": "So."}, described)) == [("user", "Why?"), ("assistant", "So.")]


def test_a_list_of_messages_under_names_of_its_own() -> None:
    row: JsonValue = {
        "dialog": [{"who": "client", "says": "Hi"}, {"who": "bot", "says": "Hello!"}],
        "rules": "Be kind.",
    }
    described = {"messages": "dialog", "role": "who", "content": "says", "system": "rules"}
    made = one(row, described, roles={"client": "user", "bot": "assistant"})
    assert spoken(made) == [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello!")]
    assert made.tags == {}
    refused = convert(row, described)
    assert isinstance(refused, Rejected)
    assert refused.code == "unknown_role:client"


def test_sharegpt_rows_read_this_way_too() -> None:
    row: JsonValue = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}
    made = one(row, {"messages": "conversations", "role": "from", "content": "value"})
    assert spoken(made) == [("user", "Hi"), ("assistant", "Hello!")]


def test_a_path_leads_into_objects_and_lists_and_the_surroundings_are_tags() -> None:
    row: JsonValue = {"data": {"q": "Why?", "page": 3}, "answers": {"text": ["So.", "Thus."]}, "a.b": "x"}
    made = one(row, {"user": "data.q", "assistant": "answers.text.0"})
    assert spoken(made) == [("user", "Why?"), ("assistant", "So.")]
    assert made.tags == {"data": {"page": 3}, "answers": {"text": [None, "Thus."]}, "a.b": "x"}
    both = one(row, {"user": "answers.text.0", "assistant": "answers.text.1"})
    assert both.tags["answers"] == {"text": [None, None]}


def test_a_field_with_that_very_name_comes_before_a_path() -> None:
    row: JsonValue = {"a.b": "Why?", "a": {"b": "other", "c": "So."}}
    made = one(row, {"user": "a.b", "assistant": "a.c"})
    assert spoken(made) == [("user", "Why?"), ("assistant", "So.")]
    assert made.tags == {"a": {"b": "other"}}


@pytest.mark.parametrize(
    ("value", "described", "expected"),
    [
        (None, QUESTION, "not_an_object"),
        ({"question": "Why?"}, QUESTION, "missing_field:answer"),
        ({"question": "Why?", "answer": None}, QUESTION, "wrong_type:answer"),
        ({"question": "", "answer": "So."}, QUESTION, "empty_prompt"),
        ({"question": "Why?", "answer": " "}, QUESTION, "empty_response"),
        ({"question": "Why?", "a": {}}, {"user": "question", "assistant": "a.b"}, "missing_field:a.b"),
        ({"question": "Why?", "a": ["x"]}, {"user": "question", "assistant": "a.1"}, "missing_field:a.1"),
        ({"question": "Why?", "a": "x"}, {"user": "question", "assistant": "a.b"}, "missing_field:a.b"),
        ({"question": "W", "answer": "S", "h": 1}, {**QUESTION, "history": "h"}, "wrong_type:h"),
        ({}, {"messages": "dialog"}, "missing_field:dialog"),
        ({"dialog": [{"who": "user", "content": "x"}]}, {"messages": "dialog"}, "missing_field:role"),
        ({"dialog": [{"role": "user"}]}, {"messages": "dialog", "content": "text"}, "missing_field:text"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, described: dict[str, str], expected: str) -> None:
    made = convert(value, described)
    assert isinstance(made, Rejected)
    assert made.code == expected


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ({}, "give user and assistant"),
        ({"user": "q"}, "give user and assistant"),
        ({"assistent": "a", "user": "q"}, "did you mean 'assistant'"),
        ({"user": "q", "prompt": "p", "assistant": "a"}, "mean the same"),
        ({"messages": "m", "user": "q"}, "give user and assistant"),
        ({"role": "who"}, "give user and assistant"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_before_any_row(described: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        columns.Options.model_validate({"columns": described})


def test_never_guessed() -> None:
    assert columns.matches([{"question": "Why?", "answer": "So."}], "x.json").confidence == 0
