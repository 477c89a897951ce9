"""The FLAN family: four raw formats, told apart by the shape of a row."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import flan

SAMPLE = Path(flan.__file__).parents[1] / "samples" / "flan.jsonl"
COT_LINES = [
    r"Which of these floats?\nOptions:\n(A) a cork\n(B) a coin"
    + "\t(A)\t"
    + "Cork holds air, so it is lighter than water.",
    "A bus has 40 seats and 13 are taken. How many are free?\t27\t40 - 13 = 27.\u2028So 27 seats are free.",
    'Did the poet write "The Raven" before 1900?\tyes\t"The Raven" appeared in 1845.\\\\nThat is before 1900.',
    "What is the gradient sign, and when is a \\neq b?\tA nabla, \\nabla!\tIt is an upside-down delta.",
]


def task(**fields: JsonValue) -> JsonObject:
    """A Super-NaturalInstructions task with two positive examples and three instances."""
    return {
        "Contributors": ["Ada Example"],
        "Categories": ["Word Semantics"],
        "Definition": ["Write a word that rhymes with the given one."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [
            {"input": "light", "output": "night", "explanation": "Both end in -ight."},
            {"input": "cold", "output": "bold", "explanation": ""},
        ],
        "Negative Examples": [{"input": "tree", "output": "branch", "explanation": "No rhyme."}],
        "Instances": [
            {"id": "task9001-aa", "input": "moon", "output": ["spoon", "June", "tune"]},
            {"id": "task9001-bb", "input": "light", "output": ["kite"]},
            {"id": "task9001-cc", "input": "stone", "output": ["bone"]},
        ],
        "Instance License": ["CC BY 4.0"],
        **fields,
    }


def convert(value: JsonValue, **options: object) -> list[Converted | Rejected]:
    return list(flan.convert([RawRow(7, value)], flan.Options.model_validate(options)))


def one(value: JsonValue, **options: object) -> Converted:
    (made,) = convert(value, **options)
    assert isinstance(made, Converted)
    return made


def texts(made: Converted | Rejected) -> tuple[str, str]:
    assert isinstance(made, Converted)
    assert [m["role"] for m in made.messages] == ["user", "assistant"]
    return made.messages[0]["content"], made.messages[1]["content"]


def field_texts(made: Converted) -> dict[str, str]:
    return {f["name"]: made.messages[f["message"]]["content"][f["start"] : f["end"]] for f in made.fields}


def test_flan_v2_keeps_texts_as_given_and_all_else_as_tags() -> None:
    row: JsonObject = {
        "inputs": "  Q: 2 + 2?\n",
        "targets": "4 ",
        "task_source": "CoT",
        "task_name": "sums",
        "template_type": "zs_opt",
        "_template_idx": 3,
    }
    made = one(row)
    assert texts(made) == ("  Q: 2 + 2?\n", "4 ")
    assert made.tags == {"task_source": "CoT", "task_name": "sums", "template_type": "zs_opt", "_template_idx": 3}
    assert field_texts(made) == {"inputs": "  Q: 2 + 2?\n", "targets": "4 "}
    assert one({"inputs": "a", "targets": "b", "task": "x"}).tags == {"task": "x"}


def test_cot_cells_get_their_newlines_and_one_response_rule() -> None:
    made = [one(list(line.split("\t"))) for line in COT_LINES]
    assert texts(made[0]) == (
        "Which of these floats?\nOptions:\n(A) a cork\n(B) a coin",
        "Cork holds air, so it is lighter than water.\nSo the answer is (A).",
    )
    assert texts(made[1])[1] == "40 - 13 = 27.\u2028So 27 seats are free.\nSo the answer is 27."
    assert texts(made[2]) == (
        'Did the poet write "The Raven" before 1900?',
        '"The Raven" appeared in 1845.\\\nThat is before 1900.\nSo the answer is yes.',
    )
    assert texts(made[3])[0] == "What is the gradient sign, and when is a \\neq b?"
    assert texts(made[3])[1].endswith("So the answer is A nabla, \\nabla!")
    assert field_texts(made[0]) == {
        "question": "Which of these floats?\nOptions:\n(A) a cork\n(B) a coin",
        "rationale": "Cork holds air, so it is lighter than water.",
        "answer": "(A)",
    }


def test_cot_without_a_rationale_is_the_answer_alone() -> None:
    assert texts(one(["Is ice cold?", "yes", " "]))[1] == "So the answer is yes."


def test_p3_loses_end_mark_and_the_newline_between() -> None:
    made = one({"prompt": "Label?\n\n", "completion": "Sport<|endoftext|>", "dataset": "news"})
    assert texts(made) == ("Label?\n", "Sport")
    assert made.tags == {"dataset": "news"}
    assert texts(one({"prompt": "a <|endoftext|> b", "completion": "<|endoftext|> is a mark"})) == (
        "a <|endoftext|> b",
        "<|endoftext|> is a mark",
    )


def test_labels_that_lost_their_quotes_are_text() -> None:
    assert texts(one({"inputs": "2 + 2 =", "targets": 4})) == ("2 + 2 =", "4")
    assert texts(one({"prompt": "Is it?\n", "completion": True})) == ("Is it?", "true")


def test_super_ni_zero_shot_takes_the_first_reference() -> None:
    made = convert(task())
    assert [texts(m) for m in made] == [
        ("Write a word that rhymes with the given one.\n\nmoon", "spoon"),
        ("Write a word that rhymes with the given one.\n\nlight", "kite"),
        ("Write a word that rhymes with the given one.\n\nstone", "bone"),
    ]
    first = made[0]
    assert isinstance(first, Converted)
    assert (first.own_id, first.rows, first.licence) == ("task9001-aa", (7,), "CC BY 4.0")
    assert first.tags == {
        "Contributors": ["Ada Example"],
        "Categories": ["Word Semantics"],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instance License": ["CC BY 4.0"],
        "task": "task9001",
        "instance": 1,
        "references": 3,
    }
    assert field_texts(first) == {
        "Definition": "Write a word that rhymes with the given one.",
        "input": "moon",
        "output": "spoon",
    }


def test_super_ni_all_references_give_one_example_each() -> None:
    made = convert(task(), references="all")
    assert [texts(m)[1] for m in made] == ["spoon", "June", "tune", "kite", "bone"]
    assert [m.tags["reference"] for m in made if isinstance(m, Converted)] == [1, 2, 3, 1, 1]
    assert {m.own_id for m in made[:3] if isinstance(m, Converted)} == {"task9001-aa"}


def test_super_ni_shots_pass_over_the_instance_itself() -> None:
    made = convert(task(), shots=1)
    definition = "Write a word that rhymes with the given one."
    assert texts(made[0])[0] == f"{definition}\n\nInput: light\nOutput: night\n\nInput: moon\nOutput:"
    assert texts(made[1])[0] == f"{definition}\n\nInput: cold\nOutput: bold\n\nInput: light\nOutput:"
    assert isinstance(made[0], Converted)
    assert field_texts(made[0])["input"] == "moon"
    five = convert(task(), shots=5)
    assert [m.tags["shots"] for m in five if isinstance(m, Converted)] == [2, 1, 2]
    bare = one(task(**{"Positive Examples": "none"}) | {"Instances": [{"input": "sun", "output": "run"}]}, shots=2)
    assert (texts(bare)[0], bare.tags["shots"]) == (f"{definition}\n\nsun", 0)


def test_super_ni_early_form_has_a_plain_definition_and_no_ids() -> None:
    early: JsonObject = {
        "Categories": ["Classification"],
        "Definition": "Say yes.",
        "Positive Examples": [],
        "Negative Examples": [],
        "Instances": [{"input": "Well?", "output": "yes"}, {"input": "", "output": ["yes"]}],
    }
    made = convert(early)
    assert [texts(m) for m in made] == [("Say yes.\n\nWell?", "yes"), ("Say yes.", "yes")]
    assert [m.own_id for m in made if isinstance(m, Converted)] == [None, None]
    assert [m.tags["instance"] for m in made if isinstance(m, Converted)] == [1, 2]
    assert [m.licence for m in made if isinstance(m, Converted)] == [None, None]


@pytest.mark.parametrize(
    ("stated", "licence"),
    [(["MIT"], "MIT"), (["CC BY-SA", "GFDL"], "CC BY-SA; GFDL"), (["Unknown"], None), ([], None), ("MIT", None)],
)
def test_super_ni_states_the_licence_of_its_instances(stated: JsonValue, licence: str | None) -> None:
    made = convert(task(**{"Instance License": stated}))
    assert {m.licence for m in made if isinstance(m, Converted)} == {licence}


def test_a_refused_instance_is_lost_and_the_others_stay() -> None:
    bad: list[JsonValue] = [
        {"id": "x-1", "input": "a", "output": ["", " "]},
        {"id": "x-2", "input": "a", "output": []},
        {"id": "x-3", "input": {}, "output": ["b"]},
        {"id": "x-4", "output": ["b"]},
        {"id": "x-5", "input": "a"},
        {"id": "x-6", "input": "a", "output": ["b", None]},
        "text",
        {"id": "x-8", "input": "a", "output": ["", "b"]},
    ]
    made = convert(task(Instances=bad))
    assert [(m.code, m.rows, m.lost) for m in made if isinstance(m, Rejected)] == [
        ("empty_response", (7,), bad[0]),
        ("empty_response", (7,), bad[1]),
        ("wrong_type:input", (7,), bad[2]),
        ("missing_field:input", (7,), bad[3]),
        ("missing_field:output", (7,), bad[4]),
        ("wrong_type:output", (7,), bad[5]),
        ("not_an_object", (7,), bad[6]),
    ]
    assert [texts(m)[1] for m in made if isinstance(m, Converted)] == ["b"]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "not_an_object"),
        ("text", "not_an_object"),
        ({}, "missing_field:inputs"),
        ({"inputs": "a"}, "missing_field:targets"),
        ({"inputs": "a", "targets": ["b"]}, "wrong_type:targets"),
        ({"inputs": "a", "targets": " \n"}, "empty_response"),
        ({"inputs": "\t", "targets": "b"}, "empty_prompt"),
        ({"prompt": "a"}, "missing_field:completion"),
        ({"completion": "a"}, "missing_field:prompt"),
        ({"prompt": "a", "completion": "<|endoftext|>"}, "empty_response"),
        ({"prompt": "\n", "completion": "a"}, "empty_prompt"),
        (["a", "b"], "wrong_cells"),
        (["a", "b", "c", "d"], "wrong_cells"),
        (["a", None, "c"], "wrong_type:cell"),
        (["\\n", "b", "c"], "empty_prompt"),
        (["a", "", "c"], "empty_response"),
        ({"Definition": "a"}, "missing_field:Instances"),
        ({"Instances": [{"input": "a", "output": "b"}]}, "missing_field:Definition"),
        ({"Definition": [], "Instances": []}, "wrong_type:Definition"),
        ({"Definition": [None], "Instances": []}, "wrong_type:Definition"),
        ({"Definition": ["a"], "Instances": {"input": "a"}}, "wrong_type:Instances"),
        ({"Definition": ["a"], "Instances": []}, "no_instances"),
        ({"Definition": [""], "Instances": [{"input": " ", "output": "b"}]}, "empty_prompt"),
    ],
)
def test_what_is_wrong_has_a_code(value: JsonValue, code: str) -> None:
    (made,) = convert(value)
    assert isinstance(made, Rejected)
    assert (made.code, made.rows) == (code, (7,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "targets", "prompt", "completion", "Definition", "Instances", "input", "output", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON, st.integers(0, 3), st.sampled_from(["first", "all"]))
def test_any_json_is_converted_or_refused(value: JsonValue, shots: int, references: str) -> None:
    made = convert(value, shots=shots, references=references)
    assert made
    for m in made:
        assert m.rows == (7,)
        if isinstance(m, Converted):
            assert all(text.strip() for text in texts(m))
            for f in m.fields:
                assert 0 <= f["start"] <= f["end"] <= len(m.messages[f["message"]]["content"])
    assert 0 <= flan.matches([value], "f").confidence <= 1


def test_options_are_checked() -> None:
    for wrong in ({"shots": -1}, {"references": "best"}, {"shot": 1}):
        with pytest.raises(ValidationError):
            flan.Options.model_validate(wrong)


def test_each_shape_is_recognised() -> None:
    def confidence(*rows: JsonValue) -> float:
        return flan.matches(rows, "any").confidence

    assert confidence({"inputs": "a", "targets": "b", "task_name": "c"}) > 0.95
    assert confidence(task()) > 0.95
    assert confidence({"prompt": "a", "completion": "b<|endoftext|>"}) == 0.95
    assert confidence({"prompt": "a", "completion": "b"}) == 0.7
    assert confidence(["a", "b", "c"]) == 0.8
    assert confidence({"instruction": "a", "input": "", "output": "b"}) == 0
    assert confidence(["a", "b"], 5, None) == 0
    assert confidence() == 0
    assert confidence(["a", "b", "c"], ["a"]) == 0.4


def sample_rows() -> Iterator[JsonObject]:
    for line in SAMPLE.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)


def test_the_sample_is_in_raw_format_with_its_planted_defects() -> None:
    rows = list(sample_rows())
    assert len(rows) >= 40
    keys = {"inputs", "targets", "task_source", "task_name", "template_type"}
    assert all(set(row) == keys and all(isinstance(v, str) for v in row.values()) for row in rows)
    assert flan.matches(list(rows[:20]), "flan.jsonl").confidence > 0.95
    made = [m for row in rows for m in convert(row)]
    assert [m.code for m in made if isinstance(m, Rejected)] == ["empty_response"]
    assert sum(n > 1 for n in Counter(texts(m) for m in made if isinstance(m, Converted)).values()) == 2
    leaked = (
        "Premise: every archivist in the reading room owns a brass key. "
        "Question: If Marta works as an archivist in the reading room, does she own a brass key?"
    )
    assert [row["targets"] for row in rows if leaked in str(row["inputs"])] == ["Yes"]


# ---- real files ----


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "lines", "with_mark"),
    [
        ("aqua", 2728, 2728),
        ("ecqa", 7112, 7112),
        ("gsm8k", 7473, 0),
        ("qasc", 1084, 1084),
        ("sensemaking", 6070, 6070),
        ("strategyqa", 2061, 0),
    ],
)
def test_real_cot_lines(real_data: Path, name: str, lines: int, with_mark: int) -> None:
    raw = (real_data / "flan" / "cot" / f"{name}_train.tsv").read_bytes().decode()
    rows = [line.split("\t") for line in raw.split("\n") if line]
    made = [one(list(row)) for row in rows]
    assert len(made) == lines
    assert sum("\\n" in "".join(row) for row in rows) == with_mark
    for row, m in zip(rows, made, strict=True):
        prompt, response = texts(m)
        assert "\\n" not in prompt + response
        assert prompt.count("\n") == row[0].count("\\n")
        assert response.endswith((f"\nSo the answer is {row[1]}.", f"\nSo the answer is {row[1]}"))
        assert sorted(prompt.replace("\n", "")) == sorted(row[0].replace("\\n", ""))


@pytest.mark.real
def test_real_super_ni_instances(real_data: Path) -> None:
    files = sorted((real_data / "flan" / "super_ni" / "tasks").glob("*.json"))
    first = every = several = expected_every = 0
    for file in files:
        value = json.loads(file.read_bytes())
        instances = value["Instances"]
        made = convert(value)
        assert [m.own_id for m in made if isinstance(m, Converted)] == [i["id"] for i in instances]
        assert [texts(m)[1] for m in made] == [i["output"][0] for i in instances]
        assert all(texts(m)[0].endswith(i["input"]) for m, i in zip(made, instances, strict=True))
        first += len(made)
        every += len(convert(value, references="all", shots=2))
        expected_every += sum(len(i["output"]) for i in instances)
        several += sum(isinstance(m, Converted) and m.tags["references"] != 1 for m in made)
        assert all(isinstance(m, Converted) and m.tags["Input_language"] == value["Input_language"] for m in made)
    assert (len(files), first, several) == (51, 50_913, 1_603)
    assert every == expected_every > first


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "instances"),
    [
        ("super_ni_early/task321_stereoset_classification_religion.json", 228),
        ("super_ni_fi/fin-translated-task1562_zest_text_modification.json", 142),
    ],
)
def test_real_other_super_ni_forms(real_data: Path, path: str, instances: int) -> None:
    value = json.loads((real_data / "flan" / path).read_bytes())
    assert flan.matches([value], path).confidence > 0.95
    made = convert(value)
    assert len(made) == len(value["Instances"]) == instances
    assert all(isinstance(m, Converted) for m in made)


@pytest.mark.real
def test_real_p3_rows(real_data: Path) -> None:
    counts = Counter[str]()
    for file in sorted((real_data / "flan" / "t0_p3").glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_bytes().decode().split("\n") if line]
        assert not rows or flan.matches(rows[:20], file.name).confidence == 0.95
        for row in rows:
            prompt, response = texts(one(row))
            assert (prompt + "\n", response + "<|endoftext|>") == (row["prompt"], row["completion"])
        counts[file.stem] = len(rows)
    assert sorted(counts.values()) == [0] + [200] * 8
