"""IFEval: each of the 25 checks by both rules, the eight loose variants, and the published responses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import SAMPLES, Answer, Item, Problem, Setting
from caravan.eval.benchmarks import ifeval
from caravan.eval.outputs import score_outputs
from caravan.eval.scoring import ifeval_words
from caravan.eval.scoring.ifeval_checks import CHECKS, Found, check, instruction

STRICT, ORIGINAL = Setting("0-shot", "strict"), Setting("0-shot", "original")
ENGLISH = "the river runs slowly past the old mill and the children watch the water in the evening"


def found(name: str, own: dict[str, Any], text: str, *, exact: bool) -> Found:
    return check(instruction(name, own, "here"), text, exact=exact)


def follows(name: str, own: dict[str, Any], text: str, *, exact: bool) -> bool:
    return found(name, own, text, exact=exact).followed


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["Oak", "birch"]}, "An oak and a BIRCH.", "An oak alone."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea, sea.", "The sea."),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "less than"}, "The sea.", "Sea, sea."),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A catalogue.", "A Cat!"),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": "at least"}, "EeE", "ee"),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": "less than"}, "Oh.", "Oh!"),
    ("language:response_language", {"language": "de"}, "Das ist ein kurzer Satz über den Winter im Dorf.", ENGLISH),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One, two."),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        "Dr. Li left.",
        "Go. Then rest.",
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb\n***", "a\n***\n\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "yes"},
        'No.\n\n"Yes", she said.',
        "Yes.\n\nNo.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] and [street]", "[name] only"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. Call me.", "Bye.\nPS call me."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p.p.s more", "p.s. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b", "* a\n- b\n- c"),
    ("detectable_format:constrained_response", {}, "Well: My answer is maybe.", "My answer is Maybe."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b c*", "*a* and **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        "Day 1\nwalk\nDay 2\nrest",
        "Day 1\nwalk and rest",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<The mill>>\nIt stands.", "<< >>\nIt stands."),
    ("combination:two_responses", {}, "one ****** two", "one ****** one"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, "say it. Here you are.", "Here you are. Say it."),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'So. "THAT IS ALL."', "That is all. Bye."),
    ("startend:quotation", {}, ' "so it is" ', '"so it is'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA and the EU",
        "Nasa and the EU",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.capitalize()),
    ("punctuation:no_comma", {}, "Red and blue.", "Red, blue."),
]


# What only one of the rules lets through: instruction, arguments, response, by the authors' rule, by ours.
APART: list[tuple[str, dict[str, Any], str, bool, bool]] = [
    ("keywords:existence", {"keywords": ["art"]}, "The party starts.", True, False),
    ("keywords:existence", {"keywords": ["a.c"]}, "abc", True, False),
    ("keywords:existence", {"keywords": ["c++ (new)"]}, "We use C++ (new) here", True, True),
    ("keywords:existence", {"keywords": ["[b", "$5", "(a+)+$"]}, "[b costs $5 and (a+)+$", True, True),
    ("keywords:existence", {"keywords": ["straße"]}, "DIE STRASSE", False, True),
    ("keywords:existence", {"keywords": ["climate change"]}, "Of climate\nchange.", False, True),
    ("keywords:existence", {"keywords": ["café"]}, "A cafe\u0301.", False, True),
    ("keywords:existence", {"keywords": ["हिन्द"]}, "हिन्दी", True, False),
    ("keywords:existence", {"keywords": ["日本"]}, "これは日本語です。", True, True),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "The sea, a seal.", True, False),
    ("keywords:forbidden_words", {"forbidden_words": ["日本"]}, "これは日本語です。", True, False),
    ("keywords:forbidden_words", {"forbidden_words": ["C++"]}, "We use C++ here", True, False),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "one_cat_more", True, False),
    (
        "keywords:letter_frequency",
        {"letter": "é", "let_frequency": 1, "let_relation": "at least"},
        "e\u0301",
        False,
        True,
    ),
    ("language:response_language", {"language": "de"}, "1 2 3 !", True, False),
    ("language:response_language", {"language": "zh"}, "这个村庄的冬天很冷，孩子们都在家里看书。", False, True),
    (
        "length_constraints:number_words",
        {"num_words": 5, "relation": "at least"},
        "It's a well-known rule",
        True,
        False,
    ),
    ("length_constraints:number_words", {"num_words": 2, "relation": "less than"}, "हिन्दी", False, True),
    ("length_constraints:number_words", {"num_words": 4, "relation": "at least"}, "今天很冷", False, True),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One\n\nTwo", False, True),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        "1. Go.\n2. Rest.",
        True,
        False,
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a ***b", True, False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "a ***b*** c", False, True),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Über"},
        "One.\n \n\n\n**über:** two",
        False,
        True,
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 3}, "[] [ ] [here](page)", True, False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "He wrote a p.s. once", True, False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n**P.S.**", True, False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* one\n---", False, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "• one\n+ two", False, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "*\n* one", True, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "-5 is cold", True, False),
    ("detectable_format:constrained_response", {}, "My answer is yes. My answer is no.", True, False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "* one *", True, False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "2 * 3 * 4", True, False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "* *one* and **two**", True, True),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        "Day 1\nMore of Day 1 than of a Day 2.",
        True,
        False,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "(Day*", "num_sections": 2},
        "## (Day* 1\n**(Day* 2**",
        True,
        True,
    ),
    ("detectable_format:json_format", {}, '"words"', True, False),
    ("detectable_format:json_format", {}, '{"a": NaN}', True, False),
    ("detectable_format:json_format", {}, "[" * 100_000, False, False),
    ("detectable_format:title", {}, "<<a>b>>", True, False),
    ("combination:two_responses", {}, "one ******** two", True, False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it.", True, False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, '"Say\nit." Here.', False, True),
    ("startend:end_checker", {"end_phrase": "art."}, "We start.", True, False),
    ("startend:end_checker", {"end_phrase": "Peace!"}, "So: **Peace!**", False, True),
    ("startend:quotation", {}, '""', True, False),
    ("startend:quotation", {}, "“So it is”", False, True),
    ("startend:quotation", {}, '"', False, False),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        "DON'T",
        False,
        True,
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 3, "capital_relation": "at least"},
        "We CANNOT, I'm sure",
        True,
        False,
    ),
    ("change_case:english_capital", {}, "123", False, False),
    ("change_case:english_lowercase", {}, "das ist ein kurzer satz über den winter im dorf.", False, False),
    ("punctuation:no_comma", {}, "一、二，三، four", True, False),
]


def test_every_instruction_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(CHECKS)
    assert len(CHECKS) == 25


@pytest.mark.parametrize(("name", "own", "good", "bad"), CASES, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(CASES)])
@pytest.mark.parametrize("exact", [True, False])
def test_a_response_follows_or_does_not(name: str, own: dict[str, Any], good: str, bad: str, exact: bool) -> None:
    assert follows(name, own, good, exact=exact)
    assert not follows(name, own, bad, exact=exact)
    assert not follows(name, own, " \n\t", exact=exact)


@pytest.mark.parametrize(
    ("name", "own", "text", "original", "strict"), APART, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(APART)]
)
def test_where_the_rules_differ(name: str, own: dict[str, Any], text: str, original: bool, strict: bool) -> None:
    assert (follows(name, own, text, exact=False), follows(name, own, text, exact=True)) == (original, strict)


@pytest.mark.parametrize("name", sorted(CHECKS))
@given(text=st.text(max_size=300) | st.text('*-[]<>\n" .aA1', max_size=60))
def test_no_response_breaks_a_check(name: str, text: str) -> None:
    own = next(own for n, own, *_ in CASES if n == name)
    for exact in (True, False):
        first = found(name, own, text, exact=exact)
        assert first == found(name, own, text, exact=exact)
        assert text.strip() or first == (False, "an empty response")


@pytest.mark.parametrize("name", sorted(CHECKS))
@pytest.mark.parametrize(
    "unit", ["*", "[", "-\n", "a ", "\n", "<<", "a", "P.", " ", "Day 1", '"', "。", ". . ", "**a "]
)
def test_a_huge_response_takes_no_more_than_its_length(name: str, unit: str) -> None:
    """A pattern that runs away over a megabyte would take hours: the suite's own time limit is the assertion."""
    own = next(own for n, own, *_ in CASES if n == name)
    for exact in (True, False):
        found(name, own, "x" + unit * (300_000 // len(unit)), exact=exact)


@given(st.text("*- \n\ta\u2003", max_size=40))
def test_bullets_by_lines_are_those_of_the_plain_pattern(text: str) -> None:
    """The authors' two patterns as one reads them, which take quadratic time over blank lines."""
    plain = len(re.findall(r"^\s*\*[^*].*$", text, re.M)) + len(re.findall(r"^\s*-.*$", text, re.M))
    got = found("detectable_format:number_bullet_lists", {"num_bullets": plain}, text, exact=False)
    assert got.followed or not text.strip(), got.said


@given(st.text("[] \na", max_size=40))
def test_brackets_by_lines_are_those_of_the_plain_pattern(text: str) -> None:
    plain = len(re.findall(r"\[.*?\]", text))
    got = found("detectable_content:number_placeholders", {"num_placeholders": plain}, text, exact=False)
    assert got.said.endswith(f"has {plain}") or not text.strip(), got.said


@given(st.text("<> \na", max_size=30))
def test_titles_by_lines_are_those_of_the_plain_pattern(text: str) -> None:
    plain = any(match.lstrip("<").rstrip(">").strip() for match in re.findall(r"<<[^\n]+>>", text))
    assert follows("detectable_format:title", {}, text, exact=False) is plain


@pytest.mark.parametrize(
    ("text", "published", "ours"),
    [
        ("", 0, 0),
        (" \n ", 0, 0),
        ("No mark at all", 1, 1),
        ("One. Two! Three?", 3, 3),
        ("Mr. Li met Dr. Wu. They spoke.", 2, 2),
        ("J. Smith came. So did I. Then we left.", 2, 3),  # "I" is no initial to us
        ("It costs 3.50 euros. Cheap!", 2, 2),
        ("Wait... what? Really?! Yes.", 3, 3),
        ('"Why?" he asked. "So."', 3, 2),
        ("(It rained.) We stayed.", 2, 2),
        ("# Heading\nText here.", 1, 2),
        ("- one\n- two\n- three", 1, 3),
        ("1. Go out.\n2. Come in.", 4, 2),
        ("At 5 p.m. we left, e.g. for Rome.", 2, 1),  # the authors' tokenizer knows no "e.g."
        ("今天很冷。我们在家。", 1, 2),
        ("roses are red\nviolets are blue", 1, 1),
    ],
)
def test_sentences(text: str, published: int, ours: int) -> None:
    assert (ifeval_words.published_sentences(text), ifeval_words.sentences(text)) == (published, ours)


@pytest.mark.parametrize(
    ("text", "published", "ours"),
    [
        ("", 0, 0),
        ("It's a well-known rule", 6, 4),
        ("yes—no -- and/or ... 3.5 ** *** -", 6, 4),
        ("हिन्दी में", 4, 2),
        ("今天很冷 today", 2, 5),
    ],
)
def test_words(text: str, published: int, ours: int) -> None:
    assert (ifeval_words.published_words(text), len(ifeval_words.words(text))) == (published, ours)


def test_a_verdict_says_what_was_asked_and_what_was_found() -> None:
    one = problem(
        ("length_constraints:number_words", {"num_words": 300, "relation": "at least"}),
        ("punctuation:no_comma", {}),
        ("keywords:existence", {"keywords": ["mill", "oak"]}),
    )
    verdict = ifeval.score(one, [Answer("The oak stands")], STRICT)
    assert verdict.rule == "failed: length_constraints:number_words (at least 300, has 3); " + (
        "keywords:existence (missing: mill)"
    )
    assert verdict.extracted == "strict: no yes no; loose: no yes no"


def test_figures_are_pooled_over_instructions_as_published() -> None:
    three = problem(("punctuation:no_comma", {}), ("startend:quotation", {}), ("detectable_format:title", {}))
    one = problem(("punctuation:no_comma", {}))
    scored = [(p, ifeval.score(p, [Answer(said)], STRICT)) for p, said in ((three, "plain"), (one, "plain"), (one, ""))]
    form = ifeval.published(scored)
    assert form["instruction_strict"] == pytest.approx(100 * 2 / 5)  # the empty one counts as the authors count it
    assert form["prompt_strict"] == pytest.approx(100 / 3)
    assert form["by_instruction_strict"] == {
        "detectable_format:title": 0.0,
        "punctuation:no_comma": pytest.approx(100 * 2 / 3),
        "startend:quotation": 0.0,
    }
    assert ifeval.published([]) == {}


@given(st.text("*a\n ", max_size=30))
def test_the_loose_variants(text: str) -> None:
    lines = text.split("\n")
    cut = [text, *("\n".join(x).strip() for x in (lines[1:], lines[:-1], lines[1:-1]))]
    assert set(ifeval.loosened(text)) == {*cut, *(x.replace("*", "") for x in cut)}
    assert len(ifeval.loosened(text)) == 8


def problem(*asked: tuple[str, dict[str, Any]]) -> Problem:
    return Problem(Item("1", "Write."), more={"instructions": tuple(instruction(n, own, "here") for n, own in asked)})


def test_the_values_of_a_prompt_and_of_its_instructions() -> None:
    one = problem(("punctuation:no_comma", {}), ("startend:quotation", {}))
    verdict = ifeval.score(one, [Answer('Here it is:\n"so it is"')], STRICT)
    assert verdict.values == {
        "prompt_strict": 0.0,
        "instruction_strict": 0.5,
        "prompt_loose": 1.0,  # without its first line it is a quotation
        "instruction_loose": 1.0,
    }
    assert "startend:quotation" in verdict.rule


def test_an_empty_response_is_a_class_of_its_own_in_strict_alone() -> None:
    one = problem(("punctuation:no_comma", {}))
    assert ifeval.score(one, [Answer(" \n")], STRICT).status == "empty"
    assert ifeval.score(one, [Answer(" \n")], ORIGINAL).values["prompt_strict"] == 0.0
    assert ifeval.score(one, [Answer(ended="failed")], STRICT).status == "failed"


@pytest.mark.parametrize(
    ("name", "own", "says"),
    [
        ("keywords:exist", {}, "did you mean 'keywords:existence'"),
        ("toString", {}, "no instruction 'toString'"),
        (None, {}, "no instruction None"),
        (["punctuation:no_comma"], {}, "no instruction ['punctuation:no_comma']"),
        ("keywords:existence", {}, "'keywords' of keywords:existence is None, not a list of texts"),
        ("keywords:existence", {"keywords": []}, "not a list of texts"),
        ("keywords:existence", {"keywords": "oak"}, "not a list of texts"),
        ("keywords:existence", {"keywords": ["oak", 3]}, "not a list of texts"),
        ("keywords:existence", {"keyword": ["oak"]}, "did you mean 'keywords'"),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}, "one letter"),
        ("language:response_language", {"language": "xx"}, "a language that langdetect tells"),
        ("length_constraints:number_words", {"num_words": "many", "relation": "at least"}, "a number from 0"),
        ("length_constraints:number_words", {"num_words": True, "relation": "at least"}, "a number from 0"),
        ("length_constraints:number_words", {"num_words": 2.5, "relation": "at least"}, "a number from 0"),
        ("length_constraints:number_words", {"num_words": 2, "relation": "more than"}, "'less than' or 'at least'"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 0, "first_word": "a"},
            "a number from 1",
        ),
        ("punctuation:no_comma", [], "are no object"),
        ("punctuation:no_comma", {"num_words": 3}, "has no argument 'num_words'"),
    ],
)
def test_instructions_that_cannot_be_checked_are_named(name: Any, own: Any, says: str, tmp_path: Path) -> None:
    row = {"key": 1, "prompt": "Write.", "instruction_id_list": [name], "kwargs": [own]}
    (tmp_path / "input_data.jsonl").write_text(f"\n{json.dumps(row)}\n")
    with pytest.raises(UserError) as caught:
        list(ifeval.problems(tmp_path, "0-shot"))
    assert says in str(caught.value)
    assert caught.value.where == f"{tmp_path / 'input_data.jsonl'}:2"


