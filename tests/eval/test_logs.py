"""Logs of inspect_ai and lm-eval: read as they are, their figures found again or refused."""

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caravan.errors import UserError
from caravan.eval.comparing.inspect_logs import as_number
from caravan.eval.comparing.runs import Run, read_run
from made_logs import DATE, eval_log, header, json_log, line, lm_eval, own_run, sample, zstd_log

TEN = ["C", "C", "C", "C", "C", "C", "C", "C", "I", "I"]
STDERR = math.sqrt(0.8 * 0.2 / 9)  # of eight right answers in ten


def scores(run: Run, table: int = 0) -> dict[str, float | None]:
    frame = run.tables[table].frame
    return dict(zip(frame["id"], frame["score"], strict=True))


def verdicts(run: Run) -> dict[str, tuple[str, str]]:
    return {figure.what: (figure.verdict, figure.why) for figure in run.figures}


@pytest.mark.parametrize("form", ["json", "eval", "large", "zstd"])
def test_inspect_log_in_every_form(tmp_path: Path, form: str) -> None:
    samples = [sample(n, value) for n, value in enumerate(TEN, 1)]
    head = header(samples, {"accuracy": 0.8, "stderr": STDERR})
    if form == "json":
        path = json_log(tmp_path / "log.json", head, samples)
    elif form == "zstd":
        members = {f"samples/{s['id']}_epoch_1.json": json.dumps(s).encode() for s in samples}
        path = zstd_log(tmp_path / "log.eval", members | {"header.json": json.dumps(head).encode()})
    else:
        path = eval_log(tmp_path / "log.eval", head, samples, large=form == "large")
    run = read_run(path)
    assert (run.name, run.source) == ("elm/elm-2", "inspect_ai")
    assert run.tables[0].key == ("rivers", "", "match")
    assert list(scores(run)) == [str(n) for n in range(1, 11)]
    assert sum(x or 0 for x in scores(run).values()) == 8
    assert [figure.verdict for figure in run.figures] == ["equal", "equal"]
    assert not run.notes
    answers = run.tables[0].frame
    assert set(answers["answer"]) == {"the answer"}
    assert answers["prompt"].n_unique() == answers["data"].n_unique() == 10


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("C", 1),
        ("I", 0),
        ("P", 0.5),
        ("N", 0),
        (True, 1),
        (False, 0),
        (3, 3),
        (-0.25, -0.25),
        ("YES", 1),
        ("0.75", 0.75),
    ],
)
def test_values_that_are_numbers(value: Any, number: float) -> None:
    assert as_number(value) == number


@pytest.mark.parametrize(
    "value", ["c", "", "pass", "nan", "inf", float("nan"), float("inf"), None, 10**400, 1e300, {}, []]
)
def test_values_that_are_none(value: Any) -> None:
    assert as_number(value) is None


def test_values_of_several_parts_and_scorers(tmp_path: Path) -> None:
    samples: list[dict[str, Any]] = []
    for n, (right, fluent) in enumerate([(1, 0.5), (0, 0.25), (1, 1.0)]):
        one = sample(n, {"right": right, "fluent": fluent})
        one["scores"]["judge"] = {"value": [n, "C"]}
        samples.append(one)
    run = read_run(json_log(tmp_path / "log.json", header(samples, {}), samples))
    assert [(t.metric, t.headline) for t in run.tables] == [
        ("match/right", True),
        ("match/fluent", False),
        ("judge/0", True),
        ("judge/1", False),
    ]
    assert scores(run, 1) == {"0": 0.5, "1": 0.25, "2": 1.0}
    assert scores(run, 2) == {"0": 0, "1": 1, "2": 2}


