"""Chat rows in the forms that OpenAI, TRL, open-instruct and LLaMA-Factory write."""

from collections.abc import Sequence

import pytest
from pydantic import JsonValue, ValidationError

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import messages


def convert(value: JsonValue, **options: object) -> list[Converted | Rejected]:
    made = list(messages.convert([RawRow(8, value)], messages.Options.model_validate(options)))
    assert all(m.rows == (8,) for m in made)
    return made


def one(value: JsonValue, **options: object) -> Converted:
    (made,) = convert(value, **options)
    assert isinstance(made, Converted)
    return made


def code(value: JsonValue) -> str:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    return made.code


def said(role: str, content: JsonValue, **fields: JsonValue) -> JsonObject:
    return {"role": role, "content": content, **fields}


def chat(*turns: JsonValue, **fields: JsonValue) -> JsonObject:
    return {"messages": list(turns), **fields}


def spoken(made: Converted) -> Sequence[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in made.messages]


HI, HELLO = said("user", "Hi"), said("assistant", "Hello!")
PLAIN = [("user", "Hi"), ("assistant", "Hello!")]


@pytest.mark.parametrize("field", ["messages", "conversation", "conversations"])
def test_a_list_of_messages(field: str) -> None:
    made = one({"id": "a1", field: [HI, HELLO], "source": "tests"})
    assert spoken(made) == PLAIN
    assert (made.own_id, made.tags) == ("a1", {"source": "tests"})


def test_the_order_of_keys_does_not_matter() -> None:
    assert spoken(one(chat({"content": "Hi", "role": "user"}, {"content": "Hello!", "role": "assistant"}))) == PLAIN


@pytest.mark.parametrize("answer", ["completion", "response"])
def test_prompt_and_answer_as_texts_or_as_messages(answer: str) -> None:
    assert spoken(one({"prompt": "Hi", answer: "Hello!"})) == PLAIN
    assert spoken(one({"prompt": [HI], answer: [HELLO]})) == PLAIN
    assert spoken(one({"prompt": [said("system", "Be kind."), HI], answer: "Hello!"}))[1:] == PLAIN


def test_a_system_text_beside_the_messages_comes_first_unless_they_have_one() -> None:
    assert spoken(one(chat(HI, HELLO, system="Be kind."))) == [("system", "Be kind."), *PLAIN]
    made = one(chat(said("system", "Be brief."), HI, HELLO, system="Be kind."))
    assert spoken(made)[0] == ("system", "Be brief.")
    assert made.tags == {"system": "Be kind."}


def test_the_order_of_speakers_is_kept_as_it_stands() -> None:
    roles = ["assistant", "user", "user", "system", "assistant", "tool", "tool", "assistant"]
    made = one(chat(*(said(role, f"text {n}") for n, role in enumerate(roles))))
    assert [m["role"] for m in made.messages] == roles


def test_what_nobody_answers_at_the_end_is_cut_and_reported() -> None:
    made, lost = convert(chat(HI, HELLO, said("user", "And?"), said("user", "Well?")))
    assert isinstance(made, Converted)
    assert spoken(made) == PLAIN
    assert isinstance(lost, Rejected)
    assert (lost.code, lost.lost) == ("trailing_user_turn", [said("user", "And?"), said("user", "Well?")])


