"""Chosen and rejected answers: what becomes the prompt, what is refused and why, in every form that is read."""

from types import ModuleType

import pytest
from pydantic import JsonValue

from caravan.converters.schema import ConvertedPair, JsonObject, Message, Preference, RawRow, Rejected, arrow_schema
from caravan.converters.sources import hh_rlhf, messages, sharegpt, sharegpt_dpo, ultrafeedback


def convert(module: ModuleType, row: JsonValue, **options: object) -> ConvertedPair | Rejected:
    (made,) = module.convert([RawRow(6, row)], module.Options.model_validate(options))
    assert isinstance(made, ConvertedPair | Rejected)
    assert made.rows == (6,)
    return made


def pair(module: ModuleType, row: JsonValue, **options: object) -> ConvertedPair:
    made = convert(module, row, **options)
    assert isinstance(made, ConvertedPair), made
    return made


def code(module: ModuleType, row: JsonValue, **options: object) -> str:
    made = convert(module, row, **options)
    assert isinstance(made, Rejected), made
    return made.code


def short(made: list[Message]) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in made]


def said(role: str, content: JsonValue, **more: JsonValue) -> JsonObject:
    return {"role": role, "content": content, **more}


def user(content: str) -> JsonObject:
    return said("user", content)


def assistant(content: str) -> JsonObject:
    return said("assistant", content)


def test_the_schema_is_what_a_trainer_of_preferences_takes() -> None:
    schema = arrow_schema(Preference)
    assert schema.names == ["prompt", "chosen", "rejected", "id", "source", "tags", "provenance", "licence"]
    assert len({str(schema.field(name).type) for name in ("prompt", "chosen", "rejected")}) == 1


# hh-rlhf


def human(*texts: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[n % 2]}: {text}" for n, text in enumerate(texts))


def hh(chosen: JsonValue, rejected: JsonValue, **more: JsonValue) -> JsonObject:
    return {"chosen": chosen, "rejected": rejected, **more}


def test_hh_the_shared_beginning_is_the_prompt_and_white_space_stays() -> None:
    made = pair(
        hh_rlhf, hh(human("How? ", "So.", "And\n\nthen?", " This."), human("How? ", "So.", "And\n\nthen?", "No. "))
    )
    assert short(made.prompt) == [("user", "How? "), ("assistant", "So."), ("user", "And\n\nthen?")]
    assert short(made.chosen) == [("assistant", " This.")]
    assert short(made.rejected) == [("assistant", "No. ")]
    assert (made.tags, made.own_id, made.licence) == ({}, None, None)


def test_hh_white_space_around_a_turn_parts_no_dialogues() -> None:
    made = pair(hh_rlhf, hh(human("How? ", "So."), human("How?", "No.")))
    assert short(made.prompt) == [("user", "How? ")]


def test_hh_a_mark_inside_a_line_is_text() -> None:
    made = pair(hh_rlhf, hh(human("How?", "He said Human: so.\nAssistant: so."), human("How?", "No.")))
    assert short(made.chosen) == [("assistant", "He said Human: so.\nAssistant: so.")]


def test_hh_two_turns_of_one_speaker_stay_two() -> None:
    dialogue = "\n\nHuman: How?\n\nHuman: Please.\n\nAssistant: {}"
    made = pair(hh_rlhf, hh(dialogue.format("So."), dialogue.format("No.")))
    assert short(made.prompt) == [("user", "How?"), ("user", "Please.")]


