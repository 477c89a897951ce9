"""How the results of `evaluate` look on a terminal, and as JSON."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caravan.terminal import lines, out, print_json, printable, table

if TYPE_CHECKING:  # heavy ones: the caller has them already
    from caravan.eval.judging.outputs import Judged
    from caravan.eval.outputs import ScoredOutputs
    from caravan.eval.preview import Preview
    from caravan.eval.run import Evaluated

SHOWN = 10  # disagreements that are printed; --json has all
BROKEN = ("failed", "empty")
GROUPS = 5  # tasks or languages below which they say next to nothing of others


def folder_name(model: str) -> str:
    """A folder's name for a model's: its last part, without what file systems take amiss."""
    return re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-.") or "model"


def evaluated(result: "Evaluated", as_json: bool) -> None:
    """The scores of a run."""
    if as_json:
        print_json({"model": result.model, "folder": str(result.folder), "scores": result.scores})
        return
    cleaned = any("clean" in told for told in result.scores)
    header = ["benchmark", "protocol", "metric", "score", "95% interval", "items", "unextractable", "cut off", "failed"]
    table(
        f"Scores of {result.model}",
        header + (["clean score", "leaked"] if cleaned else []),
        (_row(told) + (_clean(told) if cleaned else []) for told in result.scores),
        text_columns=3,
    )
    for told in result.scores:
        for sentence in sentences(told):
            out(f"{label(told)}: {sentence}")
    out(f"Items and scores: {result.folder}")


def label(told: dict[str, Any]) -> str:
    """The name under which a score is shown."""
    return f"{told['benchmark']}:{told['variant']}"


def _row(told: dict[str, Any]) -> list[object]:
    failures, items = told["failures"], max(told["items"], 1)
    return [
        label(told),
        told["protocol"],
        told["metric"] + (" (lower is better)" if told["lower_is_better"] else ""),
        percent(told["score"]),
        interval(told),
        told["n"],
        percent(failures["unextractable"] / items),
        percent(told["truncated"] / items) if "truncated" in told else None,
        sum(failures[kind] for kind in BROKEN),
    ]


def _clean(told: dict[str, Any]) -> list[object]:
    clean = told.get("clean", {})
    return [f"{percent(clean.get('score'))} ({interval(clean)})" if "score" in clean else "–", clean.get("leaked")]


def sentences(told: dict[str, Any]) -> list[str]:
    """What a reader of the score must know."""
    found = []
    if told.get("embedded"):
        found.append("on our own sample of a few items: the score means nothing")
    broken = {kind: told["failures"][kind] for kind in BROKEN if told["failures"][kind]}
    if broken:
        what = " and ".join(f"{count:,} {kind}" for kind, count in broken.items())
        low, high = told["bounds"]
        found.append(
            f"{what} answers are no part of the score; it would be {percent(low)} to {percent(high)} with them"
        )
    if told["failures"]["unjudged"]:
        found.append(f"{told['failures']['unjudged']:,} answers have no judge's verdict: `evaluate judge` asks one")
    if told.get("near_ties"):
        found.append(f"{told['near_ties']:,} answers hung on a difference that rounding can turn")
    micro, macro = told["micro"], told["macro"]
    if told["groups"] and micro["score"] is not None:
        means = f"{percent(micro['score'])} over items, {percent(macro['score'])} over {len(told['groups'])} groups"
        found.append(means)
    elsewhere = told.get("on_other_groups")
    if elsewhere and elsewhere["clusters"] >= GROUPS and elsewhere["stderr"]:
        found.append(f"mean of {elsewhere['clusters']} groups, on others like these: {interval(elsewhere)}")
    shots = told.get("shots", {})
    if len(shots) > 1:
        found.append("examples had to be left out of prompts that were too long: " + _counted(shots))
    difference = told.get("clean", {}).get("clean_minus_all")
    if difference:
        low, high = (100 * difference[key] for key in ("low", "high"))
        found.append(f"without leaked items {100 * difference['score']:+.2f} points ({low:+.2f} to {high:+.2f})")
    return found + [str(note) for note in told.get("notes", [])]


def _counted(shots: dict[str, int]) -> str:
    return ", ".join(f"{count:,} prompts have {n}" for n, count in shots.items())


def percent(share: float | None) -> str:
    """A share as a percentage, or a dash."""
    return "–" if share is None else f"{100 * share:.1f}"


def interval(told: dict[str, Any]) -> str:
    """The ends of an interval, in percent."""
    if told.get("low") is None:
        return "–"
    return f"{100 * told['low']:.1f} to {100 * told['high']:.1f}"


def scored(found: Sequence["ScoredOutputs"], as_json: bool) -> None:
    """Stored outputs' scores, by every protocol, and where these disagree."""
    if as_json:
        whole = [one.as_json() for one in found]
        print_json(whole[0] if len(whole) == 1 else {"models": whole})
        return
    for one in found:
        told = one.told
        table(
            f"{label(told)}, {told['metric']}" + (f": {one.model}" if one.model else ""),
            [
                "protocol",
                "score",
                "standard error",
                "95% interval",
                "items",
                "unextractable",
                "empty",
                "failed",
                "unjudged",
            ],
            (
                [
                    rules + (" (asked for)" if rules == told["protocol"] else ""),
                    percent(by["score"]),
                    percent(by["stderr"]),
                    interval(by),
                    by["n"],
                    *(by["failures"][kind] for kind in ("unextractable", "empty", "failed", "unjudged")),
                ]
                for rules, by in one.by_protocol.items()
            ),
        )
        for note in one.notes + sentences(told):
            out(printable(note))
        if one.claimed is not None:
            out(f"The file's own verdicts: the same for {one.claimed[0]:,} of {one.claimed[1]:,} items")
        for line in _published(told.get("published_form") or {}):
            out(line)
        if one.disagreements:
            out(f"Protocols disagree about {len(one.disagreements):,} items" + _first(one.disagreements))
            for item in one.disagreements[:SHOWN]:
                out(printable(f"  {item['id']}: {item['why']}"))