def test_a_blank_system_message_says_nothing_and_a_tool_may_return_nothing() -> None:
    made = one(chat(said("system", " "), HI, said("assistant", "Running."), said("tool", ""), HELLO))
    assert [m["role"] for m in made.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "not_an_object"),
        ({}, "missing_field:messages"),
        ({"prompt": "Hi"}, "missing_field:messages"),
        ({"response": "Hello!"}, "missing_field:prompt"),
        ({"messages": "Hi"}, "wrong_type:messages"),
        (chat("Hi"), "wrong_type:messages"),
        (chat(), "no_messages"),
        (chat(said("system", "")), "no_messages"),
        (chat(HI), "no_assistant_turn"),
        (chat(HELLO), "no_user_turn"),
        (chat(said("system", "Be kind."), HELLO), "no_user_turn"),
        (chat(said("user", ""), HELLO), "empty_prompt"),
        (chat(HI, said("assistant", "\n")), "empty_response"),
        (chat(HI, said("assistant", None)), "empty_response"),
        (chat(HI, said("assistant", "", tool_calls=[])), "empty_response"),
        (chat(HI, {"role": "assistant"}), "missing_field:content"),
        (chat({"content": "Hi"}, HELLO), "missing_field:role"),
        (chat(said("user", {"a": 1}), HELLO), "wrong_type:content"),
        (chat(said("UTILISATEUR", "Salut"), HELLO), "unknown_role:UTILISATEUR"),
        (chat({"role": ["user"], "content": "Hi"}, HELLO), "wrong_type:role"),
        (chat(said("instruction", "Sum up."), HI, HELLO), "ambiguous_role:instruction"),
        (chat(said("user", [{"type": "image_url", "image_url": {"url": "x"}}]), HELLO), "unsupported_part:image_url"),
        (chat(said("user", [{"text": "Hi"}]), HELLO), "missing_field:type"),
        (chat(said("user", [{"type": "text"}]), HELLO), "wrong_type:content"),
        (chat(said("user", [["Hi"]]), HELLO), "wrong_type:content"),
        (chat(HI, said("assistant", None, tool_calls=[{"id": 1}])), "wrong_type:tool_calls"),
        (chat(HI, said("assistant", "Hello!", weight="high")), "wrong_type:weight"),
        (chat(HI, said("assistant", "Hello!", weight=-1)), "wrong_type:weight"),
        (chat(HI, HELLO, system=["x"]), "wrong_type:system"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str) -> None:
    assert code(value) == expected


def test_an_instruction_turn_is_the_users_unless_the_user_follows() -> None:
    assert spoken(one(chat(said("instruction", "Hi"), HELLO))) == PLAIN


def test_further_names_of_roles_by_option() -> None:
    french: JsonValue = {"conversation": [said("UTILISATEUR", "Hi"), said("ASSISTANT", "Hello!")]}
    assert spoken(one(french, roles={"utilisateur": "user"})) == PLAIN
    with pytest.raises(ValidationError, match="no role"):
        messages.Options.model_validate({"roles": {"UTILISATEUR": "visitor"}})


def test_text_parts_are_joined_by_a_blank_line() -> None:
    openai = said("user", [{"type": "text", "text": "Two titles."}, {"type": "text", "text": "Which one?"}, "Quick!"])
    llamafactory = said("assistant", [{"type": "text", "value": "The"}, {"type": "output_text", "text": "first."}])
    assert spoken(one(chat(openai, llamafactory))) == [
        ("user", "Two titles.\n\nWhich one?\n\nQuick!"),
        ("assistant", "The\n\nfirst."),
    ]


THOUGHT = said("assistant", [{"type": "reasoning", "value": "Easy."}, {"type": "text", "value": "Hello!"}])


def test_reasoning_goes_to_tags_or_into_the_text() -> None:
    made = one(chat(HI, THOUGHT))
    assert spoken(made) == PLAIN
    assert made.tags == {"message_fields": [{}, {"reasoning": ["Easy."]}]}
    made = one(chat(HI, THOUGHT), reasoning="text")
    assert made.messages[1]["content"] == "<think>\nEasy.\n</think>\n\nHello!"
    assert made.tags == {}
    beside = said("assistant", "Hello!", reasoning_content="Easy.")
    assert one(chat(HI, beside)).tags == {"message_fields": [{}, {"reasoning_content": "Easy."}]}
    assert one(chat(HI, beside), reasoning="text").messages == made.messages


def test_an_answer_of_reasoning_alone_is_empty() -> None:
    assert code(chat(HI, said("assistant", [{"type": "reasoning", "value": "Hm."}]))) == "empty_response"


CALL: JsonObject = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b": 2,  "a": 1}'}}
WRITTEN = '{"name": "add", "arguments": {"b": 2,  "a": 1}}'


