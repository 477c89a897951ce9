"""What `curate audit` and `curate train-quality` print."""

import json
from dataclasses import asdict

from caravan.curate.auditing.audit import Audit, Drawn, Precision
from caravan.curate.train_quality import Trained
from caravan.terminal import out, print_json, printable, table

LISTED = 5  # ids of wrong drops of each reason
UNKNOWN = "(not installed)"  # a filter that a mixture names no more


def drawn(result: Drawn, as_json: bool) -> None:
    """The rows drawn by reason, and how to mark them. Shows no texts."""
    if as_json:
        reasons = {r.reason: {"filter": r.filter, "drawn": r.drawn, "dropped": r.dropped} for r in result.reasons}
        print_json({"file": str(result.path), "reasons": reasons, "carried": result.carried, "refused": result.refused})
        return
    table(
        "Dropped rows to mark",
        ["filter", "reason", "in the file", "dropped", "share"],
        [[r.filter or UNKNOWN, r.reason, r.drawn, r.dropped, f"{r.drawn / r.dropped:.1%}"] for r in result.reasons],
        text_columns=2,
    )
    if result.carried:
        out(f"{result.carried:,} marks were in the file and are in it again")
    if result.refused:
        out(f"{result.refused:,} rows that converters refused are left out: no filter saw them")
    out(f"Write right, wrong or unsure (r, w, u) into the first column of {result.path}:")
    out("right where the reason is true of the row. Then: `curate audit --report`")


def precision(found: Audit, as_json: bool) -> None:
    """Each reason's precision with its interval, by source, and each filter's. Shows no texts."""
    if as_json:
        print_json(asdict(found) | {"path": str(found.path)})
        return
    marks = ["right", "wrong", "unsure", "unmarked", "precision", "95% interval"]
    table(
        "How often a reason is right",
        ["filter", "reason", "dropped", *marks],
        [[p.filter or UNKNOWN, p.reason, p.dropped, *_marks(p)] for p in found.reasons],
        text_columns=2,
    )
    table(
        "Each filter, its reasons weighted by how often they occur",
        ["filter", "dropped", *marks],
        [[p.filter or UNKNOWN, p.dropped, *_marks(p)] for p in found.filters],
    )
    table(
        "By source",
        ["reason", "source", *marks],
        [[p.reason, p.source, *_marks(p)] for p in found.sources if p.share is not None],
        text_columns=2,
    )
    for reason, ids in found.wrong.items():
        more = f" and {len(ids) - LISTED:,} more (--json lists them)" if len(ids) > LISTED else ""
        out(f"wrong, {reason}: {printable(', '.join(ids[:LISTED]))}{more}")
    if found.wrong:
        out("`curate explain ID` shows one in full")
    for note in found.notes:
        out(f"note: {printable(note)}")


def _marks(one: Precision) -> list[object]:
    if one.share is None or one.low is None or one.high is None:
        return [one.right, one.wrong, one.unsure, one.unmarked, None, None]
    interval = f"{one.low:.1%} to {one.high:.1%}"
    return [one.right, one.wrong, one.unsure, one.unmarked, f"{one.share:.1%}", interval]


def trained(result: Trained, as_json: bool) -> None:
    """The classifier's held-out accuracy beside that of length, and how to use it."""
    if as_json:
        share, low, high = result.accuracy
        print_json(asdict(result) | {"path": str(result.path), "accuracy": share, "low": low, "high": high})
        return
    share, low, high = result.accuracy
    table(
        f"On {result.held_out:,} held-out answers, half of them good",
        ["rule", "accuracy", "95% interval", "AUC"],
        [
            ["the classifier", f"{share:.1%}", f"{low:.1%} to {high:.1%}", result.auc],
            ["the longer the better", f"{result.length_accuracy:.1%}", "", result.length_auc],
        ],
    )
    out(f"read: {result.good:,} good and {result.bad:,} bad answers, each once; fitted on {result.fitted:,}")
    if result.both:
        out(f"left out: {result.both:,} answers that are good and bad at once")
    if low <= max(0.5, result.length_accuracy):
        out("note: that is no clear gain over length or chance; more, or more telling, examples may help")
    out(f"{printable(str(result.path))} is ready. In a recipe:")
    out(f"  [filters.quality.parts.classifier]\n  model = {json.dumps(str(result.path), ensure_ascii=False)}")