def test_hh_with_a_prompt_of_its_own() -> None:
    made = pair(hh_rlhf, hh(" So.", " No.", prompt="\n\nHuman: How?\n\nAssistant:", response=" So."))
    assert [short(part) for part in (made.prompt, made.chosen, made.rejected)] == [
        [("user", "How?")],
        [("assistant", "So.")],
        [("assistant", "No.")],
    ]
    assert made.tags == {"response": " So."}
    repeated = hh(human("How?", "So."), human("How?", "No."), prompt="\n\nHuman: How?\n\nAssistant:")
    assert short(pair(hh_rlhf, repeated).prompt) == [("user", "How?")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("x", "not_an_object"),
        ({"chosen": human("How?", "So.")}, "missing_field:rejected"),
        (hh(None, human("How?", "No.")), "wrong_type:chosen"),
        (hh([], human("How?", "No.")), "wrong_type:chosen"),
        (hh("So.", "No."), "no_turns"),
        (hh("", human("How?", "No.")), "no_turns"),
        (hh("Read: " + human("How?", "So."), human("How?", "No.")), "text_before_first_turn"),
        (hh(human("How?", "So."), human("How?", "So.")), "equal_answers"),
        (hh(human("How?", "So."), human("How?", " So. ")), "equal_answers"),
        (hh(human("How?", ""), human("How?", "No.")), "empty_response"),
        (hh(human("How?", "So."), "\n\nHuman: How?\n\nAssistant:"), "empty_response"),
        (hh(human("How?", "So.", " ", "This."), human("How?", "So.", " ", "No.")), "empty_prompt"),
        (hh(human("How?", "", "And?", "This."), human("How?", "", "And?", "No.")), "empty_response"),
        (hh(human("How?", "So.", "And?", "This."), human("How?", "No.", "Why?", "No.")), "diverge_early"),
        (hh(human("How?", "So.", "And?", "This."), human("How?", "So.", "Why?", "No.")), "diverge_early"),
        (hh(human("How?", "So.", "And?", "This."), human("How?", "No.")), "diverge_early"),
        (hh(human("How?", "So."), human("Why?", "No.")), "no_shared_prompt"),
        (hh(human("How?", "So.", "And?"), human("How?", "No.")), "ends_with_user"),
        (hh(human("How?", "So."), human("How?", "No.", "And?")), "ends_with_user"),
        (hh(human("How?"), human("How?", "No.")), "no_answer:chosen"),
        (hh(human("How?", "So.", "And?", "This."), human("How?", "So.")), "no_answer:rejected"),
        (hh(human("How?", "So.", "And?", "This."), human("How?", "So.", "And?")), "no_answer:rejected"),
        (hh("\n\nAssistant: So.", "\n\nAssistant: No."), "no_shared_prompt"),
    ],
)
def test_hh_what_is_refused_and_its_code(row: JsonValue, expected: str) -> None:
    assert code(hh_rlhf, row) == expected


# UltraFeedback and TRL's layouts

SCORES: JsonObject = {"score_chosen": 8.0, "score_rejected": 8.0}


def test_ultrafeedback_as_published() -> None:
    chosen: JsonValue = [user("How?"), assistant("So.")]
    row: JsonObject = {"prompt": "How?", "prompt_id": "p1", "chosen": chosen, "messages": chosen, "source": "web"}
    made = pair(ultrafeedback, row | {"rejected": [user("How?"), assistant("No.")]} | SCORES)
    assert [short(part) for part in (made.prompt, made.chosen, made.rejected)] == [
        [("user", "How?")],
        [("assistant", "So.")],
        [("assistant", "No.")],
    ]
    assert made.tags == {"source": "web", "score_chosen": 8.0, "score_rejected": 8.0}, "ties stay"
    assert made.own_id == "p1"


