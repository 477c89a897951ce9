"""BIG-Bench Hard: prompts, three protocols, published outputs."""

import json
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Item, Outputs, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import bbh
from caravan.eval.scoring.exact_match import bare, exact_match

OPTIONS = "Which jar is empty?\nOptions:\n(A) the red jar\n(B) the blue jar\n(C) neither jar"
COT = "Look at the jars one by one.\n"


def problem(target: str, question: str = "?", task: str = "task") -> Problem:
    return Problem(Item(f"{task}/0", question, target, task), (target,))


def verdict(
    target: str, said: str, protocol: Rules = "strict", *, question: str = "?", variant: str = "cot"
) -> Verdict:
    return bbh.score(problem(target, question), [Answer(said)], Setting(variant, protocol))


def worth(target: str, said: str, protocol: Rules = "strict", *, question: str = "?", variant: str = "cot") -> float:
    return verdict(target, said, protocol, question=question, variant=variant).values["accuracy"]


# Prompts


def test_the_prompt_is_the_authors_file_without_its_first_two_lines() -> None:
    for one in bbh.problems(SAMPLES / "bbh", "cot"):
        lines = (SAMPLES / "bbh" / "cot-prompts" / f"{one.item.group}.txt").read_text(encoding="utf-8").split("\n")
        asked = bbh.ask(one, Setting("cot", "tulu"))
        assert asked.text == "\n".join(lines[2:]) + f"\n\nQ: {one.item.question}"
        assert (asked.ending, asked.opener, asked.new_tokens) == ("\nA:", "A:", 512)
        assert (asked.stop, asked.chat_stop) == (("\n\n",), ())


def test_the_direct_form_keeps_only_what_follows_the_conclusion() -> None:
    one = next(bbh.problems(SAMPLES / "bbh", "direct"))
    published = bbh.ask(one, Setting("direct", "tulu")).text
    ours = bbh.ask(one, Setting("direct", "strict")).text
    assert published.count("\nA: (B).\n") == ours.count("\nA: (B)\n") == 1
    assert "step by step" not in published + ours
    assert "So the answer is" not in published + ours


def test_original_begins_the_chain_of_thought_and_others_do_not() -> None:
    one = next(bbh.problems(SAMPLES / "bbh", "cot"))
    endings = {rules: bbh.ask(one, Setting("cot", rules)).ending for rules in RULES}
    assert endings == {"strict": "\nA:", "tulu": "\nA:", "original": "\nA: Let's think step by step."}
    assert bbh.ask(one, Setting("direct", "original")).ending == "\nA:"


def test_a_chat_model_may_leave_blank_lines_while_it_thinks() -> None:
    one = next(bbh.problems(SAMPLES / "bbh", "cot"))
    assert bbh.ask(one, Setting("cot", "strict")).chat_stop == ("\n\nQ:",)


def test_a_description_of_two_paragraphs_is_no_example(tmp_path: Path) -> None:
    write_task(tmp_path, "jars", [("Is it empty?", "Yes")])
    prompt = "note\n-----\nSay what a jar holds.\n\nJars are of glass.\n\nQ: Red?\nA: It is. So the answer is Yes."
    (tmp_path / "jars.txt").write_text(prompt, encoding="utf-8")
    (one,) = bbh.problems(tmp_path, "direct")
    assert len(one.shots) == 1
    text = "Say what a jar holds.\n\nJars are of glass.\n\nQ: Red?\nA: Yes\n\nQ: Is it empty?"
    assert bbh.ask(one, Setting("direct")).text == text


def test_missing_and_broken_prompts_name_the_file(tmp_path: Path) -> None:
    write_task(tmp_path, "jars", [("Is it empty?", "Yes")])
    with pytest.raises(UserError, match=r"no examples of jars.*cot-prompts/jars\.txt"):
        list(bbh.problems(tmp_path, "cot"))
    for text in ("a\nb\nNothing here.", "a\nb\nSay.\n\nQ: Red?\nA: Yes."):
        (tmp_path / "jars.txt").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"jars\.txt"):
            list(bbh.problems(tmp_path, "cot"))