def test_figures_of_parts_have_the_part_for_a_name(tmp_path: Path) -> None:
    samples = [sample(n, {"right": n % 2, "fluent": 1}) for n in range(4)]
    head = header(samples, {})
    mean = {"mean": {"name": "mean", "value": 0.5}}
    head["results"]["scores"] = [
        {"name": "right", "scorer": "match", "metrics": mean},
        {"name": "fluent", "scorer": "match", "metrics": mean},
    ]
    run = read_run(json_log(tmp_path / "log.json", head, samples))
    assert [(f.what, f.verdict) for f in run.figures] == [
        ("rivers match/right mean", "equal"),
        ("rivers match/fluent mean", "differs"),
    ]


def test_epochs_are_one_item(tmp_path: Path) -> None:
    samples = [sample(n, value, epoch=e) for n, pair in enumerate(["CI", "CC"]) for e, value in enumerate(pair, 1)]
    head = header(samples, {"accuracy": 0.75, "stderr": 0.25})
    run = read_run(eval_log(tmp_path / "log.eval", head, samples))
    assert scores(run) == {"0": 0.5, "1": 1.0}
    assert [figure.verdict for figure in run.figures] == ["equal", "equal"]


@pytest.mark.parametrize(("reducer", "why"), [("max", "epochs are put together by max"), ("mean", "")])
def test_other_reductions_are_refused(tmp_path: Path, reducer: str, why: str) -> None:
    samples = [sample(1, value, epoch=e) for e, value in enumerate("CI", 1)] + [sample(2, "I", epoch=1)]
    head = header(samples, {"accuracy": 0.25})
    head["results"]["scores"][0]["reducer"] = reducer
    (figure,) = read_run(json_log(tmp_path / "log.json", head, samples)).figures
    assert (figure.verdict, figure.why) == (("refused", why) if why else ("equal", ""))


def test_metrics_that_are_no_mean_are_refused(tmp_path: Path) -> None:
    samples = [sample(n, value) for n, value in enumerate(TEN)]
    head = header(samples, {"std": 0.4, "stderr": 0.1})
    head["results"]["scores"][0]["metrics"]["stderr"]["params"] = {"cluster": "source"}
    run = read_run(json_log(tmp_path / "log.json", head, samples))
    assert {verdict for verdict, _ in verdicts(run).values()} == {"refused"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "cancelled"}, "the run was cancelled: 10 of 10 samples are in the log"),
        ({"status": "error"}, "the run ended in an error: 10 of 10 samples are in the log"),
        ({"status": "started"}, "the run had not ended: 10 of 10 samples are in the log"),
        ({"invalidated": True}, "the log was marked as invalid"),
    ],
)
def test_figures_of_runs_that_did_not_end_well_are_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    samples = [sample(n, value) for n, value in enumerate(TEN)]
    run = read_run(json_log(tmp_path / "log.json", header(samples, {"accuracy": 0.8}) | change, samples))
    assert verdicts(run) == {"rivers match accuracy": ("refused", why)}
    assert run.figures[0].recomputed == 0.8
    assert run.notes == [f"rivers: {why}"]


def test_a_log_that_was_cut_is_refused(tmp_path: Path) -> None:
    samples = [sample(n, value) for n, value in enumerate(TEN)]
    run = read_run(json_log(tmp_path / "log.json", header(samples, {"accuracy": 0.8}), samples[:4]))
    why = "its figures are of 10 samples, but 4 are in the log"
    assert verdicts(run) == {"rivers match accuracy": ("refused", why)}


def test_samples_that_failed_or_were_not_scored_have_no_value(tmp_path: Path) -> None:
    unscored = sample(3, float("nan"))
    odd = sample(4, "splendid")
    samples = [sample(1, "C"), sample(2, "C", error={"message": "boom"}), unscored, odd, sample(5, scores=None)]
    head = header(samples, {"accuracy": 0.5})
    head["results"]["completed_samples"] = 4
    run = read_run(eval_log(tmp_path / "log.eval", head, samples))
    frame = run.tables[0].frame
    statuses = dict(zip(frame["id"], frame["status"], strict=True))
    assert statuses == {"1": "scored", "2": "failed", "3": "unjudged", "4": "unjudged", "5": "unjudged"}
    assert scores(run) == {"1": 1.0, "2": None, "3": None, "4": None, "5": None}
    assert verdicts(run)["rivers match accuracy"] == ("refused", "samples without a value here: 4")


