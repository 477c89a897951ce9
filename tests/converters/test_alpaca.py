"""Alpaca, its relatives, and the chain-of-thought files that share its keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from caravan.converters.pairs import is_no_input, is_no_output
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import alpaca, alpaca_cot


def convert(value: JsonValue, **options: object) -> list[Converted | Rejected]:
    return list(alpaca.convert([RawRow(3, value)], alpaca.Options.model_validate(options)))


def one(value: JsonValue, **options: object) -> Converted:
    (made,) = convert(value, **options)
    assert isinstance(made, Converted)
    assert made.rows == (3,)
    return made


def code(value: JsonValue) -> str:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    assert made.rows == (3,)
    return made.code


def row(**fields: JsonValue) -> JsonObject:
    return {"instruction": "Name the capital.", "input": "Peru", "output": "Lima", **fields}


def named(made: Converted) -> dict[str, str]:
    return {f["name"]: made.messages[f["message"]]["content"][f["start"] : f["end"]] for f in made.fields}


def test_instruction_and_input_are_joined_by_one_blank_line_and_kept_apart_in_provenance() -> None:
    made = one(row(id=12, topic="geography"))
    assert made.messages == [
        {"role": "user", "content": "Name the capital.\n\nPeru"},
        {"role": "assistant", "content": "Lima"},
    ]
    assert named(made) == {"instruction": "Name the capital.", "input": "Peru", "output": "Lima"}
    assert (made.own_id, made.tags) == ("12", {"topic": "geography"})


def test_white_space_is_the_sources_own() -> None:
    made = one(row(instruction=" Name it.\n", input="\tPeru ", output="Lima\n\n"))
    assert [m["content"] for m in made.messages] == [" Name it.\n\n\n\tPeru ", "Lima\n\n"]


@pytest.mark.parametrize("empty", ["", " \n", None, float("nan")])
def test_an_input_that_is_empty_null_or_nan_was_left_out(empty: JsonValue) -> None:
    assert one(row(input=empty)).messages[0]["content"] == "Name the capital."


def test_input_may_be_missing() -> None:
    assert one({"instruction": "Name it.", "output": "Lima"}).messages[0]["content"] == "Name it."


@pytest.mark.parametrize(
    "marker",
    [
        "<noinput>", "No input", "noinput", "No Input.", "No input required.", "no input needed", "No input provided",
        "N/A", "none", "<none>", "< noinput >", "\\<noinput\\>", "`<noinput>`", "<noinput", "[noinput]", "(no input)",
        "<N/A>", "<noinput>,", "Not applicable", " NoInput ", "<empty>", "[null]",
    ],
)  # fmt: skip
def test_spellings_of_no_input(marker: str) -> None:
    made = one(row(input=marker))
    assert made.messages[0]["content"] == "Name the capital."
    assert made.tags == {"no_input": marker}


@pytest.mark.parametrize(
    "word", ["Empty", "null", "Na", "nil", "No input was given in 1990", "None of these", "nonesuch"]
)
def test_words_that_a_task_can_be_about_are_inputs(word: str) -> None:
    assert not is_no_input(word)
    assert one(row(input=word)).messages[0]["content"].endswith(word)


@pytest.mark.parametrize(
    "marker", ["<nooutput>", "<No Output>", "no output", "<NoOutput>", "N/A", "No answer.", "<none>"]
)
def test_spellings_of_no_output_are_refused(marker: str) -> None:
    assert code(row(output=marker)) == "no_output_marker"


@pytest.mark.parametrize("answer", ["None", "null", "Na", "Nil", "empty", "none of them"])
def test_short_answers_are_answers(answer: str) -> None:
    assert not is_no_output(answer)
    assert one(row(output=answer)).messages[1]["content"] == answer


@given(st.text(max_size=30))
def test_a_marker_is_the_whole_field_or_none_of_it(text: str) -> None:
    assert not is_no_input(f"{text} and Peru")
    assert not is_no_output(f"{text} and Lima")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "not_an_object"),
        (["a", "b", "c"], "not_an_object"),
        ("text", "not_an_object"),
        ({}, "missing_field:instruction"),
        ({"instruction": "x", "input": ""}, "missing_field:output"),
        (row(output=None), "wrong_type:output"),
        (row(output=float("nan")), "wrong_type:output"),
        (row(output=["Lima"]), "wrong_type:output"),
        (row(input={"a": 1}), "wrong_type:input"),
        (row(instruction=None), "wrong_type:instruction"),
        (row(output=""), "empty_response"),
        (row(output=" \n\t"), "empty_response"),
        (row(instruction=" ", input=""), "empty_prompt"),
        (row(history="earlier"), "wrong_type:history"),
        (row(history=[["only one"]]), "wrong_type:history"),
        (row(history=[["question", None]]), "wrong_type:history"),
        (row(history=[["question", " "]]), "empty_response"),
        (row(system=[]), "wrong_type:system"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str) -> None:
    assert code(value) == expected


@pytest.mark.parametrize(("label", "text"), [(5, "5"), (0, "0"), (0.5, "0.5"), (True, "true"), (False, "false")])
def test_a_label_that_lost_its_quotes_is_the_text_that_json_spells(label: JsonValue, text: str) -> None:
    assert one(row(output=label)).messages[1]["content"] == text


def test_gpteacher_says_response() -> None:
    made = one({"instruction": "Greet.", "input": "", "response": "Good day."})
    assert made.messages[1]["content"] == "Good day."
    assert named(made) == {"instruction": "Greet.", "response": "Good day."}
    assert made.tags == {}


def test_code_alpaca_says_it_twice_and_a_second_answer_that_differs_is_kept_as_a_tag() -> None:
    assert one(row(response="Lima")).tags == {}
    made = one(row(response="Cusco"))
    assert made.messages[1]["content"] == "Lima"
    assert made.tags == {"response": "Cusco"}


def test_history_and_system_come_first() -> None:
    made = one(row(history=[["Hi", "Hello"], ["Ready?", "Yes"]], system="Be brief."))
    assert [m["role"][0] for m in made.messages] == ["s", "u", "a", "u", "a", "u", "a"]
    assert made.messages[0]["content"] == "Be brief."
    assert made.messages[-2]["content"] == "Name the capital.\n\nPeru"
    assert named(made)["input"] == "Peru"
    assert named(made)["output"] == "Lima"


BILINGUAL: JsonObject = {
    "en_instruction": "Name the capital.",
    "en_input": "Peru",
    "en_output": "Lima",
    "zh_instruction": "说出首都。",
    "zh_input": "秘鲁",
    "zh_output": "利马",
    "metadata": {"score": 5},
}


def test_a_bilingual_row_gives_one_example_for_each_language_in_its_own_order() -> None:
    made = convert(BILINGUAL)
    assert [m.messages[1]["content"] for m in made if isinstance(m, Converted)] == ["Lima", "利马"]
    assert [m.tags for m in made if isinstance(m, Converted)] == [
        {"metadata": {"score": 5}, "language_prefix": "en"},
        {"metadata": {"score": 5}, "language_prefix": "zh"},
    ]


@pytest.mark.parametrize("prefix", ["zh", "zh_"])
def test_one_language_on_request(prefix: str) -> None:
    assert one(BILINGUAL, language_prefix=prefix).messages[0]["content"] == "说出首都。\n\n秘鲁"


def test_a_language_that_fails_is_lost_alone() -> None:
    english, refused = convert({**BILINGUAL, "zh_output": ""})
    assert isinstance(english, Converted)
    assert isinstance(refused, Rejected)
    assert refused.code == "empty_response"
    assert refused.lost == {"zh_instruction": "说出首都。", "zh_input": "秘鲁", "zh_output": ""}


def test_a_language_that_is_not_there_is_a_missing_field() -> None:
    (made,) = convert(BILINGUAL, language_prefix="fr")
    assert isinstance(made, Rejected)
    assert made.code == "missing_field:fr_instruction"


def test_guessing_knows_the_relatives_and_leaves_strangers_alone() -> None:
    def sure(value: JsonObject) -> float:
        return alpaca.matches([value] * 5, "x.json").confidence

    assert sure(row()) == sure(row(response="Lima")) == sure(BILINGUAL) == 0.9
    assert sure({"instruction": "a", "input": "b", "response": "c"}) == 0.9
    assert sure(row()) > sure(row(prompt="...")) > sure({"instruction": "a", "output": "b"}) > 0.3
    assert sure({"question": "a", "answer": "b"}) == 0
    assert alpaca.matches([row()] * 19 + [None], "x.json").confidence == 0.9


def cot_rows(output: str) -> list[JsonValue]:
    return [row(instruction=f"How many? Case {n}", input="", output=output) for n in range(6)]


def test_chains_of_thought_are_told_by_name_or_by_their_conclusions() -> None:
    plain, argued = cot_rows("Four."), cot_rows("Two and two are four. The answer is 4.")
    assert alpaca_cot.matches(plain, "aqua_cot_train.json").confidence > 0.9
    assert alpaca_cot.matches(plain, "cotton_shop.json").confidence < 0.3
    assert alpaca_cot.matches(argued, "aqua_train.json").confidence > 0.9
    assert alpaca_cot.matches([*argued, row()], "aqua_cot_train.json").confidence == 0


def test_chains_of_thought_convert_as_alpaca_does_and_carry_a_tag() -> None:
    (made,) = alpaca_cot.convert([RawRow(1, row(level=2))], alpaca_cot.Options())
    assert isinstance(made, Converted)
    assert made.messages == one(row()).messages
    assert made.tags == {"level": 2, "chain_of_thought": True}
    (refused,) = alpaca_cot.convert([RawRow(1, row(output=""))], alpaca_cot.Options())
    assert isinstance(refused, Rejected)