def test_items_with_the_same_input_are_a_cluster(tmp_path: Path) -> None:
    write_task(tmp_path, "jars", [("Red?", "Yes"), ("Blue?", "No"), ("Red?", "No")])
    (tmp_path / "jars.txt").write_text("a\nb\nSay.\n\nQ: Old?\nA: So the answer is No.", encoding="utf-8")
    assert [p.cluster for p in bbh.problems(tmp_path, "cot")] == ["jars/0", "", "jars/0"]


# Faults of the published procedure, and what `strict` makes of them


@pytest.mark.parametrize(
    ("target", "said", "tulu", "strict"),
    [
        ("] } )", COT + "So the answer is ) ) ].", 1.0, 0.0),  # bracket kinds do not matter
        ("]", COT + "So the answer is >.", 1.0, 0.0),
        ("-24", COT + "So the answer is 24.", 1.0, 0.0),  # the minus sign goes
        ("-24", COT + "So the answer is -24.", 1.0, 1.0),
        ("3.5", COT + "So the answer is 3.5.", 0.0, 1.0),  # cut at the first full stop
        ("24", COT + "The answer is 20. No: the answer is 24.", 0.0, 1.0),  # the first loses to the last
        ("24", COT + "So|he answer is 24. Done", 1.0, 1.0),  # the slip in the pattern
        ("24", COT + "So the answer is\n24.", 0.0, 1.0),  # not on the same line
        ("Yes", COT + "So the answer is yes.", 1.0, 1.0),
    ],
)
def test_published_faults(target: str, said: str, tulu: float, strict: float) -> None:
    assert worth(target, said, "tulu") == tulu
    assert worth(target, said, "strict") == strict


def test_an_empty_answer_is_right_by_tulu_where_a_target_is_one_bracket() -> None:
    assert worth("]", "", "tulu") == 1.0
    assert verdict("] ]", "", "tulu") == Verdict("unextractable", {"accuracy": 0.0}, rule="an empty answer")
    assert verdict("]", "", "original").status == "unextractable"
    assert verdict("]", " \n", "strict") == Verdict("empty", rule="an empty answer")


def test_inner_spaces_count_by_tulu_and_not_by_strict() -> None:
    assert worth("(A)", "The answer is ( A ).", "tulu", question=OPTIONS) == 0.0
    assert worth("(A)", "The answer is ( A ).", "strict", question=OPTIONS) == 1.0


@pytest.mark.parametrize("protocol", RULES)
def test_a_failed_request_has_no_value(protocol: Rules) -> None:
    answer = Answer(ended="failed", error="the server went away")
    assert bbh.score(problem("Yes"), [answer], Setting("cot", protocol)).status == "failed"
    assert bbh.score(problem("Yes"), [answer], Setting("cot", protocol)).values == {}


def test_original_takes_the_last_answer_is_and_compares_exactly() -> None:
    assert worth("Yes", COT + "The answer is No. So the answer is Yes.", "original") == 1.0
    assert worth("Yes", COT + "So the answer is yes.", "original") == 0.0
    assert worth("Yes", " Yes\n", "original", variant="direct") == 1.0
    assert worth("Yes", "Yes.", "original", variant="direct") == 0.0
    assert verdict("Yes", COT + "It is red", "original").status == "unextractable"


# strict


@pytest.mark.parametrize(
    "said",
    [
        "So the answer is (B).",
        "the answer is **(B)**.",
        "The answer is B",
        "Answer: (B) the blue jar",
        "The answer is $\\boxed{\\text{(B)}}$.",
        "The answer is the blue jar.",
        "The answer is (A). No, wait. The answer is (B).",
        "The answer is (B). I hope that this answer is helpful!",
        "(B)",
        "So the answer is:\n\n(B)",
    ],
)
def test_options_by_letter(said: str) -> None:
    assert worth("(B)", said, question=OPTIONS) == 1.0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("So the answer is (A) and (B).", "several options: A, B"),
        ("So the answer is not (B).", "says what it is not"),
        ("So the answer is (None of the above).", "nothing fitting"),
        ("So the answer is (B", "nothing fitting"),
        ("First (A) is looked at, then (B), and (B) is empty, so", "no 'answer is'"),
        ("(B) is empty, and (A) is", "no 'answer is'"),
    ],
)
def test_no_option_or_several_are_unextractable(said: str, why: str) -> None:
    found = verdict("(B)", said, question=OPTIONS)
    assert (found.status, found.values, found.extracted) == ("unextractable", {"accuracy": 0.0}, "")
    assert why in found.rule