def test_a_figure_that_the_items_do_not_give_differs(tmp_path: Path) -> None:
    samples = [sample(n, value) for n, value in enumerate(TEN)]
    run = read_run(json_log(tmp_path / "log.json", header(samples, {"accuracy": 0.9}), samples))
    assert [(f.published, f.recomputed, f.verdict) for f in run.figures] == [(0.9, 0.8, "differs")]


def test_version_1_and_a_log_that_goes_on(tmp_path: Path) -> None:
    samples = [{k: v for k, v in sample(n).items() if k != "scores"} | {"score": {"value": "CI"[n]}} for n in (0, 1)]
    head = header(samples, {}) | {"version": 1}
    head["results"] = {"scorer": {"name": "match"}, "metrics": {"accuracy": {"name": "accuracy", "value": 0.5}}}
    run = read_run(json_log(tmp_path / "old.json", head, samples))
    assert [(f.what, f.verdict) for f in run.figures] == [("rivers score accuracy", "equal")]
    going = read_run(eval_log(tmp_path / "going.eval", None, [sample(1), sample(2, "I")]))
    assert going.notes == ["rivers: the run had not ended: 2 samples are in the log"]
    assert scores(going) == {"1": 1.0, "2": 0.0}


def test_repeated_samples_are_counted_and_groups_found(tmp_path: Path) -> None:
    samples = [sample(1, "C", metadata={"subject": "law"}), sample(1, "I"), sample(2, "I", metadata={"subject": 7})]
    run = read_run(json_log(tmp_path / "log.json", header(samples, {}), samples))
    assert scores(run) == {"1": 1.0, "2": 0.0}
    assert run.tables[0].frame["group"].to_list() == ["law", ""]
    assert "samples that repeat an id and epoch: 1; the first counts" in run.notes[-1]


def test_folder_of_logs_is_one_run_of_one_model(tmp_path: Path) -> None:
    samples = [sample(1), sample(2)]
    json_log(tmp_path / "a.json", header(samples, {}), samples)
    other = header(samples, {})
    other["eval"] = other["eval"] | {"task": "lakes"}
    json_log(tmp_path / "b.json", other, samples)
    (tmp_path / "stray.json").write_text("{broken")
    assert [t.benchmark for t in read_run(tmp_path).tables] == ["rivers", "lakes"]
    json_log(tmp_path / "c.json", other, samples)
    with pytest.raises(UserError, match=r"two logs of lakes: b\.json and c\.json"):
        read_run(tmp_path)


def test_logs_that_hold_nothing(tmp_path: Path) -> None:
    samples = [sample(1)]
    with pytest.raises(UserError, match="the log keeps no samples"):
        read_run(json_log(tmp_path / "a.json", header(samples, {"accuracy": 1.0}), []))
    with pytest.raises(UserError, match="it has no scored items"):
        read_run(json_log(tmp_path / "b.json", header(samples, {}), [sample(1, scores=None)]))