LAYOUTS: dict[str, JsonObject] = {
    "implicit": {
        "chosen": [said("system", "Be brief."), user("How?"), assistant("So.")],
        "rejected": [said("system", "Be brief."), user("How?"), assistant("No.")],
    },
    "explicit": {
        "prompt": [said("system", "Be brief."), user("How?")],
        "chosen": [assistant("So.")],
        "rejected": [assistant("No.")],
    },
    "a prompt that is repeated": {
        "prompt": [said("system", "Be brief."), user("How?")],
        "chosen": [said("system", "Be brief."), user("How?"), assistant("So.")],
        "rejected": [user("How?"), assistant("No.")],
    },
    "a prompt of the system alone": {
        "prompt": [said("system", "Be brief.")],
        "chosen": [user("How?"), assistant("So.")],
        "rejected": [user("How?"), assistant("No.")],
    },
    "texts": {"system": "Be brief.", "prompt": "How?", "chosen": "So.", "rejected": "No."},
    "question": {"system": "Be brief.", "question": "How?", "chosen": "So.", "rejected": "No."},
    "instruction": {"system": "Be brief.", "instruction": "How?", "input": "", "chosen": "So.", "rejected": "No."},
    "one message a side": {
        "messages": [said("system", "Be brief."), user("How?")],
        "chosen": assistant("So."),
        "rejected": assistant("No."),
    },
    "whole and alone": {
        "system": "Be brief.",
        "prompt": "How?",
        "chosen": [user("How?"), assistant("So.")],
        "rejected": [assistant("No.")],
    },
    "other names": {
        "system": "Be brief.",
        "history": [],
        "question": "How?",
        "response_chosen": "So.",
        "response_rejected": "No.",
    },
    "typed parts": {
        "chosen_messages": [
            said("system", [{"type": "text", "value": "Be brief."}]),
            user("How?"),
            said("assistant", [{"type": "text", "value": "So."}]),
        ],
        "rejected_messages": [said("system", "Be brief."), user("How?"), assistant("No.")],
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_preference_in_all_layouts(layout: str) -> None:
    row = LAYOUTS[layout]
    assert ultrafeedback.matches([row], "x.json").confidence >= 0.9
    made = pair(ultrafeedback, row | SCORES)
    assert short(made.prompt) == [("system", "Be brief."), ("user", "How?")]
    assert short(made.chosen) == [("assistant", "So.")]
    assert short(made.rejected) == [("assistant", "No.")]
    assert {k: v for k, v in made.tags.items() if k != "history"} == SCORES


def test_history_and_input_come_before_the_answer() -> None:
    row: JsonObject = {
        "instruction": "Count.",
        "input": "1, 2",
        "history": [["How?", "So."]],
        "chosen": "3",
        "rejected": "4",
    }
    made = pair(ultrafeedback, row)
    assert short(made.prompt) == [("user", "How?"), ("assistant", "So."), ("user", "Count.\n\n1, 2")]
    assert made.tags == {}
    assert pair(ultrafeedback, row | {"input": "<noinput>"}).tags == {"no_input": "<noinput>"}


def test_a_prompt_text_that_no_user_says_stays_a_tag() -> None:
    sides: JsonObject = {"chosen": [user("How?"), assistant("So.")], "rejected": [user("How?"), assistant("No.")]}
    assert pair(ultrafeedback, sides | {"prompt": "Be brief. How?"}).tags == {"prompt": "Be brief. How?"}
    assert pair(ultrafeedback, sides | {"messages": [user("Who?")]}).tags == {"messages": [user("Who?")]}


def test_tools_in_an_answer_belong_to_it() -> None:
    asked = user("When is high water?")
    call = said("assistant", None, tool_calls=[{"function": {"name": "tide", "arguments": {}}}])
    row: JsonObject = {"prompt": [asked], "chosen": [call, said("tool", "17:40"), assistant("At 17:40.")]}
    made = pair(ultrafeedback, row | {"rejected": [assistant("At noon.")], "tools": "[]"})
    assert [m["role"] for m in made.chosen] == ["assistant", "tool", "assistant"]
    assert made.tags["tools"] == "[]"
    other = row | {"rejected": [call, said("tool", "17:40"), assistant("At noon.")]}
    assert [m["role"] for m in pair(ultrafeedback, other).prompt] == ["user", "assistant", "tool"]
    assert code(ultrafeedback, row | {"rejected": [call, said("tool", "9:00"), assistant("At 9.")]}) == "diverge_early"
    assert code(ultrafeedback, row | {"rejected": [call, said("tool", "17:40")]}) == "no_answer:rejected"
    assert code(ultrafeedback, row | {"rejected": [assistant("I look."), said("tool", "17:40")]}) == "ends_with_tool"


def test_weights_and_further_fields_of_messages_are_kept_by_part() -> None:
    made = pair(
        ultrafeedback,
        {
            "chosen": [said("user", "How?", weight=0), said("assistant", "So.", name="a")],
            "rejected": [user("How?"), assistant("No.")],
        },
    )
    assert made.tags == {
        "weights": {"prompt": [0], "chosen": [1], "rejected": [1]},
        "message_fields": {"prompt": [{}], "chosen": [{"name": "a"}], "rejected": [{}]},
    }


def test_reasoning_licence_and_roles_as_in_chat_rows() -> None:
    row: JsonObject = {"prompt": [said("UTILISATEUR", "How?")], "license": "CC0-1.0", "id": 7, "rejected": "No."}
    row["chosen"] = [said("assistant", "So.", reasoning_content="Hm.")]
    assert code(ultrafeedback, row) == "unknown_role:UTILISATEUR"
    made = pair(ultrafeedback, row, roles={"UTILISATEUR": "user"}, reasoning="text")
    assert short(made.chosen) == [("assistant", "<think>\nHm.\n</think>\n\nSo.")]
    assert (made.licence, made.own_id) == ("CC0-1.0", "7")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([], "not_an_object"),
        ({"prompt": "How?"}, "missing_field:chosen"),
        ({"prompt": "How?", "chosen": "So."}, "missing_field:rejected"),
        ({"chosen": "So.", "rejected": "No."}, "missing_field:prompt"),
        ({"prompt": None, "chosen": "So.", "rejected": "No."}, "missing_field:prompt"),
        ({"prompt": "How?", "chosen": None, "rejected": "No."}, "wrong_type:chosen"),
        ({"prompt": "How?", "chosen": {}, "rejected": "No."}, "missing_field:role"),
        ({"prompt": "How?", "chosen": [], "rejected": "No."}, "no_answer:chosen"),
        ({"prompt": {"a": 1}, "chosen": "So.", "rejected": "No."}, "wrong_type:prompt"),
        ({"prompt": [], "chosen": "So.", "rejected": "No."}, "no_shared_prompt"),
        ({"prompt": " ", "chosen": "So.", "rejected": "No."}, "empty_prompt"),
        ({"prompt": "How?", "chosen": "So.", "rejected": "So."}, "equal_answers"),
        ({"prompt": "How?", "chosen": "So.", "rejected": " "}, "empty_response"),
        (
            {"chosen": [user("How?"), assistant("So.")], "rejected": [user("Why?"), assistant("No.")]},
            "no_shared_prompt",
        ),
        (
            {
                "prompt": [user("Who?")],
                "chosen": [user("How?"), assistant("So.")],
                "rejected": [user("How?"), assistant("No.")],
            },
            "prompt_disagrees",
        ),
        (
            {
                "prompt": [said("system", "Be long."), user("How?")],
                "chosen": [said("system", "Be brief."), user("How?"), assistant("So.")],
                "rejected": [user("How?"), assistant("No.")],
            },
            "prompt_disagrees",
        ),
        ({"instruction": "How?", "history": [["a"]], "chosen": "So.", "rejected": "No."}, "wrong_type:history"),
    ],
)
def test_ultrafeedback_what_is_refused_and_its_code(row: JsonValue, expected: str) -> None:
    assert code(ultrafeedback, row) == expected