@pytest.mark.parametrize(
    ("target", "said", "right"),
    [
        ("] } >", "So the answer is ] } >.", True),
        ("] } >", 'So the answer is "]", "}", ">".', True),
        ("] } >", "So the answer is ]}>", True),
        ("] } >", "So the answer is ] > }.", False),
        ("-219", "So the answer is −219.", True),
        ("-219", "So the answer is A - B = -163 - 56 = -219.", True),
        ("8", "So the answer is 8 jars.", True),
        ("1200", "So the answer is 1,200.", True),
        ("True", "So the answer is true.", True),
        ("invalid", "So the answer is deductively invalid.", True),
        ("valid", "So the answer is invalid.", False),
        ("no", "So the answer is No, it is not plausible.", True),
        ("ant bee it&t", "So the answer is ant, bee, it&t.", True),
        ("ant bee it&t", "So the answer is ant it&t bee.", False),
        ("ant bee it&t", "So the answer is ant bee itt.", False),
    ],
)
def test_answers_are_compared_by_their_kind(target: str, said: str, right: bool) -> None:
    found = verdict(target, COT + said)
    assert (found.status, found.values["accuracy"]) == ("scored", float(right))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("] }", "So the answer is empty."),
        ("8", "So the answer is 8 or 9."),
        ("True", "So the answer is True or False."),
        ("True", "So the answer is not True."),
        ("ant bee", "ant < bee, so that ant comes first"),
    ],
)
def test_what_gives_no_one_answer_is_unextractable(target: str, said: str) -> None:
    assert verdict(target, COT + said).status == "unextractable"


def test_a_target_that_is_no_letter_is_compared_as_text() -> None:
    question = "Which film is like it?\nOptions:\n(A) Salt\n(B) Pepper\n(C) The Owl"
    assert worth("Salt, Pepper", "So the answer is Salt, Pepper.", question=question) == 1.0
    assert worth("Salt, Pepper", "So the answer is (A).", question=question) == 0.0


def test_the_first_line_counts_in_the_direct_form() -> None:
    assert worth("(B)", " (B)\nbecause it is blue, not (A)", question=OPTIONS, variant="direct") == 1.0
    assert verdict("(B)", "I cannot say.", question=OPTIONS, variant="direct").status == "unextractable"


@given(
    st.text(alphabet=string.ascii_letters + "()[]{}<>0123456789 .,:*\n-=" + "答é", max_size=80), st.sampled_from(RULES)
)
def test_any_text_gets_a_verdict(said: str, protocol: Rules) -> None:
    for target, question in (("(A)", OPTIONS), ("-5", "?"), ("] )", "?"), ("yes", "?"), ("ant bee", "?")):
        for variant in bbh.VARIANTS:
            found = verdict(target, said, protocol, question=question, variant=variant)
            assert (found.status == "empty") == (found.values == {})
            assert found.values.get("accuracy", 0.0) in (0.0, 1.0)


@given(st.lists(st.sampled_from("()[]{}<>"), min_size=1), st.lists(st.sampled_from("()[]{}<>"), min_size=1))
def test_brackets_are_right_only_when_they_are_the_same(target: list[str], said: list[str]) -> None:
    assert worth(" ".join(target), f"So the answer is {' '.join(said)}.") == float(target == said)


def test_exact_match_drops_ascii_punctuation_and_nothing_else() -> None:
    assert exact_match("(A).", "a")
    assert exact_match("18.00", "1800")
    assert not exact_match("a  b", "a b")
    assert not exact_match("«a»", "a")
    assert bare(string.punctuation) == ""
    assert exact_match("a\0", "a")


# Stored outputs