def _first(disagreements: Sequence[Any]) -> str:
    return f"; the first {SHOWN} (--json has all)" if len(disagreements) > SHOWN else ""


def _published(form: dict[str, Any]) -> list[str]:
    return [f"As published: {name} {value}" for name, value in form.items() if isinstance(value, int | float)]


def judged(result: "Judged", as_json: bool) -> None:
    """What a judge said, and how far to believe it."""
    if as_json:
        print_json(result.as_json())
        return
    told, (a, b) = result.summary, result.models
    header = ["figure", "value", "95% interval", "of"]
    rows: list[list[object]] = [
        [f"{a} wins against {b}", *_figure(told["win_rate"])],
        ["verdicts that turn with the order", *_figure(told["flips"])],
        ["whichever stood first, less a half", *_figure(told["position_bias"])],
    ]
    if result.length is not None:
        rows.append(["the longer answer wins", *_figure(result.length["longer_wins"])])
        rows.append(["wins at equal length", *_figure(result.length["adjusted"])])
    table("Judged in both orders", header, rows)
    if result.length is not None and result.length["refused"]:
        out(f"wins at equal length: not given: {result.length['refused']}")
    verdicts = told["verdicts"]
    out(", ".join(f"{count:,} {status}" for status, count in verdicts.items()) + " verdicts")
    if told["pairs_without_both_verdicts"]:
        low, high = told["bounds"]
        missing = f"{told['pairs_without_both_verdicts']:,} of {told['pairs']:,} pairs lack a verdict"
        out(f"{missing}; with them the win rate would be {percent(low)} to {percent(high)}")
    if told["cost"] is not None:
        out(f"Cost: {told['cost']:.2f}")
    if result.run is not None:
        out(f"Written into the run: {result.run}")
    out(f"Verdicts: {result.folder}")


def _figure(told: dict[str, Any] | None) -> list[object]:
    return ["–", "–", 0] if told is None else [percent(told["score"]), interval(told), told["n"]]


def preview(shown: "Preview", as_json: bool) -> None:
    """A prompt as the model sees it, with the borders of its tokens."""
    if as_json:
        print_json(shown.as_json())
        return
    out(f"{shown.label} {printable(shown.item)} · {len(shown.ids):,} tokens · {shown.shots} examples")
    out()
    out(lines("│".join(shown.pieces) if shown.pieces else shown.prompt))
    out()
    for name, value in shown.about.items():
        out(f"{name}: {printable(value)}")