def broken(tmp_path: Path, how: str) -> Path:
    path = tmp_path / "log.eval"
    samples = [sample(n) for n in range(3)]
    eval_log(path, header(samples, {}), samples)
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "text":
        path.write_text("no zip at all")
    elif how == "flipped":
        at = data.index(b"samples/0_epoch_1.json") + 40
        path.write_bytes(data[:at] + bytes(b ^ 0xFF for b in data[at : at + 20]) + data[at + 20 :])
    elif how == "no header":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("samples/1_epoch_1.json", json.dumps(samples[0]))
    elif how == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", b" " * (40 * 2**20))
    elif how == "zstd lies":
        zstd_log(path, {"header.json": b"{}"})
        path.write_bytes(path.read_bytes().replace(b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfe"))
    elif how == "nested":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", "[" * 100_000)
    elif how == "no eval":
        eval_log(path, {"version": 2}, samples)
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", "not a zip archive"),
        ("text", "not a zip archive"),
        ("flipped", "cannot be unpacked|not what was packed"),
        ("no header", "no header.json in it"),
        ("bomb", "unpack to 41,943,040: not read"),
        ("zstd lies", "cannot be unpacked"),
        ("nested", "nested too deeply|not JSON"),
        ("no eval", "no 'eval' in its header"),
    ],
)
def test_broken_archives_are_one_line(tmp_path: Path, how: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read_run(broken(tmp_path, how))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        {"eval": {}, "version": "x", "results": [], "status": 7},
        {"eval": {"task": {"a": 1}, "model": ["m"], "dataset": 3, "config": "c"}, "results": {"scores": {"a": 1}}},
        {"eval": {"task": "t"}, "results": {"scores": [1, {"name": "match", "metrics": [2]}]}},
        {"eval": {"task": "t"}, "results": {"scores": [{"name": "match", "metrics": {"accuracy": "high"}}]}},
    ],
)
def test_headers_of_any_shape(tmp_path: Path, head: dict[str, Any]) -> None:
    samples: list[dict[str, Any]] = [sample(1), {"id": None, "scores": 3}, sample(2, messages="none", metadata=[])]
    samples += [sample("x" * 5000), sample("\ud800")]
    run = read_run(json_log(tmp_path / "log.json", head, samples))
    assert len(run.tables[0].frame) == 5
    assert max(map(len, run.tables[0].frame["id"])) <= 200


def test_lm_eval_folder_has_a_table_for_each_filter_and_metric(tmp_path: Path) -> None:
    lines = []
    for doc in range(10):
        lines.append(line(doc, "strict-match", exact_match=float(doc == 0)))
        lines.append(line(doc, "flexible-extract", exact_match=doc < 8))
    lines[2]["filtered_resps"] = ["[invalid]"]
    published = {
        "alias": "sums",
        "exact_match,strict-match": 0.1,
        "exact_match_stderr,strict-match": 0.1,
        "exact_match,flexible-extract": 0.8,
        "exact_match_stderr,flexible-extract": STDERR,
    }
    run = read_run(lm_eval(tmp_path / "fir", {"sums": lines}, {"sums": published}))
    assert (run.name, run.source) == ("fir/fir-3b", "lm-eval")
    assert [t.key for t in run.tables] == [("sums", f, "exact_match") for f in ("strict-match", "flexible-extract")]
    assert [f.verdict for f in run.figures] == ["equal"] * 4
    assert run.tables[0].frame["status"].to_list().count("unextractable") == 1
    assert run.tables[0].frame["data"].to_list() == [f"d{n}" for n in range(10)]
    for name in (f"results_{DATE}.json", f"samples_sums_{DATE}.jsonl"):
        assert scores(read_run(tmp_path / "fir" / name)) == scores(run)


def test_lm_eval_metrics_of_every_kind(tmp_path: Path) -> None:
    lines = [line(n, acc=n % 2, acc_norm=True, f1=[0, 1], perplexity=(-3.5, 7), mc2=0.25) for n in range(4)]
    lines[3]["acc"] = None
    published = {"acc,none": 1 / 3, "acc_norm,none": 1.0, "mc2,none": 0.25, "f1,none": 0.7, "perplexity,none": 3.1}
    run = read_run(lm_eval(tmp_path / "fir", {"t": lines}, {"t": published}))
    assert [(t.metric, t.headline) for t in run.tables] == [("acc", True), ("acc_norm", False), ("mc2", False)]
    assert scores(run) == {"0": 0.0, "1": 1.0, "2": 0.0, "3": None}
    told = verdicts(run)
    assert told["t acc,none"] == ("refused", "items without a value that is a number: 1")
    assert told["t acc_norm,none"][0] == told["t mc2,none"][0] == "equal"
    assert told["t f1,none"] == ("refused", "no samples of it are here")
    assert run.notes == [
        f"t: {name} is no number for a single item, so it is left out" for name in ("f1", "perplexity")
    ]