def write_task(folder: Path, task: str, examples: list[tuple[str, str]]) -> None:
    rows = [{"input": q, "target": a} for q, a in examples]
    (folder / f"{task}.json").write_text(json.dumps({"examples": rows}), encoding="utf-8")


def write_outputs(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"canary": "none", "outputs": rows}), encoding="utf-8")
    return path


SHOT = "Say.\n\nQ: Old?\nA: Let's think step by step.\nIt is not. So the answer is No."


def output(question: str, prediction: str, target: str) -> dict[str, Any]:
    prompt = f"{SHOT}\n\nQ: {question}\nA: Let's think step by step."
    return {"input": prompt, "prediction": prediction, "target": target}


ROWS = [
    output("Red?", "It is red. So the answer is Yes.", "Yes"),
    output("Blue?\nOptions:\n- Yes\n- No", "It is red. So the answer is Yes.", "No"),
    output("Round?", "It is", "Yes"),
]


def test_outputs_in_the_authors_form_stand_alone(tmp_path: Path) -> None:
    write_outputs(tmp_path / "our-model-cot" / "jars_few_shot_template_0-255000.json", ROWS)
    (tmp_path / "our-model-cot" / "jars_few_shot_template_0-255000_eval_metrics.jsonl").write_text("{}")
    found = bbh.stored(tmp_path, None)
    assert found is not None
    assert found.variant == "cot"
    assert [(r.problem.item.id, r.problem.item.question, r.model) for r in found.rows] == [
        ("jars/0", "Red?", "our-model"),
        ("jars/1", "Blue?\nOptions:\n- Yes\n- No", "our-model"),
        ("jars/2", "Round?", "our-model"),
    ]
    verdicts = [bbh.score(r.problem, r.answers, Setting("cot")) for r in found.rows]
    assert [v.values["accuracy"] for v in verdicts] == [1.0, 0.0, 0.0]
    assert [v.status for v in verdicts] == ["scored", "scored", "unextractable"]


def test_direct_outputs_are_known_by_their_prompts(tmp_path: Path) -> None:
    rows = [
        {"input": f"Say.\n\nQ: Old?\nA: No\n\nQ: {q}?\nA:", "prediction": "Yes", "target": "Yes"}
        for q in ("Red", "Big")
    ]
    found = bbh.stored(write_outputs(tmp_path / "m" / "jars.json", rows), None)
    assert found is not None
    assert (found.variant, [r.problem.item.question for r in found.rows]) == ("direct", ["Red?", "Big?"])


def test_with_the_benchmark_targets_must_agree_and_prompts_may_be_missing(tmp_path: Path) -> None:
    own = [problem("Yes", "Red?", "jars"), problem("No", "Blue?", "jars")]
    rows = [
        {"prediction": "So the answer is Yes.", "target": "Yes"},
        {"prediction": "The answer is No.", "target": "No"},
    ]
    path = write_outputs(tmp_path / "m" / "jars.json", rows)
    found = bbh.stored(path, lambda: own)
    assert found is not None
    assert [r.problem for r in found.rows] == own
    write_outputs(path, rows[::-1])
    with pytest.raises(UserError, match=r"jars\.json:1: the target is 'No'"):
        bbh.stored(path, lambda: own)
    write_outputs(path, rows * 2)
    with pytest.raises(UserError, match="4 outputs for 2 items"):
        bbh.stored(path, lambda: own)
    with pytest.raises(UserError, match="'input' is missing"):
        bbh.stored(path, None)
    with pytest.raises(UserError, match="no task 'jars'"):
        bbh.stored(path, lambda: [problem("Yes", "Red?", "tins")])


def test_a_prompt_that_holds_another_question_is_scored_and_counted(tmp_path: Path) -> None:
    own = [
        problem("Yes", "Red?", "jars"),
        problem("No", "Blue, as the sky is?", "jars"),
        problem("Yes", "Round?", "jars"),
    ]
    found = bbh.stored(write_outputs(tmp_path / "jars.json", ROWS), lambda: own)
    assert found is not None
    assert len(found.rows) == 3
    assert found.notes == ["1 prompts do not end with the question of the benchmark's file"]


