"""Runs compared: pairing by item, seeds, families of tests, what is said and what is not ranked."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.comparing import showing
from caravan.eval.comparing.arms import Arm, read_arms, realigned
from caravan.eval.comparing.compare import Comparison, Pair, compare
from caravan.eval.comparing.runs import Row, Run, Table, frame_of
from made_logs import header, json_log, line, lm_eval, own_run, sample


def arm(name: str, scores: Sequence[float | None], *, benchmark: str = "towns", **table: Any) -> Arm:
    rows = [Row(f"i{n}", score=x, status="scored" if x is not None else "failed") for n, x in enumerate(scores)]
    return Arm(name, [Run(name, "caravan", name, [Table(benchmark, "", "accuracy", frame_of(rows)[0], **table)])])


def only(comparison: Comparison) -> Pair:
    (bench,) = comparison.benches
    (pair,) = bench.pairs
    return pair


def test_the_difference_is_paired_and_of_the_items_that_both_have() -> None:
    base = [1, 1, 0, 0, None, 1, 0, 0]
    other = [1, 1, 1, 1, 1, None, 0]
    found = only(compare([arm("oak", base), arm("elm", other)]))
    assert (found.base, found.arm) == ("oak", "elm")
    assert (found.shared, found.used, found.base_only, found.arm_only) == (7, 5, 1, 0)
    expected = statistics.difference([1.0, 1, 1, 1, 0], [1.0, 1, 0, 0, 0])
    assert found.difference.estimate.value == pytest.approx(0.4)
    assert (found.difference.estimate.low, found.difference.p) == (expected.estimate.low, expected.p)
    assert (found.difference.a_only, found.difference.b_only) == (2, 0)


def test_scores_are_of_all_items_of_a_run() -> None:
    comparison = compare([arm("oak", [1, 0, None, None, 1])])
    (score,) = comparison.benches[0].scores
    assert (score.estimate.value, score.estimate.n, score.items, dict(score.without)) == (2 / 3, 3, 5, {"failed": 2})
    assert (score.estimate.low, score.estimate.high) == statistics.wilson(2, 3)
    assert not comparison.benches[0].pairs


def test_a_difference_is_told_and_an_unresolved_one_is_not_ranked() -> None:
    base = [0.0] * 50 + [1.0] * 50
    better = [0.0] * 20 + [1.0] * 80
    told = only(compare([arm("oak", base), arm("elm", better)])).verdict
    assert told.startswith("elm is better by 30.0 points")
    told = only(compare([arm("oak", better), arm("elm", base)])).verdict
    assert told.startswith("oak is better by 30.0 points")
    close = [1.0, 0.0, *base[2:]]
    found = only(compare([arm("oak", base), arm("elm", close)]))
    assert found.verdict.startswith("no evidence of a difference")
    assert (found.difference.needed, found.verdict.partition("; ")[2]) == (785, "you would need about 780 items")
    assert "better" not in found.verdict


def test_lower_is_better_turns_the_verdict() -> None:
    base = [0.0] * 50 + [1.0] * 50
    worse = [0.0] * 20 + [1.0] * 80
    told = only(compare([arm("oak", base, lower_is_better=True), arm("elm", worse, lower_is_better=True)])).verdict
    assert told.startswith("oak is better by 30.0 points")


def test_holm_over_the_whole_table() -> None:
    base = [0.0] * 40
    arms = [arm("oak", base), arm("elm", [1.0] * 6 + [0.0] * 34), arm("fir", [1.0] * 7 + [0.0] * 33)]
    comparison = compare(arms)
    pairs = comparison.benches[0].pairs
    raw = [pair.difference.p for pair in pairs]
    assert raw == [pytest.approx(2 / 2**6), pytest.approx(2 / 2**7)]
    assert [pair.p for pair in pairs] == statistics.holm(raw) == [pytest.approx(2 / 2**6), pytest.approx(4 / 2**7)]
    assert (comparison.family, comparison.every) == (2, 3)
    (other,) = comparison.benches[0].others
    assert (other.base, other.arm) == ("elm", "fir")
    assert other.p == statistics.holm([*raw, other.difference.p])[2]


def test_what_counts_alone_but_not_among_many_is_said() -> None:
    base = [0.0] * 40
    arms = [arm("oak", base), *(arm(f"n{n}", [1.0] * (6 if n == 0 else 1) + [0.0] * 34) for n in range(3))]
    first = compare(arms).benches[0].pairs[0]
    assert first.difference.p < 0.05 < first.p
    assert first.verdict.endswith("alone it would show one, among so many comparisons it does not")


def test_seeds_are_pooled_and_items_that_a_seed_lacks_do_not_count(tmp_path: Path) -> None:
    values: list[list[float | None]] = [[1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1], [0, 1, 1, 1, None, 1]]
    paths = [str(own_run(tmp_path / f"s{n}", {"": own}, model="elm")) for n, own in enumerate(values)]
    base = str(own_run(tmp_path / "b", {"": [0, 0, 1, 0, 0, 1]}, model="oak"))
    comparison = compare(read_arms([base, f"mix={','.join(paths)}"]))
    assert comparison.arms == ["oak", "mix"]
    score = comparison.benches[0].scores[1]
    kept = [[float(own[n] or 0) for n in (0, 1, 2, 3, 5)] for own in values]
    assert score.estimate == statistics.pool_seeds(kept)
    assert (score.seeds, dict(score.without)) == (3, {"incomplete": 1})
    pair = comparison.benches[0].pairs[0]
    expected = statistics.seeds_difference(kept, [[0, 0, 1, 0, 1]])
    assert (pair.difference.estimate.value, pair.difference.p) == (expected.estimate.value, expected.p)
    assert "the one seed of oak is taken as it is" in pair.difference.estimate.method


def test_groups_are_strata_and_clusters_are_kept(tmp_path: Path) -> None:
    scores = {"law": [1, 1, 0, 1], "art": [0, 0, 1, 0]}
    cluster = ["a", "a", "b", "b", "", "", "c", "c"]
    a = own_run(tmp_path / "a", scores, model="oak", cluster=cluster)
    b = own_run(tmp_path / "b", {"law": [1, 1, 1, 1], "art": [0, 1, 1, 1]}, model="elm", cluster=cluster)
    comparison = compare(read_arms([str(a), str(b)]))
    score = comparison.benches[0].scores[0]
    own = [c or f"item art/{n}" for n, c in enumerate(cluster)]
    strata = ["law"] * 4 + ["art"] * 4
    assert score.estimate == statistics.mean([1, 1, 0, 1, 0, 0, 1, 0], strata=strata, clusters=own)
    assert {name: one.value for name, one in score.groups.items()} == {"art": 0.25, "law": 0.75}
    pair = comparison.benches[0].pairs[0]
    assert pair.difference.estimate.clusters == 5
    assert pair.difference.estimate.stderr == pytest.approx(
        statistics.difference(
            [1, 1, 1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 0, 0, 1, 0], strata=strata, clusters=own
        ).estimate.stderr
    )


def test_macro_only_where_both_average_so(tmp_path: Path) -> None:
    told = {"benchmark": "towns", "variant": "5-shot", "protocol": "strict", "metric": "accuracy"}
    values = {"law": [1, 1, 1, 1, 1, 1], "art": [0, 0]}
    macro = own_run(tmp_path / "a", values, model="oak", scores_file=[{**told, "average": "macro"}])
    micro = own_run(tmp_path / "b", values, model="elm", scores_file=[{**told, "average": "micro"}])
    comparison = compare(read_arms([str(macro), str(micro)]))
    assert [score.estimate.value for score in comparison.benches[0].scores] == [0.5, 0.75]
    assert only(comparison).difference.estimate.value == 0


def test_what_differs_beside_the_model_is_said(tmp_path: Path) -> None:
    told = {
        "benchmark": "towns",
        "variant": "5-shot",
        "protocol": "strict",
        "metric": "accuracy",
        "data_hash": "a" * 32,
    }
    a = own_run(tmp_path / "a", {"": [1, 0, 1]}, model="oak", scores_file=[told])
    told |= {"data_hash": "b" * 32, "protocol": "tulu"}
    b = own_run(tmp_path / "b", {"": [1, 0, 1]}, model="elm", prompt="q", scores_file=[told], protocol="tulu")
    pair = only(compare(read_arms([str(a), str(b)])))
    assert pair.marks == [
        "protocol differs: tulu against strict",
        "data differs: bbbbbbbb against aaaaaaaa",
        "shared items asked with other prompts: 3 of 3",
    ]
    assert pair.used == 3
    line_ = showing.verdicts(compare(read_arms([str(a), str(b)])))[0]
    assert "But: protocol differs: tulu against strict;" in line_


def test_items_in_one_run_alone_are_counted_and_none_in_common_is_said() -> None:
    few = arm("elm", [1.0, 0.0])
    pair = only(compare([arm("oak", [1.0, 1.0, 1.0]), few]))
    assert showing.marked(pair) == " Items only in oak: 1."
    rows = [Row(f"other {n}", score=1.0) for n in range(3)]
    strange = Arm("fir", [Run("fir", "caravan", "", [Table("towns", "", "accuracy", frame_of(rows)[0])])])
    pair = only(compare([arm("oak", [1.0, 1.0]), strange]))
    assert (pair.verdict, pair.used) == ("no items in common", 0)
    assert math.isnan(pair.p)


def test_a_benchmark_that_one_run_lacks_is_shown_without_a_comparison() -> None:
    comparison = compare(
        [arm("oak", [1.0]), arm("elm", [1.0], benchmark="lakes"), arm("fir", [0.0], benchmark="lakes")]
    )
    assert [(bench.name, len(bench.pairs), len(bench.others)) for bench in comparison.benches] == [
        ("towns", 0, 0),
        ("lakes", 0, 1),
    ]
    assert comparison.family == 0


def test_values_that_are_no_shares_are_told_as_they_are() -> None:
    base = [float(n % 5) for n in range(60)]
    comparison = compare([arm("oak", base), arm("elm", [x + 2.5 + (n % 3) / 10 for n, x in enumerate(base)])])
    pair = only(comparison)
    assert pair.verdict.startswith("elm is better by 2.6 (2.")
    assert showing.scores_table(comparison, True).rows[0][4] == "2.000"


def test_further_metrics_are_adjusted_among_themselves(tmp_path: Path) -> None:
    base = [0.0] * 40
    better = [1.0] * 8 + [0.0] * 32
    a = own_run(tmp_path / "a", {"": base}, model="oak", metrics={"f1": [0.0] * 40, "em": [0.0] * 40})
    b = own_run(tmp_path / "b", {"": better}, model="elm", metrics={"f1": better, "em": better})
    comparison = compare(read_arms([str(a), str(b)]))
    assert [(bench.key[2], bench.headline) for bench in comparison.benches] == [
        ("accuracy", True),
        ("f1", False),
        ("em", False),
    ]
    p = [bench.pairs[0].p for bench in comparison.benches]
    assert p == [pytest.approx(2 / 2**8), pytest.approx(4 / 2**8), pytest.approx(4 / 2**8)]
    assert comparison.family == 1


def test_parts_of_a_benchmark_are_one_where_all_runs_have_them(tmp_path: Path) -> None:
    def run(name: str, tasks: tuple[str, ...]) -> str:
        lines = {task: [line(n, acc=float(n < 2)) for n in range(4)] for task in tasks}
        subtasks = {"world": ["law", "art"]}
        return str(lm_eval(tmp_path / name, lines, {t: {} for t in tasks}, model=name, group_subtasks=subtasks))

    whole, other, part = run("oak", ("law", "art")), run("elm", ("law", "art")), run("fir", ("law",))
    (bench,) = compare(read_arms([whole, other])).benches
    assert (bench.key, bench.scores[0].items) == (("world", "", "acc"), 8)
    assert sorted(bench.scores[0].groups) == ["art", "law"]
    assert bench.pairs[0].used == 8
    names = [(bench.name, len(bench.pairs)) for bench in compare(read_arms([whole, part])).benches]
    assert names == [("art", 0), ("law", 1)]


def test_items_are_matched_by_content_where_numbers_were_given_anew() -> None:
    rows = [Row(str(n), score=float(n % 2), data=f"d{n}") for n in range(10)]
    turned = [row._replace(id=str(9 - n)) for n, row in enumerate(rows)]
    first, second = frame_of(rows)[0], frame_of(turned)[0]
    again = realigned(second, first)
    assert dict(zip(again["id"], again["data"], strict=True)) == {f"{n}": f"d{n}" for n in range(10)}
    strangers = [*turned[:8], Row("3", data="new", score=0.0), Row("40", data="newer", score=0.0)]
    again = realigned(frame_of(strangers[:6] + strangers[8:])[0], first)
    assert again["id"].to_list()[-2:] == ["3 (other)", "40"]
    same = frame_of([row._replace(data=f"e{n}") for n, row in enumerate(rows)])[0]
    assert realigned(same, first).equals(same)
    unknown = frame_of([row._replace(data="") for row in turned])[0]
    assert realigned(unknown, first).equals(unknown)


def test_names_of_runs(tmp_path: Path) -> None:
    a, b = (str(own_run(tmp_path / name, {"": [1, 0]}, model="oak")) for name in ("a", "b"))
    assert [one.name for one in read_arms([a, b])] == ["oak (a)", "oak (b)"]
    assert [one.name for one in read_arms([f"one={a}", b])] == ["one", "oak"]
    odd = str(own_run(tmp_path / "x=y", {"": [1]}, model="/home/me/runs/oak-2"))
    assert read_arms([odd])[0].name == "oak-2"
    for bad, says in [
        ([f"n={a}", f"n={b}"], "two runs are named 'n'"),
        ([f"={a}"], "names no run"),
        ([f"n={a},"], "names no run"),
        ([f"n={a},{a}"], "names a run twice"),
        (["n=nothing"], "no such file"),
    ]:
        with pytest.raises(UserError, match=says):
            read_arms(bad)
    with pytest.raises(UserError, match="no run is named"):
        compare([])


def test_a_seed_without_a_benchmark_is_said(tmp_path: Path) -> None:
    samples = [sample(n) for n in range(3)]
    a = json_log(tmp_path / "a.json", header(samples, {}), samples)
    head = header(samples, {})
    head["eval"] = head["eval"] | {"task": "lakes"}
    b = json_log(tmp_path / "b.json", head, samples)
    comparison = compare(read_arms([f"elm={a},{b}"]))
    assert not comparison.benches
    assert comparison.notes[0] == "elm: 1 of 2 seeds have rivers  match, so it is left out"


def test_json_markdown_and_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = own_run(tmp_path / "a", {"law": [1, 0, None], "a|b": [1, 1]}, model="oak")
    b = own_run(tmp_path / "b", {"law": [1, 1, 1], "a|b": [1, 0]}, model="<b>[elm](http://x)_\n| #")
    comparison = compare(read_arms([str(a), str(b)]))
    told = json.loads(json.dumps(showing.as_json(comparison), allow_nan=False))
    assert told["baseline"] == "oak"
    (bench,) = told["benchmarks"]
    assert bench["scores"][0]["without_value"] == {"failed": 1}
    assert bench["pairs"][0]["used"] == 4
    assert bench["pairs"][0]["verdict"].startswith("no evidence")
    text = showing.markdown(comparison)
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "[elm]" not in text
    table = [row for row in text.splitlines() if row.startswith("| towns")]
    assert len({row.replace("\\|", "").count("|") for row in table[:2]}) == 1
    showing.print_comparison(comparison)
    printed = capsys.readouterr().out
    assert "no evidence of a difference" in printed
    assert "p-values of 1 comparisons are adjusted together" in printed
    assert "\\x0a" in printed
    one = showing.markdown(compare(read_arms([str(a)])))
    assert one.startswith("# oak\n")
    assert "Against" not in one


def test_published_figures_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [sample(n, "CI"[n % 2]) for n in range(4)]
    good = json_log(tmp_path / "a.json", header(samples, {"accuracy": 0.5}), samples)
    bad = json_log(tmp_path / "b.json", header(samples, {"accuracy": 0.7, "std": 1.0}), samples)
    comparison = compare(read_arms([f"good={good}", f"bad={bad}"]))
    lines = showing.published(comparison)
    assert lines[0] == "Published figures: 1 differ from it, 1 equal what the items give, 1 cannot be checked."
    assert lines[1] == "bad: rivers match accuracy: 0.7 is published, the items give 0.5"
    assert lines[2].startswith("bad: not checked (1): no plain mean")
    showing.print_comparison(comparison)
    assert lines[1] in capsys.readouterr().out


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(6)]
    a = own_run(tmp_path / "a", {"": [1, 0, 1, 1, 0, 0]}, model="oak", ids=ids)
    b = own_run(tmp_path / "b", {"": [1, 1, 1, 1, 0, 1]}, model="elm", ids=ids)
    c = own_run(tmp_path / "c", {"": [1, 0, 1, 1, 1, 1]}, model="elm", ids=ids[::-1])
    one, two = (only(compare(read_arms([str(a), str(other)]))) for other in (b, c))
    assert one.difference == two.difference


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, None]), st.sampled_from([0.0, 0.5, 1.0, None])), min_size=1, max_size=40
    )
)
@settings(max_examples=60, deadline=None)
def test_every_item_is_counted_once(pairs: list[tuple[float | None, float | None]]) -> None:
    base, other = ([pair[n] for pair in pairs] for n in (0, 1))
    comparison = compare([arm("oak", base), arm("elm", other)])
    for score in comparison.benches[0].scores:
        assert score.estimate.n + sum(score.without.values()) == len(pairs)
    pair = only(comparison)
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    assert (pair.used, pair.shared) == (len(both), len(pairs))
    assert pair.difference.a_only == sum(y > x for x, y in both)
    assert pair.difference.b_only == sum(y < x for x, y in both)
    assert math.isnan(pair.p) or 0 <= pair.difference.p <= pair.p <= 1
    turned = only(compare([arm("elm", other), arm("oak", base)]))
    if both:
        assert turned.difference.estimate.value == pytest.approx(-pair.difference.estimate.value, abs=1e-12)
    json.dumps(showing.as_json(comparison), allow_nan=False)


def test_a_frame_keeps_the_first_of_an_id() -> None:
    frame, repeated = frame_of([Row("a", score=1.0), Row("b", score=0.0), Row("a", score=0.0)])
    assert (frame["score"].to_list(), repeated) == ([1.0, 0.0], 1)
    assert frame.schema["score"] == pl.Float64


@pytest.mark.real
def test_real_logs_side_by_side(real_data: Path) -> None:
    logs = real_data / "benchmarks" / "logs" / "lm_eval" / "pyfade"
    paths = [str(logs / f"results_2025-10-14T{time}.json") for time in ("14-44-39.372006", "15-11-56.507865")]
    comparison = compare(read_arms(paths))
    assert comparison.arms == ["gemma3_12b_u2", "gemma-3-12b-it-base"]
    assert len(comparison.benches) == comparison.family == 3
    for bench in comparison.benches:
        (pair,) = bench.pairs
        assert (pair.used, pair.difference.a_only, pair.difference.b_only) == (3, 1, 0)
        assert pair.verdict.startswith("no evidence of a difference")
        assert any(mark.startswith("chat template differs") for mark in pair.marks)