# ShareGPT's form


def turn(who: str, text: JsonValue) -> JsonObject:
    return {"from": who, "value": text}


CONVERSATION: JsonValue = [turn("system", "Be brief."), turn("human", "How?")]


@pytest.mark.parametrize("chosen", ["So.", turn("gpt", "So."), [turn("gpt", "So.")]], ids=["text", "turn", "list"])
def test_sharegpt_answers_as_text_turn_or_list(chosen: JsonValue) -> None:
    row: JsonObject = {"conversations": CONVERSATION, "chosen": chosen, "rejected": turn("gpt", "No."), "tools": "[]"}
    assert sharegpt_dpo.matches([row], "x.json").confidence > 0.95
    made = pair(sharegpt_dpo, row)
    assert short(made.prompt) == [("system", "Be brief."), ("user", "How?")]
    assert (short(made.chosen), short(made.rejected)) == ([("assistant", "So.")], [("assistant", "No.")])
    assert made.tags == {"tools": "[]"}


def test_sharegpt_calls_and_observations_are_part_of_the_prompt() -> None:
    talk: JsonValue = [turn("human", "How?"), turn("function_call", "{}"), turn("observation", "5")]
    made = pair(sharegpt_dpo, {"conversations": talk, "chosen": "Five.", "rejected": "Six."})
    assert [m["role"] for m in made.prompt] == ["user", "assistant", "tool"]