def test_lm_eval_samples_without_what_newer_versions_write(tmp_path: Path) -> None:
    lines = [{"doc_id": n, "doc": {"q": n}, "target": 1, "arguments": [["p", {}]], "acc": n % 2} for n in range(4)]
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "samples_pets.jsonl").write_text(json.dumps(lines))  # a list despite its name
    run = read_run(folder / "samples_pets.jsonl")
    assert run.tables[0].key == ("pets", "", "acc")
    assert run.name == "old"
    assert "no results file" in run.notes[0]
    (folder / "results.json").write_text(json.dumps({"results": {"pets": {"acc": 0.5, "acc_stderr": "N/A"}}}))
    run = read_run(folder)
    assert verdicts(run) == {"pets acc": ("equal", ""), "pets acc_stderr": ("refused", "the log gives no number")}


def test_lm_eval_samples_inside_the_results(tmp_path: Path) -> None:
    told = {"results": {"a/b": {"acc,none": 0.5}}, "samples": {"a/b": [line(0, acc=1), line(1, acc=0)]}}
    path = tmp_path / "all.json"
    path.write_text(json.dumps(told | {"config": {"model_args": "pretrained=fir/fir-1b,dtype=float16"}}))
    run = read_run(path)
    assert (run.name, [f.verdict for f in run.figures]) == ("fir/fir-1b", ["equal"])


def test_lm_eval_cut_samples_are_refused(tmp_path: Path) -> None:
    lines = [line(n, "strict", exact_match=1.0) for n in (16, 17, 18)]
    published = {"exact_match,strict": 0.75, "exact_match_stderr,strict": 0.04, "exact_match,loose": 0.8}
    run = read_run(lm_eval(tmp_path / "fir", {"sums": lines}, {"sums": published}, counts={"sums": 100}))
    why = ("refused", "its figures are of 100 items, but the samples are of 3")
    assert verdicts(run) == {
        "sums exact_match,strict": why,
        "sums exact_match_stderr,strict": why,
        "sums exact_match,loose": ("refused", "no samples of it are here"),
    }


def test_lm_eval_other_aggregations_are_refused(tmp_path: Path) -> None:
    lines = [line(n, acc=n % 2) for n in range(4)]
    config = {"t": {"metric_list": [{"metric": "acc", "aggregation": "def agg(items): ..."}]}}
    folder = lm_eval(tmp_path / "fir", {"t": lines}, {"t": {"acc,none": 0.9}}, configs=config)
    ((verdict, why),) = verdicts(read_run(folder)).values()
    assert (verdict, why) == ("refused", "the harness puts the items together otherwise than by their mean")


def test_lm_eval_groups_of_tasks(tmp_path: Path) -> None:
    tasks = {
        "law": [line(n, acc=n < 3) for n in range(4)],
        "art": [line(n, acc=n < 1) for n in range(2)],
        "war": [line(n, acc=n < 5) for n in range(10)],
    }
    parts = [(4, 0.75), (2, 0.5), (10, 0.5)]
    pooled = sum(n * p * (1 - p) for n, p in parts) / (16 - 3)
    published: dict[str, dict[str, Any]] = {task: {} for task in tasks}
    published["all"] = {"acc,none": 9 / 16, "acc_stderr,none": math.sqrt(pooled / 16)}
    published["arts"] = {"acc,none": 0.625}  # over its two tasks, whatever their size
    subtasks = {"all": ["arts", "war"], "arts": ["law", "art"], "war": [], "loop": ["loop"]}
    run = read_run(lm_eval(tmp_path / "fir", tasks, published, group_subtasks=subtasks))
    assert run.families == {"all": ("law", "art", "war")}
    assert {what: verdict for what, (verdict, _) in verdicts(run).items()} == {
        "all acc,none": "equal",
        "all acc_stderr,none": "equal",
        "arts acc,none": "equal",
    }
    (tmp_path / "fir" / f"samples_war_{DATE}.jsonl").unlink()
    run = read_run(tmp_path / "fir")
    assert run.families == {}
    assert verdicts(run)["all acc,none"] == ("refused", "samples of 2 of its 3 tasks are here")