def test_nulls_and_whole_floats_of_other_writers_are_taken() -> None:
    own = {"num_words": 3.0, "relation": "at least", "keywords": None}
    taken = instruction("length_constraints:number_words", own, "here").arguments
    assert taken == {"num_words": 3, "relation": "at least"}


def test_responses_join_by_their_prompt_and_a_missing_one_is_said(tmp_path: Path) -> None:
    first, *others = list(ifeval.problems(SAMPLES / "ifeval", "0-shot"))
    file = tmp_path / "responses.jsonl"
    rows = [{"prompt": p.item.question, "response": "Nothing to say"} for p in others]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (scored,) = score_outputs("ifeval", file, data_dir="samples")
    assert scored.missing == [first.item.id]
    assert scored.told["n"] == len(others)


def test_results_of_the_authors_script_carry_their_own_verdict(tmp_path: Path) -> None:
    first, second, *_ = list(ifeval.problems(SAMPLES / "ifeval", "0-shot"))
    rows = [
        {"prompt": first.item.question, "response": "No comma.", "follow_all_instructions": True},
        {"prompt": second.item.question, "response": "No.", "follow_all_instructions": True},
        {"prompt": "Never asked", "response": "So."},
    ]
    for name, claimed in (("eval_results_strict.jsonl", (1, 2)), ("eval_results_loose.jsonl", None)):
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (scored,) = score_outputs("ifeval", file, data_dir="samples", protocol="original")
        assert scored.claimed == claimed
        assert any("1 responses are to prompts" in note for note in scored.notes)