def test_sharegpt_a_system_text_comes_first_unless_a_turn_says_such() -> None:
    row: JsonObject = {
        "conversations": [turn("human", "How?")],
        "chosen": "So.",
        "rejected": "No.",
        "system": "Be kind.",
    }
    assert short(pair(sharegpt_dpo, row).prompt)[0] == ("system", "Be kind.")
    made = pair(sharegpt_dpo, row | {"conversations": CONVERSATION})
    assert short(made.prompt)[0] == ("system", "Be brief.")
    assert made.tags == {"system": "Be kind."}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chosen": "So.", "rejected": "So."}, "equal_answers"),
        ({"chosen": "", "rejected": "So."}, "empty_response"),
        ({"chosen": turn("gpt", None), "rejected": "No."}, "empty_response"),
        ({"chosen": turn("narrator", "So."), "rejected": "No."}, "unknown_role:narrator"),
        ({"chosen": turn("human", "So."), "rejected": "No."}, "prompt_disagrees"),
        ({"conversations": []}, "no_shared_prompt"),
        ({"conversations": None}, "wrong_type:conversations"),
        ({"conversations": [turn("system", "Be brief.")]}, "no_shared_prompt"),
        ({"conversations": [turn("human", "")]}, "empty_prompt"),
        ({"conversations": ["How?"]}, "wrong_type:conversations"),
        ({"conversations": [{"from": "human"}]}, "missing_field:value"),
    ],
)
def test_sharegpt_what_is_refused_and_its_code(change: JsonObject, expected: str) -> None:
    row: JsonObject = {"conversations": CONVERSATION, "chosen": "So.", "rejected": "No."}
    assert code(sharegpt_dpo, row | change) == expected
    del row["rejected"]
    assert code(sharegpt_dpo, row) == "missing_field:rejected"


def test_guessing_keeps_the_forms_apart() -> None:
    dialogues = hh(human("How?", "So."), human("How?", "No."))
    lists: JsonObject = {"chosen": [user("How?"), assistant("So.")], "rejected": [user("How?"), assistant("No.")]}
    shared: JsonObject = {"conversations": CONVERSATION, "chosen": "So.", "rejected": "No."}
    readers: list[ModuleType] = [hh_rlhf, ultrafeedback, sharegpt_dpo]
    for row, reader in ((dialogues, hh_rlhf), (lists, ultrafeedback), (shared, sharegpt_dpo)):
        sure = {other: other.matches([row], "data.json").confidence for other in readers}
        assert max(sure, key=lambda other: sure[other]) is reader
        assert sorted(sure.values())[1] == 0
    prompted = hh(" So.", " No.", prompt="\n\nHuman: How?\n\nAssistant:")
    assert hh_rlhf.matches([prompted], "x").confidence > ultrafeedback.matches([prompted], "x").confidence
    with_messages: JsonObject = {**lists, "messages": lists["chosen"]}
    assert ultrafeedback.matches([with_messages], "x").confidence > messages.matches([with_messages], "x").confidence
    assert sharegpt.matches([shared], "x").confidence == 0
    for reader in readers:
        assert reader.matches([{"chosen": "So.", "rejected": "No."}], "prefs.json").confidence == 0
        assert reader.matches([], "prefs.json").confidence == 0