def test_lm_eval_groups_that_are_no_lists_are_none(tmp_path: Path) -> None:
    run = read_run(lm_eval(tmp_path / "odd", {"ash": [line(0, acc=1.0)]}, {"ash": {}}, group_subtasks={"trees": 5}))
    assert not run.families


def test_lm_eval_several_runs_in_a_folder(tmp_path: Path) -> None:
    for n, task in enumerate(("law", "art")):
        lm_eval(
            tmp_path / "fir", {task: [line(0, acc=1)]}, {task: {"acc,none": 1.0}}, date=f"2031-01-0{n + 1}T00-00-00"
        )
    run = read_run(tmp_path)
    assert [(f.what, f.verdict) for f in run.figures] == [("art acc,none", "equal"), ("law acc,none", "equal")]
    lm_eval(tmp_path / "fir", {"law": [line(0, acc=1)]}, {"law": {}}, date="2031-01-03T00-00-00")
    with pytest.raises(UserError, match="two logs of law"):
        read_run(tmp_path)
    lm_eval(tmp_path / "ash", {"tea": [line(0, acc=1)]}, {"tea": {}}, model="ash")
    with pytest.raises(UserError, match=r"logs of 2 models \(ash, fir/fir-3b\)"):
        read_run(tmp_path)


def test_lm_eval_repeated_lines_are_counted(tmp_path: Path) -> None:
    run = read_run(lm_eval(tmp_path / "fir", {"t": [line(0, acc=1), line(0, acc=0), line(1, acc=1)]}, {"t": {}}))
    assert scores(run) == {"0": 1.0, "1": 1.0}
    assert run.notes == ["t: lines that repeat a document and filter (none): 1; the first counts"]


def test_what_no_reader_knows(tmp_path: Path) -> None:
    def a_folder() -> Path:
        (tmp_path / "empty").mkdir()
        return tmp_path / "empty"

    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    cases: list[tuple[Callable[[], Path], str]] = [
        (lambda: tmp_path / "nothing", "no such file or folder"),
        (a_folder, "no run here, and no log"),
        (lambda: file("notes.txt", "hm"), "not a run or a log that is known"),
        (lambda: file("a.json", "{}"), "JSON of another kind"),
        (lambda: file("b.json", "{"), "not JSON"),
        (lambda: file("c.jsonl", '{"id": 1}\n'), "not a sample of lm-eval"),
        (lambda: file("d.jsonl", '{"doc_id": 1, "acc": 1}\n{"doc_'), r"d\.jsonl:2: not JSON"),
        (lambda: file("e.jsonl", ""), "it has no scored items"),
        (lambda: file("f.parquet", "no"), "not Parquet"),
        (lambda: lm_eval(tmp_path / "g", {}, {}), "no samples of lm-eval; run lm-eval with --log_samples"),
    ]
    for make, says in cases:
        with pytest.raises(UserError, match=says) as caught:
            read_run(make())
        assert "\n" not in str(caught.value)


