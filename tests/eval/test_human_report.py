import csv
import json
from pathlib import Path
from typing import Any

import pytest

from caravan.errors import UserError
from caravan.eval.human import showing
from caravan.eval.human.report import Report, report
from caravan.eval.human.store import Judgement, begin
from caravan.eval.pairs import Pair, Pairs
from test_human_sheet import HEADER, row, sheet

BETTER, SLIGHTLY, TIE, WORSE = "a-is-better", "a-is-slightly-better", "tie", "b-is-better"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Six pairs by oak (left, but for one) and elm; three of them judged by two, one by three."""
    swapped = {"model_a": "elm", "model_b": "oak"}
    rows = [
        row(1, "ada", BETTER, 1),
        row(1, "ben", SLIGHTLY, 2),
        row(2, "ada", TIE, 1, completion_b_is_acceptable="yes"),
        row(2, "ben", BETTER, 2),
        row(3, "ada", WORSE, 1, completion_a_is_acceptable="no", completion_b_is_acceptable="yes"),
        row(3, "ben", BETTER, 2),
        row(3, "cy", BETTER, 3),
        row(4, "cy", BETTER, 1, **swapped),
        row(5, "cy", None, 1),
        row(6, "cy", SLIGHTLY, 1),
        [None] * 15,
    ]
    return sheet(tmp_path / "sheet.xlsx", rows)


def value(found: Any) -> float:
    return round(float(found["value"]), 6)


def test_rates_take_the_first_vote_and_agreement_the_first_two(made: Path) -> None:
    told = report(made).told
    assert (told["votes"], told["people"], told["items"], told["not_judged"]) == (10, 3, 5, {"no preference": 1})
    (one,) = told["models"]
    assert (one["a"], one["b"], one["n"]) == ("elm", "oak", 5)
    # first votes: oak, tie, elm, elm (on the left), oak
    assert [value(one[name]) for name in ("a_wins", "ties", "b_wins", "a_win_rate")] == [0.4, 0.2, 0.4, 0.5]
    assert one["clearly"] == {"a": 2, "b": 1}
    assert [value(one[name]) for name in ("a_acceptable", "b_acceptable")] == [0.6, 0.6]
    agreed = told["agreement"]
    assert agreed["n"] == 3  # oak oak, tie oak, elm oak (and oak)
    assert (value(agreed["raw"]), value(agreed["relaxed"])) == (0.333333, 0.5)
    assert agreed["kappa"] == pytest.approx(0.0)
    assert value(agreed["acceptable_raw"]) == 0.5
    assert value(told["position"]) == 0.875  # 7 of 8 decided votes: the tie is none, nor is the one not judged
    assert agreed == one["agreement"]


def test_the_left_side_is_where_it_stood_whoevers_answer_it_was(made: Path) -> None:
    told = report(made).told
    assert told["position"]["n"] == 8
    persons = {one["person"]: one for one in told["persons"]}
    assert persons["ada"]["left"] == 0.5
    assert (persons["cy"]["left"], persons["cy"]["not_judged"], persons["cy"]["votes"]) == (1.0, 1, 4)
    assert (persons["ada"]["shared"], persons["ada"]["agrees"]) == (4, 0.25)
    assert persons["cy"]["seconds"] is None


def test_groups_are_reported_alone_within_and_between(made: Path) -> None:
    told = report(made, groups={"ada": "students", "ben": "paid", "cy": "paid"}).told
    paid, students = told["groups"]
    assert (paid["group"], paid["people"], paid["votes"]) == ("paid", 2, 7)
    assert (paid["agreement"]["n"], value(paid["agreement"]["raw"])) == (1, 1.0)
    assert students["agreement"]["n"] == 0
    assert students["agreement"]["raw"] is students["agreement"]["kappa"] is students["agreement"]["alpha"] is None
    assert [value(students["models"][0][name]) for name in ("a_wins", "ties", "b_wins")] == [0.333333] * 3
    (between,) = told["between"]
    assert between["groups"] == ["paid", "students"]
    assert (between["agreement"]["n"], value(between["agreement"]["raw"])) == (3, 0.333333)
    assert report(made).told["groups"] == []


def test_three_people_on_every_pair_give_fleiss_kappa(tmp_path: Path) -> None:
    words = [(BETTER, BETTER, TIE), (WORSE, WORSE, WORSE), (TIE, BETTER, WORSE), (TIE, TIE, BETTER)]
    rows = [row(n, who, word, 1) for n, three in enumerate(words) for who, word in zip("abc", three, strict=True)]
    # agreement per pair 1/3, 1, 0, 1/3; shares of oak, tie, elm 4/12 each
    expected = ((1 / 3 + 1 + 0 + 1 / 3) / 4 - 1 / 3) / (1 - 1 / 3)
    assert report(sheet(tmp_path / "s.xlsx", rows)).told["agreement"]["kappa"] == pytest.approx(expected, abs=1e-12)


def test_a_sheet_where_all_say_the_same_has_no_alpha_but_a_report(tmp_path: Path) -> None:
    rows = [row(n, who, TIE, 1) for n in range(4) for who in "ab"]
    found = report(sheet(tmp_path / "s.xlsx", rows))
    assert value(found.told["agreement"]["raw"]) == 1.0
    assert found.told["position"] is None
    json.dumps(found.told, allow_nan=False)
    assert "–" in showing.markdown(found)


def verdicts(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def test_a_judge_is_set_against_people(made: Path, tmp_path: Path) -> None:
    people = {1: "oak", 2: "tie", 3: "elm", 4: "elm"}  # what the first of them said
    rows: list[dict[str, Any]] = [{"id": str(n), "winner": name} for n, name in people.items()]
    rows += [
        {"id": 1, "winner": "oak"},
        {"id": "4", "generator_1": "oak", "generator_2": "elm", "preference": 1.2},  # the other order: another winner
        {"id": "6", "winner": None},
        {"id": "77", "winner": "elm"},
        {"id": "5", "winner": "elm"},
    ]
    found = report(made, judge=verdicts(tmp_path / "v.jsonl", rows))
    judge = found.told["models"][0]["judge"]
    assert (judge["n"], judge["not_understood"]) == (4, 1)
    assert (value(judge["raw"]), value(judge["relaxed"])) == (0.75, 0.875)
    assert (judge["flips"]["n"], value(judge["flips"])) == (2, 0.5)
    assert (value(judge["a_win_rate"]), value(judge["people_a_win_rate"])) == (0.5, 0.625)
    assert value(judge["difference"]) == -0.125
    assert found.told["notes"][-1].endswith("2 verdicts on what people did not judge are left out")
    assert "A judge against people" in showing.markdown(found)


def test_each_order_of_a_judge_is_set_against_people(made: Path, tmp_path: Path) -> None:
    said = {"ab": ("oak", "oak", "elm", None), "ba": ("oak", "tie", "oak", "elm")}  # people: oak, tie, elm, elm
    rows = [{"id": n, "order": order, "winner": w} for order, own in said.items() for n, w in enumerate(own, 1)]
    found = report(made, judge=verdicts(tmp_path / "v.jsonl", rows))
    judge = found.told["models"][0]["judge"]
    assert {order: (value(one), one["n"]) for order, one in judge["by_order"].items()} == {
        "ab": (0.666667, 3),
        "ba": (0.75, 4),
    }
    assert (judge["n"], judge["not_understood"], value(judge["raw"])) == (3, 1, 0.666667)
    assert "ab 66.7%, ba 75.0%" in showing.markdown(found)


@pytest.mark.parametrize(
    ("verdict", "what"),
    [
        ({"winner": "oak"}, "no 'id'"),
        ({"id": 1}, "no 'winner'"),
        ({"id": 1, "generator_1": "oak", "generator_2": "elm", "preference": 3}, "'preference' is 3"),
        ({"id": 1, "winner": "ash"}, "no verdict on what people judged"),
        ({"id": 1, "winner": 7}, "'winner' is 7"),
    ],
)
def test_a_verdict_that_cannot_be_read_is_named(made: Path, tmp_path: Path, verdict: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        report(made, judge=verdicts(tmp_path / "v.jsonl", [verdict]))


def test_a_store_is_read_with_sides_times_and_repeats(tmp_path: Path) -> None:
    pairs = Pairs("oak", "elm", [Pair(f"i{n:02}", "p", "a", "b") for n in range(20)], [])
    store = begin(tmp_path / "study", pairs)
    store.invite("ada", "students")
    for place in range(21):
        slot, _ = store.shown("ada", place) or pytest.fail("nothing there")
        oak_left = slot.left == "A"
        said = Judgement(-2 if oak_left else 2, oak_left, not oak_left, seconds=10.0 + place)
        if place == 0:
            said = Judgement(None, None, None, "hard", seconds=90)
        store.add(f"key-{place:04}", "ada", place, said)
    store.close()
    told = report(tmp_path / "study").told
    (one,) = told["models"]
    assert (one["a"], one["b"], one["n"]) == ("elm", "oak", 19)
    assert value(one["b_wins"]) == value(one["b_acceptable"]) == 1.0
    assert told["not_judged"] == {"hard": 1}
    assert told["repeats"]["n"] == 1
    assert (value(told["repeats"]), told["repeats"]["same_side"]) == (1.0, 0.0)
    assert told["persons"][0]["seconds"] == 21.0
    assert "too hard 1" in showing.markdown(report(tmp_path / "study"))


def test_an_empty_store_has_a_report(tmp_path: Path) -> None:
    store = begin(tmp_path / "study", Pairs("oak", "elm", [Pair("i", "p", "a", "b")], []))
    store.close()
    found = report(tmp_path / "study")
    assert found.told["models"] == found.told["persons"] == []
    assert "0 votes" in showing.markdown(found)
    assert "0" in showing.page(found)


def test_names_are_text_in_every_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "<img src=x onerror=alert(1)>|*x*\x1b[2J"
    rows = [row(1, who, BETTER, 1, model_b=evil) for who in ("ada", f"{evil}2")]
    path = tmp_path / "s.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    found = report(path)
    html = showing.page(found)
    assert "<img" not in html
    assert "&lt;img" in html
    assert "<script" not in html
    marked = showing.markdown(found)
    assert "\\<img" in marked
    assert "\x1b" not in marked
    assert "|*x*" not in marked
    showing.print_report(found)
    assert "\x1b[2J" not in capsys.readouterr().out


# Counted from the released sheet by a script that shares no code with this project.
PUBLISHED = {
    ("chatgpt", "tulu_65B"): (90.06, 79.22, 39.16, 33.13, 27.71, 63, 0.5556, 0.6825, 0.9048, 0.302),
    ("tulu_65B", "tulu_7B"): (78.92, 68.67, 45.18, 31.93, 22.89, 56, 0.6071, 0.7500, 0.7857, 0.384),
    ("tulu_65B", "tulu_human_only_65B"): (81.33, 72.29, 50.00, 29.82, 20.18, 2, 0.50, 0.75, 1.0, 0.0),
}


@pytest.fixture(scope="module")
def released(real_data: Path) -> Report:
    return report(real_data / "benchmarks/human_eval_tulu/eval_annotations_tulu_1.xlsx")


@pytest.mark.real
@pytest.mark.parametrize("names", PUBLISHED)
def test_the_released_sheet_gives_the_published_figures(released: Report, names: tuple[str, str]) -> None:
    (one,) = [found for found in released.told["models"] if (found["a"], found["b"]) == names]
    rates = [
        round(100 * one[name]["value"], 2) for name in ("a_acceptable", "b_acceptable", "a_wins", "ties", "b_wins")
    ]
    agreed = one["agreement"]
    shares = [round(agreed[name]["value"], 4) for name in ("raw", "relaxed", "acceptable_raw")]
    assert (*rates, agreed["n"], *shares, round(agreed["kappa"], 3)) == PUBLISHED[names]
    assert one["n"] == 332


@pytest.mark.real
def test_the_released_sheet_as_a_whole(released: Report) -> None:
    told = released.told
    assert (told["votes"], told["replaced"], told["people"], told["items"]) == (1141, 9, 16, 996)
    assert told["notes"] == ["152 blank rows passed over"]
    position = told["position"]
    assert (position["n"], round(position["value"], 3), round(position["stderr"], 3)) == (767, 0.546, 0.018)
    agreed = told["agreement"]
    assert (agreed["n"], round(agreed["raw"]["value"], 3)) == (121, 0.579)
    alpha = agreed["alpha"]
    assert [round(alpha[name], 2) for name in ("value", "low", "high")] == [0.33, 0.21, 0.46]
    assert 150 < agreed["needed"] < 230
    assert round(agreed["alpha_five"]["value"], 2) == 0.37
    assert (round(agreed["acceptable_raw"]["value"], 3), round(agreed["acceptable_alpha"]["value"], 2)) == (0.851, 0.48)
    assert sorted((one["votes"] for one in told["persons"]), reverse=True)[:3] == [189, 154, 136]