def test_two_forms_or_one_task_twice_are_refused(tmp_path: Path) -> None:
    write_outputs(tmp_path / "m-cot" / "jars.json", ROWS)
    direct = [{"input": "Say.\n\nQ: Red?\nA:", "prediction": "Yes", "target": "Yes"}]
    write_outputs(tmp_path / "m-direct" / "jars.json", direct)
    with pytest.raises(UserError, match="both forms"):
        bbh.stored(tmp_path, None)
    write_outputs(tmp_path / "m-cot" / "jars_few_shot_template_0-255000.json", ROWS)
    with pytest.raises(UserError, match="outputs of jars twice"):
        bbh.stored(tmp_path / "m-cot", None)


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    write_task(tmp_path, "jars", [("Red?", "Yes")])
    (tmp_path / "run.json").write_text('{"outputs": ["a"]}')
    (tmp_path / "rows.jsonl").write_text('{"id": "jars/0", "output": "Yes"}\n')
    assert bbh.stored(tmp_path, None) is None
    assert bbh.stored(tmp_path / "rows.jsonl", None) is None


def test_figures_as_the_authors_print_them() -> None:
    tasks = ["logical_deduction_three_objects", "logical_deduction_five_objects", "navigate"]
    scored = [
        (problem("Yes", task=task), Verdict("scored", {"accuracy": float(value)}))
        for task, right in zip(tasks, (1, 0, 1), strict=True)
        for value in (right, 1)
    ]
    told = bbh.published([*scored, (problem("Yes", task="navigate"), Verdict("failed"))])
    assert told["accuracy"] == {tasks[1]: 50.0, tasks[0]: 100.0, "navigate": 100.0}
    assert (told["files"], told["tasks"]) == (3, 2)
    assert told["mean_of_files"] == pytest.approx(250 / 3)
    assert told["mean_of_tasks"] == 87.5
    assert bbh.published([]) == {}


# The authors' files


def real_outputs(real_data: Path, variant: str) -> tuple[Path, Outputs]:
    folder = real_data / "benchmarks" / "bbh" / "outputs" / f"code-davinci-002-{variant}"
    found = bbh.stored(folder, None)
    assert found is not None
    assert found.variant == variant
    return folder, found


@pytest.mark.real
@pytest.mark.parametrize("variant", bbh.VARIANTS)
def test_published_accuracies_to_the_last_digit(real_data: Path, variant: str) -> None:
    folder, found = real_outputs(real_data, variant)
    scored = [(r.problem, bbh.score(r.problem, r.answers, Setting(variant, "original"))) for r in found.rows]
    told = bbh.published(scored)
    files = sorted(folder.glob("*_eval_metrics.jsonl"))
    published = {f.name.split("_few_shot")[0]: json.loads(f.read_text())["accuracy"] for f in files}
    assert told["accuracy"] == published
    assert len(published) >= 24
    means = {"files": sum(published.values()) / len(published), "tasks": mean_of_tasks(published)}
    assert told["mean_of_files"] == pytest.approx(means["files"], abs=1e-9)
    assert told["mean_of_tasks"] == pytest.approx(means["tasks"], abs=1e-9)
    if len(published) == 27:
        counted = {"direct": (52.760, 56.614), "cot": (73.712, 73.928)}[variant]
        assert (round(told["mean_of_files"], 3), round(told["mean_of_tasks"], 3)) == counted


def mean_of_tasks(accuracy: dict[str, float]) -> float:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    three = [[v for t, v in accuracy.items() if t.startswith(f)] for f in ("logical_deduction", "tracking_shuffled")]
    others = [v for t, v in accuracy.items() if not t.startswith(("logical_deduction", "tracking_shuffled"))]
    return mean([*others, *map(mean, three)])


WITHOUT_SIGNS = ("dyck_languages", "multistep_arithmetic_two", "word_sorting")  # may be absent from the folder


