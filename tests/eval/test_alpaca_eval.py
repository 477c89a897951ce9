"""AlpacaEval: what is asked, what a verdict is worth, and published results read as their leaderboard does."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Item, Outputs, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import alpaca_eval
from caravan.eval.scoring import alpaca_results

PAIR = Problem(Item("oasst/0", "Name a river."), more={"reference": "The Aare.", "reference_model": "r"})


def setting(protocol: Rules = "strict") -> Setting:
    return Setting("generation", protocol)


def put(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def row(number: int, preference: Any, **more: Any) -> dict[str, Any]:
    return {
        "instruction": f"Task {number}",
        "dataset": "oasst",
        "output_1": "reference answer",
        "generator_1": "text_davinci_003",
        "output_2": f"answer {number}",
        "generator_2": "camel-7b",
        "annotator": "alpaca_eval_gpt4",
        "preference": preference,
    } | more


def read(path: Path, problems: list[Problem] | None = None) -> Outputs:
    found = alpaca_eval.stored(path, None if problems is None else lambda: problems)
    assert found is not None
    return found


def scored(found: Outputs, protocol: Rules = "original") -> list[tuple[Problem, Verdict]]:
    return [(r.problem, alpaca_eval.score(r.problem, r.answers, setting(protocol))) for r in found.rows]


# asking


def test_the_instruction_is_asked_as_it_is_and_the_reference_is_at_hand(tmp_path: Path) -> None:
    rows = [
        {"instruction": " Name a river.\n", "dataset": "oasst", "output": "The Aare.", "generator": "text_davinci_003"},
        {"instruction": "Name a lake.", "dataset": "koala"},
    ]
    put(tmp_path / "alpaca_eval.json", rows)
    river, lake = alpaca_eval.problems(tmp_path, "generation")
    assert [river.item, lake.item] == list(alpaca_eval.items(tmp_path))
    assert river.more == {"reference": "The Aare.", "reference_model": "text_davinci_003"}
    assert lake.more == {}
    for protocol in RULES:
        asked = alpaca_eval.ask(river, setting(protocol))
        assert (asked.text, asked.ending, asked.opener, asked.plain) == (" Name a river.\n", "", "", None)
        assert (asked.new_tokens, asked.temperature, asked.stop) == (2048, 0.0, ())


def test_the_reference_of_the_results_is_davincis_not_the_most_complete_models(tmp_path: Path) -> None:
    for model in ("a-model", "text_davinci_003"):
        outputs = [{"instruction": "Name a lake.", "output": f"by {model}", "generator": model, "dataset": "oasst"}]
        put(tmp_path / "results" / model / "model_outputs.json", outputs)
    (problem,) = alpaca_eval.problems(tmp_path, "generation")
    assert problem.more == {"reference": "by text_davinci_003", "reference_model": "text_davinci_003"}


def test_the_embedded_sample_has_references() -> None:
    found = list(alpaca_eval.problems(SAMPLES / "alpaca_eval", "generation"))
    assert len(found) == 10
    assert all(p.more["reference"] and p.more["reference_model"] for p in found)


# scoring


@pytest.mark.parametrize(
    ("judged", "discrete", "winner"),
    [(0.0, 0, "reference"), (0.49, 0, "reference"), (0.5, 0.5, "draw"), (0.51, 1, "model"), (1.0, 1, "model")],
)
def test_a_preference_is_the_value_and_a_draw_is_half(judged: float, discrete: float, winner: str) -> None:
    for protocol in RULES:
        verdict = alpaca_eval.score(PAIR, [Answer("The Rhine!", judged=judged)], setting(protocol))
        assert (verdict.status, verdict.extracted) == ("scored", winner)
        assert verdict.values == {
            "win_rate": judged,
            "discrete_win_rate": discrete,
            "length": 10.0,
            "reference_length": 9.0,
        }


def test_what_is_empty_failed_or_unjudged_has_no_score() -> None:
    empty = [Answer(" \n", judged=0.0)]
    assert alpaca_eval.score(PAIR, empty, setting("strict")).status == "empty"
    assert "win_rate" not in alpaca_eval.score(PAIR, empty, setting("strict")).values
    for protocol in ("tulu", "original"):
        assert alpaca_eval.score(PAIR, empty, setting(protocol)).values["win_rate"] == 0.0
    for protocol in RULES:
        failed = alpaca_eval.score(PAIR, [Answer(ended="failed", error="timeout")], setting(protocol))
        waiting = alpaca_eval.score(PAIR, [Answer("The Rhine!")], setting(protocol))
        assert (failed.status, failed.values) == ("failed", {})
        assert (waiting.status, waiting.values) == ("unjudged", {"length": 10.0, "reference_length": 9.0})


# published files


def test_wins_losses_draws_and_nulls_make_the_row_of_the_leaderboard(tmp_path: Path) -> None:
    told = [2, 2, 1, 0, 1.5, None, 2.0, 1.0, float("nan")]
    path = put(tmp_path / "annotations.json", [row(n, p) for n, p in enumerate(told)])
    found = read(path)
    # seven judged: 3 wins, 2 losses, 2 draws about a mean of 4/7
    squares = 3 * (3 / 7) ** 2 + 2 * (4 / 7) ** 2 + 2 * (1 / 14) ** 2
    for protocol in RULES:
        form = alpaca_eval.published(scored(found, protocol))
        assert form.pop("standard_error") == pytest.approx(100 * math.sqrt(squares / 6 / 7), abs=1e-12)
        assert form == {
            "win_rate": pytest.approx(400 / 7, abs=1e-12),
            "discrete_win_rate": pytest.approx(400 / 7, abs=1e-12),
            "n_wins": 3,
            "n_wins_base": 2,
            "n_draws": 2,
            "n_total": 7,
            "avg_length": 8,
        }
    statuses = [v.status for _, v in scored(found)]
    assert (statuses.count("scored"), statuses.count("unjudged")) == (7, 2)
    assert "2 of 9 rows have no preference (null): unjudged, no part of n, as published" in found.notes


def test_a_weighted_preference_is_a_number_between_and_draws_are_exact_halves(tmp_path: Path) -> None:
    path = put(tmp_path / "annotations.json", [row(n, p) for n, p in enumerate([1.25, 1.75, 1.5, 1.5000001])])
    form = alpaca_eval.published(scored(read(path)))
    assert form["win_rate"] == pytest.approx(100 * (0.25 + 0.75 + 0.5 + 0.5000001) / 4)
    assert form["discrete_win_rate"] == pytest.approx(100 * (0 + 1 + 0.5 + 1) / 4)
    assert (form["n_wins"], form["n_wins_base"], form["n_draws"]) == (2, 1, 1)


def test_an_empty_output_that_was_judged_counts_in_the_published_row_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "annotations.json", [row(0, 1, output_2=""), row(1, 2)])
    found = read(path)
    assert [v.status for _, v in scored(found, "strict")] == ["empty", "scored"]
    assert alpaca_eval.published(scored(found, "strict")) == alpaca_eval.published(scored(found, "original"))
    assert alpaca_eval.published(scored(found, "strict"))["n_total"] == 2


@pytest.mark.parametrize("strange", [3, -1, 0.5, 2.0001, "2", True, [2], {"p": 1}, float("inf")])
def test_a_preference_that_is_none_is_told_and_stays_in_n(tmp_path: Path, strange: Any) -> None:
    found = read(put(tmp_path / "annotations.json", [row(0, 2), row(1, strange)]))
    assert [v.status for _, v in scored(found)] == ["scored", "unjudged"]
    assert alpaca_eval.published(scored(found))["n_total"] == 1
    (note,) = (n for n in found.notes if "neither 0 nor 1 to 2" in n)
    assert note.startswith("1 of 2 rows")
    assert "annotations.json:2" in note


@given(st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.integers()))
def test_any_preference_is_a_share_or_nothing(value: Any) -> None:
    found = alpaca_results.preference(value)
    assert found is None or 0 <= found <= 1


def test_rows_that_cannot_be_read_are_kept_as_failed(tmp_path: Path) -> None:
    rows = [row(0, 2), None, ["x"], {"preference": 2}, row(4, 2) | {"instruction": 7}, row(5, 1)]
    found = read(put(tmp_path / "annotations.json", rows))
    assert sorted(r.problem.item.id for r in found.rows if r.answers[0].ended == "failed") == [
        "unreadable/2",
        "unreadable/3",
        "unreadable/4",
        "unreadable/5",
    ]
    assert [v.status for _, v in scored(found)].count("failed") == 4
    assert any(n.startswith("4 of 6 rows are no instruction and output") for n in found.notes)
    assert {r.model for r in found.rows} == {"camel-7b"}


def test_a_file_with_model_and_reference_in_each_others_place_is_turned_round(tmp_path: Path) -> None:
    def turned(number: int, preference: Any) -> dict[str, Any]:
        mine = {"output_1": "mine", "generator_1": "camel-7b", "output_2": "theirs", "generator_2": "text_davinci_003"}
        return row(number, preference, **mine)

    rows = [turned(0, 1), turned(1, 2), turned(2, 1.25), row(3, 2)]
    found = read(put(tmp_path / "annotations.json", rows))
    assert [r.answers[0].judged for r in found.rows] == [1.0, 0.0, 0.75, 1.0]
    assert [r.answers[0].text for r in found.rows] == ["mine", "mine", "mine", "answer 3"]
    assert found.rows[0].problem.more["reference"] == "theirs"
    assert {r.model for r in found.rows} == {"camel-7b"}
    assert "3 of 4 rows have the model as generator_1: their preference is turned round" in found.notes


def test_two_unknown_models_in_each_others_place_are_told_apart_by_the_folder(tmp_path: Path) -> None:
    rows = [row(n, 1, generator_1="camel-7b", generator_2="base-13b", output_1="mine") for n in range(3)]
    alone = read(put(tmp_path / "annotations.json", rows))
    assert {r.model for r in alone.rows} == {"base-13b"}
    laid_out = put(tmp_path / "results/Camel_7B/alpaca_eval_gpt4/annotations.json", rows)
    found = read(laid_out)
    assert {(r.model, r.answers[0].text, r.answers[0].judged) for r in found.rows} == {("camel-7b", "mine", 1.0)}
    assert not any("another model" in note for note in found.notes)


def test_several_models_in_one_file_are_scored_apart(tmp_path: Path) -> None:
    rows = [row(n, 2) for n in range(3)] + [row(n, 1, generator_2="camel-13b") for n in range(3)]
    found = read(put(tmp_path / "annotations.json", rows))
    assert [r.model for r in found.rows] == ["camel-7b"] * 3 + ["camel-13b"] * 3
    assert len({r.problem.item.id for r in found.rows}) == 3


def test_a_folder_that_names_another_model_is_told(tmp_path: Path) -> None:
    rows = [row(n, 2) for n in range(4)]
    right = put(tmp_path / "results/camel-7b/alpaca_eval_gpt4/annotations.json", rows)
    wrong = put(tmp_path / "results/dromedary/alpaca_eval_gpt4/annotations.json", rows)
    (note,) = (n for n in read(wrong).notes if "another model's file" in n)
    assert "dromedary, but 4 of 4 rows are of camel-7b" in note
    assert {r.model for r in read(wrong).rows} == {"camel-7b"}
    assert not any("another model's file" in n for n in read(right).notes)
    copy = "the file is the same, byte by byte, as"
    assert f"{copy} camel-7b/alpaca_eval_gpt4/annotations.json" in read(wrong).notes
    assert f"{copy} dromedary/alpaca_eval_gpt4/annotations.json" in read(right).notes
    alone = tmp_path / "elsewhere/dromedary/alpaca_eval_gpt4/annotations.json"  # without any other file beside it
    put(alone, rows)
    assert any("another model's file" in n for n in read(alone).notes)


def test_a_folder_that_names_another_judge_is_told(tmp_path: Path) -> None:
    path = tmp_path / "results/camel-7b/alpaca_eval_gpt4_turbo_fn/annotations.json"
    found = read(put(path, [row(0, 2, annotator="alpaca_eval_cot_gpt4_turbo_fn")]))
    (note,) = (n for n in found.notes if "another judge's file" in n)
    assert "alpaca_eval_gpt4_turbo_fn, but they were judged by alpaca_eval_cot_gpt4_turbo_fn" in note


def test_a_file_that_lies_in_no_published_layout_accuses_nobody(tmp_path: Path) -> None:
    for place in ("annotations.json", "downloads/annotations.json", "data/alpaca_eval/annotations.json"):
        notes = read(put(tmp_path / place, [row(0, 2)])).notes
        assert notes == ["judged by alpaca_eval_gpt4, against text_davinci_003"]


def test_a_folder_of_results_keeps_files_apart_and_sees_copies(tmp_path: Path) -> None:
    results = tmp_path / "results"
    put(results / "camel-7b/alpaca_eval_gpt4/annotations.json", [row(n, 2) for n in range(3)])
    copied = json.dumps([row(n, 2) for n in range(3)], indent=4)  # the same rows in other bytes
    put(results / "dromedary/alpaca_eval_gpt4/annotations.json", copied)
    put(results / "camel-13b/alpaca_eval_gpt4/annotations.json", [row(0, 1, generator_2="camel-13b")])
    found = read(results)
    assert sorted({r.model for r in found.rows}) == [
        "camel-13b",
        "camel-7b (camel-7b/alpaca_eval_gpt4)",
        "camel-7b (dromedary/alpaca_eval_gpt4)",
    ]
    assert any(n.endswith("hold the same rows: one is a copy of the other") for n in found.notes)
    assert any(n.startswith("dromedary/alpaca_eval_gpt4: another model's file") for n in found.notes)


def test_rows_find_their_instruction_whatever_their_order(tmp_path: Path) -> None:
    problems = [Problem(Item(f"oasst/{n}", f"Task {n}", group="oasst")) for n in range(5)]
    path = put(tmp_path / "annotations.json", [row(3, 2), row(0, 1), row(3, 1), row(99, 2)])
    found = read(path, problems)
    assert [(r.problem.item.id, r.answers[0].judged) for r in found.rows] == [
        ("oasst/3", 1.0),
        ("oasst/0", 0.0),
        ("oasst/3#2", 0.0),
    ]
    assert "1 of 4 rows repeat an instruction: each counts, under an id of its own" in found.notes
    assert "1 of 4 rows are for no instruction of these files: not scored" in found.notes
    with pytest.raises(UserError, match="no instruction is one of the benchmark's files"):
        read(path, [Problem(Item("oasst/0", "Something else"))])
    alone, again = read(path), read(path)
    assert [r.problem.item.id for r in alone.rows] == [r.problem.item.id for r in again.rows]
    assert len({r.problem.item.id for r in alone.rows}) == 4


def test_outputs_alone_wait_for_a_judge(tmp_path: Path) -> None:
    outputs = [{"instruction": f"Task {n}", "output": "x" * n, "generator": "camel-7b"} for n in range(4)]
    lines = "".join(json.dumps(o) + "\n" for o in outputs)
    listed = put(tmp_path / "results/camel-7b/model_outputs.json", outputs)
    for path in (listed, put(tmp_path / "camel-7b-greedy-long-output.json", lines), put(tmp_path / "o.jsonl", lines)):
        found = read(path)
        assert [r.answers[0].text for r in found.rows] == ["", "x", "xx", "xxx"]
        assert {v.status for _, v in scored(found)} == {"unjudged"}
        assert alpaca_eval.published(scored(found)) == {"avg_length": 1}
        assert any("evaluate judge" in note for note in found.notes)


def test_other_files_are_not_taken_for_results(tmp_path: Path) -> None:
    others = ['{"id": "oasst/0", "instruction": "Task 0", "output": "x"}\n', '{"id": 1, "output": "x"}\n', "", "[]"]
    for number, text in enumerate(others):
        for suffix in ("json", "jsonl"):
            assert alpaca_eval.stored(put(tmp_path / f"{number}.{suffix}", text), None) is None
    (tmp_path / "nothing").mkdir()
    assert alpaca_eval.stored(tmp_path / "nothing", None) is None


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"annotations\.json: not JSON"):
        read(put(tmp_path / "annotations.json", '[{"instruction": "x", '))


def test_half_a_surrogate_pair_becomes_a_mark(tmp_path: Path) -> None:
    found = read(put(tmp_path / "annotations.json", [row(0, 2, output_2="so \ud83d", instruction="\ude00 what")]))
    assert (found.rows[0].answers[0].text, found.rows[0].problem.item.question) == ("so \ufffd", "\ufffd what")


def completion(first: float | None, second: float | None) -> dict[str, Any]:
    top = [{"token": t, "logprob": p} for t, p in (("m", first), ("M", second), ("The", -9.0)) if p is not None]
    return {"logprobs": {"content": [{"token": "M", "top_logprobs": top}]}}


def test_the_judges_log_probabilities_are_checked_against_its_preference(tmp_path: Path) -> None:
    share = 1 / (1 + math.exp(-2))  # P(M) where M leads m by two
    rows = [
        row(0, 1 + share, raw_completion=completion(-2.5, -0.5)),
        row(1, 2 - share, raw_completion=completion(-2.5, -0.5)),  # the model was m
        row(2, 2.0, raw_completion=completion(None, -0.1)),
        row(3, 1.5, raw_completion=None),
        row(4, 1.5, raw_completion="None"),
    ]
    path = put(tmp_path / "annotations.json", rows)
    assert "the judge's own log-probabilities give the preference of 3 of 3 rows" in read(path).notes
    put(path, [*rows, row(5, 1.3, raw_completion=completion(-2.5, -0.5))])
    (note,) = (n for n in read(path).notes if "log-probabilities" in n)
    assert note.startswith("the judge's own log-probabilities give the preference of 3 of 4 rows")
    assert note.endswith("annotations.json:6")


@pytest.mark.parametrize(
    "broken", [None, "x", {}, {"logprobs": None}, {"logprobs": {"content": []}}, completion(None, None)]
)
def test_a_completion_without_log_probabilities_says_nothing(broken: Any) -> None:
    assert alpaca_results.from_log_probabilities(broken) is None


# the real files

BOARDS = ("alpaca_eval_gpt4", "weighted_alpaca_eval_gpt4_turbo")
COPIED = ("falcon-7b-instruct", "alpaca_eval_gpt4")


def board(folder: Path, annotator: str) -> dict[str, dict[str, str]]:
    with (folder / f"leaderboards/{annotator}_leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return {line[""]: line for line in csv.DictReader(file)}


@pytest.mark.real
def test_every_annotated_model_has_its_row_of_the_leaderboard(real_data: Path) -> None:
    folder = real_data / "benchmarks/alpaca_eval"
    problems = list(alpaca_eval.problems(folder, "generation"))
    paths = sorted(folder.glob("results/*/*/annotations.json"))
    assert len(paths) == 15
    for path in paths:
        model, annotator = path.parts[-3], path.parts[-2]
        expected = board(folder, annotator)[model]
        for known in (None, problems):
            found = read(path, known)
            for protocol in RULES:
                form = alpaca_eval.published(scored(found, protocol))
                assert len(form) == 8
                for name, value in form.items():
                    if (model, annotator, name) != (*COPIED, "avg_length"):
                        assert value == pytest.approx(float(expected[name]), abs=1e-9), (model, annotator, name)
        about = [n for n in found.notes if "another" in n]
        assert bool(about) == ((model, annotator) == COPIED)
        assert all(r.problem.more["reference"] is not None for r in found.rows)


@pytest.mark.real
def test_falcon_7bs_file_is_falcon_40bs_wherever_it_lies(real_data: Path, tmp_path: Path) -> None:
    place = "results/falcon-7b-instruct/alpaca_eval_gpt4/annotations.json"
    found = read(real_data / "benchmarks/alpaca_eval" / place)
    assert "the file is the same, byte by byte, as falcon-40b-instruct/alpaca_eval_gpt4/annotations.json" in found.notes
    assert {r.model for r in found.rows} == {"falcon-40b-instruct"}
    (tmp_path / place).parent.mkdir(parents=True)
    shutil.copy(real_data / "benchmarks/alpaca_eval" / place, tmp_path / place)
    (note,) = (n for n in read(tmp_path / place).notes if "another model's file" in n)
    assert "805 of 805 rows are of falcon-40b-instruct" in note


@pytest.mark.real
def test_weighted_preferences_are_those_of_the_log_probabilities(real_data: Path) -> None:
    checked = {
        "alpaca-7b": 802,
        "alpaca-7b_concise": 802,
        "alpaca-7b_verbose": 800,
        "falcon-7b-instruct": 803,
        "gpt-3.5-turbo-1106_concise": 801,
        "gpt4_gamed": 803,
        "text_davinci_001": 800,
    }
    for model, rows in checked.items():
        place = f"benchmarks/alpaca_eval/results/{model}/weighted_alpaca_eval_gpt4_turbo/annotations.json"
        notes = read(real_data / place).notes
        assert f"the judge's own log-probabilities give the preference of {rows} of {rows} rows" in notes


@pytest.mark.real
def test_all_results_at_once_are_told_apart(real_data: Path) -> None:
    found = read(real_data / "benchmarks/alpaca_eval/results")
    assert len({r.model for r in found.rows}) == 15
    assert sum("hold the same rows" in note for note in found.notes) == 1


@pytest.mark.real
def test_outputs_have_the_leaderboards_average_length(real_data: Path) -> None:
    folder = real_data / "benchmarks/alpaca_eval"
    for model, annotator in (("text_davinci_003", BOARDS[0]), ("gpt4_gamed", BOARDS[1])):
        form = alpaca_eval.published(scored(read(folder / f"results/{model}/model_outputs.json")))
        assert form["avg_length"] == int(board(folder, annotator)[model]["avg_length"])
