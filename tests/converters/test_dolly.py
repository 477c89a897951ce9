"""Dolly, and the rule for citation marks: what goes, and above all what must stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import dolly
from caravan.converters.sources.dolly import without_marks


def convert(value: JsonValue, **options: object) -> Converted | Rejected:
    (made,) = dolly.convert([RawRow(2, value)], dolly.Options.model_validate(options))
    assert made.rows == (2,)
    return made


def one(value: JsonValue, **options: object) -> Converted:
    made = convert(value, **options)
    assert isinstance(made, Converted)
    return made


def row(**fields: JsonValue) -> JsonObject:
    return {
        "instruction": "When was it built?",
        "context": "It was built in 1932.[4][note 2] It stands.",
        "response": "In 1932.[4]",
        "category": "closed_qa",
        **fields,
    }


def test_context_follows_the_instruction_and_the_category_is_a_tag() -> None:
    made = one(row())
    assert [m["content"] for m in made.messages] == [
        "When was it built?\n\nIt was built in 1932. It stands.",
        "In 1932.",
    ]
    assert made.tags == {"category": "closed_qa", "citation_marks": 3}
    assert [f["name"] for f in made.fields] == ["instruction", "context", "response"]


def test_marks_stay_on_request() -> None:
    made = one(row(), citation_marks="keep")
    assert made.messages[1]["content"] == "In 1932.[4]"
    assert "citation_marks" not in made.tags


def test_alpagasus_says_input_and_output() -> None:
    made = one({"instruction": "Sum up.", "category": "summarization", "input": "Long.[1]", "output": "Short."})
    assert [m["content"] for m in made.messages] == ["Sum up.\n\nLong.", "Short."]


def test_an_empty_context_leaves_the_instruction_alone() -> None:
    assert one(row(context="")).messages[0]["content"] == "When was it built?"
    assert one(row(context="n/a")).tags["no_input"] == "n/a"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "not_an_object"),
        ({"instruction": "x", "context": ""}, "missing_field:response"),
        (row(context=["a"]), "wrong_type:context"),
        (row(response=" "), "empty_response"),
        (row(response="[3]"), None),
        (row(instruction="", context=""), "empty_prompt"),
    ],
)
def test_what_is_refused_and_its_code(value: JsonValue, expected: str | None) -> None:
    made = convert(value)
    assert (made.code if isinstance(made, Rejected) else None) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("It was built in 1932.[4] It stands.", "It was built in 1932. It stands."),
        ("Two marks.[1][23] Next.", "Two marks. Next."),
        ("in Paris[3] and in 1950[12], he", "in Paris and in 1950, he"),
        ('he said "no"[5].', 'he said "no".'),
        ("a claim[citation needed] here", "a claim here"),
        ("a claim.[better source needed]\n", "a claim.\n"),
        ("once,[when?] or by some[who?]", "once, or by some"),
        ("text[note 3] and[nb 1] and (1900)[T 2]", "text and and (1900)"),
        ("text.[a] More", "text. More"),
        ("gone.[permanent dead link]", "gone."),
        ("odd.[dubious – discuss][7]", "odd."),
        ("第二次[3]年", "第二次年"),
    ],
)
def test_marks_that_go(before: str, after: str) -> None:
    assert without_marks(before) == (after, before.count("[") - after.count("["))


@pytest.mark.parametrize(
    "text",
    [
        "values[0] + values[2]",
        "x = arr[1]",
        "print(names[2])",
        "matrix[2][3] is above matrix[0][0]",
        "take a[1] first",
        "my_list[3] and rowCount[2] and x1[4]",
        "see [12](https://example.org) and the end.[3](https://example.org)",
        "[1]: https://example.org",
        "the list [1] has one item",
        "[4] is where it begins",
        "the employee[s] and word[s]",
        "is it true[?]",
        "the year [1932] and he [the king] left",
        "Dear [name], on [date]",
        "pick one of {[3]}",
        "chapter.[0]",
        "a long number.[12345]",
    ],
)
def test_what_stays(text: str) -> None:
    assert without_marks(text) == (text, 0)


@given(st.text(alphabet="ab1.[]() \n=[12][note 3]", max_size=60))
def test_removing_only_removes_brackets_and_is_counted(text: str) -> None:
    left, gone = without_marks(text)
    assert (gone == 0) == (left == text)
    assert len(left) <= len(text) - 3 * gone
    assert left.count("(") == text.count("(")


def test_guessing() -> None:
    sure = dolly.matches([row()] * 3, "x.jsonl").confidence
    assert sure > 0.95
    selected: JsonObject = {"instruction": "a", "category": "open_qa", "input": "", "output": "b"}
    assert dolly.matches([selected] * 3, "x.json").confidence > 0.9
    assert dolly.matches([{**selected, "category": "poems"}] * 3, "x.json").confidence == 0