@pytest.mark.real
@pytest.mark.parametrize("variant", bbh.VARIANTS)
def test_protocols_agree_on_well_formed_outputs(real_data: Path, variant: str) -> None:
    """But for brackets and signs, no item's value differs: what strict cannot read is wrong by the others' rules."""
    _, found = real_outputs(real_data, variant)
    rows = [r for r in found.rows if r.problem.item.group not in WITHOUT_SIGNS]
    assert len(rows) == 5761
    statuses = Counter[tuple[str, str]]()
    for row in rows:
        by = {rules: bbh.score(row.problem, row.answers, Setting(variant, rules)) for rules in RULES}
        assert by["strict"].values == by["original"].values == by["tulu"].values, row.problem.item.id
        statuses[by["original"].status, by["strict"].status] += 1
    told = {"direct": {("scored", "scored"): 5761}}
    told["cot"] = {("scored", "scored"): 5624, ("scored", "unextractable"): 107, ("unextractable", "unextractable"): 30}
    assert statuses == told[variant]


@pytest.mark.real
def test_what_strict_cannot_read_is_explained(real_data: Path) -> None:
    _, found = real_outputs(real_data, "cot")
    why = Counter[str]()
    for row in found.rows:
        if row.problem.item.group in WITHOUT_SIGNS:
            continue
        verdict = bbh.score(row.problem, row.answers, Setting("cot"))
        if verdict.status == "unextractable":
            assert row.claimed is None
            why["several options" if "several options" in verdict.rule else verdict.rule] += 1
    assert why == {"several options": 94, "nothing fitting after 'answer is'": 13, "no 'answer is'": 30}


@pytest.mark.real
def test_outputs_agree_with_the_benchmark_but_for_one_prompt(real_data: Path) -> None:
    folder = real_data / "benchmarks" / "bbh"
    own = list(bbh.problems(folder, "cot"))
    for variant in bbh.VARIANTS:
        found = bbh.stored(folder / "outputs" / f"code-davinci-002-{variant}", lambda: own)
        assert found is not None
        assert found.notes == ["1 prompts do not end with the question of the benchmark's file"]


@pytest.mark.real
def test_prompts_are_those_of_the_published_outputs(real_data: Path) -> None:
    """All but the cut question of snarks/88, and the direct form of three tasks, whose examples differ by hand."""
    folder = real_data / "benchmarks" / "bbh"
    own = {p.item.id: p for p in bbh.problems(folder, "cot")}
    for variant in bbh.VARIANTS:
        differ = Counter[str]()
        for file in sorted((folder / "outputs" / f"code-davinci-002-{variant}").glob("*000.json")):
            task = file.name.split("_few_shot")[0]
            for number, row in enumerate(json.loads(file.read_text())["outputs"]):
                asked = bbh.ask(own[f"{task}/{number}"], Setting(variant, "original"))
                differ[task] += asked.text + asked.ending != row["input"]
        written = {"date_understanding": 250, "snarks": 178, "tracking_shuffled_objects_three_objects": 250}
        assert +differ == ({"snarks": 1} if variant == "cot" else written)


@pytest.mark.real
def test_counts_of_the_published_faults(real_data: Path) -> None:
    own: dict[str, list[Item]] = {}
    for item in bbh.items(real_data / "benchmarks" / "bbh"):
        own.setdefault(item.group, []).append(item)
    collapsed = Counter(bare(item.answer) for item in own["dyck_languages"])
    assert len(collapsed) == 3
    assert collapsed[""] == 81
    right = {
        said: sum(
            bbh.score(Problem(item, (item.answer,)), [Answer(said)], Setting("cot", "tulu")).values["accuracy"]
            for item in own["dyck_languages"]
        )
        for said in ("", "So the answer is <.")
    }
    assert right == {"": 81, "So the answer is <.": 81}
    unsigned = [
        item
        for item in own["multistep_arithmetic_two"]
        if worth(item.answer, f"So the answer is {item.answer.lstrip('-')}.", "tulu") == 1.0
        and worth(item.answer, f"So the answer is {item.answer.lstrip('-')}.", "strict") == 0.0
    ]
    assert len(unsigned) == 120
    strict = [worth(i.answer, f"So the answer is {i.answer}.", question=i.question) for g in own.values() for i in g]
    assert len(strict) == 6511
    assert sum(strict) == 6511