def test_tool_calls_are_text_as_the_model_spelled_them_and_whole_in_the_tags() -> None:
    tools: JsonValue = [{"type": "function", "function": {"name": "add"}}]
    value = chat(
        HI, said("assistant", None, tool_calls=[CALL]), said("tool", "3", tool_call_id="c1"), HELLO, tools=tools
    )
    made = one(value)
    assert spoken(made)[1:3] == [("assistant", WRITTEN), ("tool", "3")]
    assert made.tags == {"tools": tools, "message_fields": [{}, {"tool_calls": [CALL]}, {"tool_call_id": "c1"}, {}]}


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (said("assistant", "Let me see.", tool_calls=[CALL]), f"Let me see.\n\n{WRITTEN}"),
        (said("assistant", None, function_call={"name": "f", "arguments": "raw"}), '{"name": "f", "arguments": "raw"}'),
        (said("assistant", [{"type": "tool_call", "value": '{"name": "f"}'}]), '{"name": "f"}'),
        (said("assistant", [{"type": "tool_use", "name": "f", "input": ["é"]}]), '{"name": "f", "arguments": ["é"]}'),
        ({"role": "assistant", "tool_calls": [CALL, CALL]}, f"{WRITTEN}\n\n{WRITTEN}"),
        (said("function_call", '{"name": "f"}'), '{"name": "f"}'),
    ],
)
def test_spellings_of_a_call(turn: JsonObject, text: str) -> None:
    made = one(chat(HI, turn))
    assert (made.messages[1]["role"], made.messages[1]["content"]) == ("assistant", text)


def test_arguments_never_smuggle_in_what_the_reader_cleaned() -> None:
    call: JsonObject = {"function": {"name": "f", "arguments": '{"x": "\\ud800\\u0000"}'}}
    content = one(chat(HI, said("assistant", None, tool_calls=[call]))).messages[1]["content"]
    assert content == '{"name": "f", "arguments": {"x": "\\ud800\\u0000"}}'


@pytest.mark.parametrize("name", ["weight", "loss_weight", "train"])
def test_weights_are_a_list_as_long_as_the_messages(name: str) -> None:
    first, last = said("assistant", "A.", **{name: 0}), said("assistant", "B.", **{name: 1.0})
    made = one(chat(said("system", ""), HI, first, HI, last, HI, HELLO))
    assert made.tags == {"weights": [0, 0, 0, 1, 0, 1]}
    assert len(made.messages) == 6


def test_a_weight_between_is_kept_and_true_is_one() -> None:
    assert one(chat(HI, said("assistant", "A.", weight=0.25))).tags == {"weights": [0, 0.25]}
    assert repr(one(chat(HI, said("assistant", "A.", train=True))).tags) == "{'weights': [0, 1]}"
    assert one(chat(HI, said("assistant", "A.", weight=None))).tags == {}


def test_weights_are_cut_with_the_messages() -> None:
    made = convert(chat(HI, said("assistant", "A.", weight=1), said("user", "And?", weight=0)))[0]
    assert isinstance(made, Converted)
    assert made.tags == {"weights": [0, 1]}


def test_a_number_as_content_is_its_text() -> None:
    assert spoken(one(chat(said("user", 2), said("assistant", True)))) == [("user", "2"), ("assistant", "true")]


def test_guessing() -> None:
    def sure(value: JsonValue) -> float:
        return messages.matches([value], "x.jsonl").confidence

    assert sure(chat(HI, HELLO)) == sure({"conversation": [HI]}) == sure({"conversations": [HI]}) > 0.95
    assert sure({"prompt": [HI], "completion": [HELLO]}) > 0.9
    assert 0.9 > sure({"prompt": "Hi", "response": "Hello!"}) > 0.3
    assert sure({"conversations": [{"from": "human", "value": "Hi"}]}) == 0
    assert sure({"prompt": [HI], "chosen": [HELLO], "rejected": [HELLO]}) == 0
    assert sure({"instruction": "a", "input": "", "output": "b", "prompt": "c", "response": "d"}) == 0