def test_responses_that_answer_nothing_or_twice_are_refused(tmp_path: Path) -> None:
    first = next(ifeval.problems(SAMPLES / "ifeval", "0-shot"))
    row = {"prompt": first.item.question, "response": "So."}
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match="a second response"):
        score_outputs("ifeval", file, data_dir="samples")
    file.write_text(json.dumps(row | {"prompt": "Never asked"}) + "\n")
    with pytest.raises(UserError, match="no response is to a prompt"):
        score_outputs("ifeval", file, data_dir="samples")
    file.write_text(json.dumps(row) + "\n" + '{"prompt": "x", "response": null}\n')
    with pytest.raises(UserError, match="'response' is null"):
        score_outputs("ifeval", file, data_dir="samples")


@pytest.mark.real
def test_the_published_responses_of_gpt4(real_data: Path) -> None:
    """The paper prints 76.89, 83.57, 79.30 and 85.37 of 541 prompts and 834 instructions; here one response is missing.

    With it counted as not followed, the instructions are the paper's 697 strictly; 417 prompts are one more than the
    paper's. Loosely 713 and 431 stand against 712 and 429: the scripts drew a letter for the "#" that one prompt wants.
    """
    folder = real_data / "benchmarks" / "ifeval"
    asked = list(ifeval.problems(folder, "0-shot"))
    assert len(asked) == 541
    assert sum(len(p.more["instructions"]) for p in asked) == 834
    assert {one.id for p in asked for one in p.more["instructions"]} == set(CHECKS)
    responses = folder / "input_response_data_gpt4_20231107_145030.jsonl"
    scored, strict = (
        score_outputs("ifeval", responses, data_dir=str(real_data / "benchmarks"), protocol=rules)[0]
        for rules in ("original", "strict")
    )
    assert scored.missing == strict.missing == ["2785"]
    form = scored.told["published_form"]
    counts = {"prompt_strict": 417, "instruction_strict": 697, "prompt_loose": 431, "instruction_loose": 713}
    for name, count in counts.items():
        assert form[name] == pytest.approx(100 * count / (540 if "prompt" in name else 832))
    changed = [d["id"] for d in strict.disagreements]
    assert len(changed) == len(set(changed)) <= 20
    assert abs(strict.told["score"] - scored.told["score"]) < 0.02