def test_own_run_says_again_what_its_scores_say(tmp_path: Path) -> None:
    told: dict[str, Any] = {"benchmark": "towns", "variant": "5-shot", "protocol": "strict", "metric": "accuracy"}
    told |= {
        "average": "macro",
        "score": 0.625,
        "stderr": 0.125,
        "prompt_hash": "0" * 32,
        "shots": {"5": 6},
        "lower_is_better": True,
    }
    folder = own_run(
        tmp_path / "run",
        {"law": [1, 0, 1, 1], "art": [1, 0], "war": [None]},
        scores_file=[told],
        metrics={"f1": [0.5] * 7},
    )
    run = read_run(folder)
    table = run.tables[0]
    assert (run.name, table.key, table.average) == ("oak-7b", ("towns", "5-shot", "accuracy"), "macro")
    assert table.lower_is_better
    assert table.about == {"protocol": "strict", "prompts": "00000000", "shots": '{"5": 6}'}
    assert [(t.metric, t.headline) for t in run.tables] == [("accuracy", True), ("f1", False)]
    assert [(f.what, f.verdict) for f in run.figures] == [
        ("towns 5-shot accuracy score", "equal"),
        ("towns 5-shot accuracy stderr", "differs"),
    ]
    assert table.frame["status"].to_list()[-1] == "failed"


def test_own_run_that_has_not_ended_or_has_two_protocols(tmp_path: Path) -> None:
    folder = own_run(tmp_path / "half", {"law": [1, 0]}, scores_file=None, protocol=["tulu", "strict"])
    run = read_run(folder / "items.parquet")
    assert run.name == "half"
    assert [t.key for t in run.tables] == [("towns", "5-shot tulu", "accuracy"), ("towns", "5-shot strict", "accuracy")]
    assert "scores.json is missing" in run.notes[0]


@pytest.mark.real
def test_real_lm_eval_logs(real_data: Path) -> None:
    logs = real_data / "benchmarks" / "logs" / "lm_eval"
    run = read_run(logs / "phi3")
    assert run.name == "microsoft/Phi-3-mini-4k-instruct"
    table = next(t for t in run.tables if t.benchmark == "hendrycks_math_prealgebra")
    assert (len(table.frame), table.frame["score"].sum()) == (871, 1)
    told = {figure.what: figure for figure in run.figures}
    for part in ("exact_match", "exact_match_stderr"):
        figure = told[f"hendrycks_math_prealgebra {part},none"]
        assert figure.verdict == "equal"
        assert figure.recomputed == pytest.approx(1 / 871, abs=1e-9)
        assert told[f"hendrycks_math {part},none"].why == "samples of 1 of its 7 tasks are here"
    assert (
        told["gsm8k exact_match,strict-match"].verdict == told["gsm8k exact_match,flexible-extract"].verdict == "equal"
    )
    assert told["gsm8k exact_match_stderr,strict-match"].why == "the log gives no number"
    cut = [read_run(path) for path in sorted((logs / "pyfade").glob("samples_*.jsonl"))]
    assert len(cut) == 8
    for run in cut:
        assert len(run.tables[0].frame) == 3
        assert {figure.verdict for figure in run.figures} == {"refused"}
        assert "its figures are of 100 items, but the samples are of 3" in {figure.why for figure in run.figures}
    with pytest.raises(UserError, match="logs of 4 models"):
        read_run(logs / "pyfade")


@pytest.mark.real
def test_real_inspect_logs(real_data: Path) -> None:
    logs = real_data / "benchmarks" / "logs" / "inspect"
    archives = [read_run(path) for path in sorted(logs.glob("*.eval"))]
    assert len(archives) == 6
    assert [figure.verdict for run in archives for figure in run.figures] == ["equal"] * 12
    assert not [note for run in archives for note in run.notes]
    cancelled = read_run(logs / "2025-05-12T20-28-13-04-00_popularity.json")
    assert [f.why for f in cancelled.figures] == ["the run was cancelled: 3 of 3 samples are in the log"] * 2
    assert cancelled.figures[0].recomputed == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="the log keeps no samples"):
        read_run(logs / "2025-05-12T20-28-13-04-00_no-samples.json")
    same = [read_run(logs / f"log_read_sample.{form}") for form in ("eval", "json")]
    assert scores(same[0]) == scores(same[1]) == {"1": 1.0}
    assert read_run(logs / "2025-05-12T20-28-26-04-00_security-guide.json").figures[0].verdict == "equal"
