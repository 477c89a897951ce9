"""`curate train-quality`: a fastText classifier from a user's own good and bad examples.

Prompts are dealt out whole: whatever answers a prompt is either fitted on or held out, so that what is said of the
held-out answers holds for prompts that the classifier never saw.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.cache import written_aside
from caravan.curate.exchanges import Texts, answers
from caravan.curate.models.fasttext import LABELS, checked, fit, folded
from caravan.curate.single import check_out, gather_data
from caravan.errors import UserError
from caravan.proportions import wilson
from caravan.terminal import Progress

FEWEST = 100  # answers of a side that are fitted on, and
FEWEST_HELD_OUT = 25  # that are held out


@dataclass(frozen=True)
class Trained:
    """The classifier's file, what it was fitted on, and how good it is on prompts that it never saw.

    `accuracy` and `auc` are over the held-out answers, as many good as bad; beside them those of the rule "the longer
    the better", whose bound is the one that divides the fitted answers best.
    """

    path: Path
    fitted: int
    held_out: int
    accuracy: tuple[float, float, float]  # with the 95% interval
    auc: float
    length_accuracy: float
    length_auc: float
    good: int  # distinct answers that were read
    bad: int
    both: int  # good and bad at once: left out


def train_quality(
    good: Sequence[str],
    bad: Sequence[str],
    out: Path,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trained:
    """Fit and write; `UserError` when a file cannot be read, or a side has too few examples.

    Every answer of a file counts as good or bad, with its prompt (in a dialogue: the first); those of weight 0 do not.
    The rows are taken in an order of their own: neither that of files nor that in files matters.
    """
    progress = progress or Progress(quiet=True)
    if not 0 < held_out < 1:
        raise UserError(f"{held_out:g} is no share between 0 and 1", where="--held-out", fix="such as 0.2")
    check_out(out)
    for path in (*good, *bad):
        if out.exists() and Path(path).exists() and out.samefile(path):
            raise UserError("OUT is a file that is to be read", where=str(out), fix="name another with -o")
    sides = [pl.concat([_read(path, progress) for path in paths]) for paths in (good, bad)]
    rows, both = _together(*sides)
    shares = [_share(prompt, seed) for prompt in rows["prompt"]]
    rows = rows.with_columns(held_out=pl.Series(shares, dtype=pl.Float64) < held_out)
    fitted, kept = rows.filter(~pl.col("held_out")), _even(rows.filter("held_out"))
    _enough(fitted, kept, rows, both)
    progress.say(f"fitting on {fitted.height:,} answers, {kept.height:,} held out")
    model = fit(fitted["line"].to_list(), fitted["good"].to_list(), seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(out) as aside:
        model.write(aside)
        checked(aside)
    chances = _chances(out, kept["line"].to_list())
    is_good = kept["good"].to_numpy()
    right = int((is_good == (chances > 0.5)).sum())
    bound = _best_bound(fitted["length"].to_numpy(), fitted["good"].to_numpy())
    return Trained(
        path=out,
        fitted=fitted.height,
        held_out=kept.height,
        accuracy=(right / kept.height, *wilson(right, kept.height)),
        auc=auc(chances, is_good),
        length_accuracy=float((is_good == (kept["length"].to_numpy() > bound)).mean()),
        length_auc=auc(kept["length"].to_numpy(), is_good),
        good=int(rows["good"].sum()),
        bad=int((~rows["good"]).sum()),
        both=both,
    )


def auc(values: npt.NDArray[np.generic], good: npt.NDArray[np.bool_]) -> float:
    """How often a good one has the higher value than a bad one, equal values counted half (Mann and Whitney, 1947)."""
    ranks = pl.Series(values).rank("average").to_numpy()
    n, m = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m))


def _read(path: str, progress: Progress) -> pl.DataFrame:
    """The answers of a data set: `line` and its dialogue's first `prompt`, folded, and `length` in words."""
    gathered, _ = gather_data(path, progress=progress)
    refused = sum(made.rejected for made in gathered.files)
    if refused:
        codes = ", ".join(sorted({code for made in gathered.files for code in made.codes}))
        progress.warn(f"{path}: {refused:,} rows were refused: {codes} (`curate inspect` says more)")
    found = answers(gathered.rows)
    found = found.with_columns(pl.col("prompt").first().over("row")).filter("weighs")
    texts = Texts(found["answer"])
    lines = {"prompt": folded(found["prompt"]), "line": folded(texts.read), "length": texts.words}
    return pl.DataFrame(lines).filter(pl.col("line") != "")


def _together(good: pl.DataFrame, bad: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Each distinct answer once, in an order of their own, less those that are good and bad at once (with a count).

    The classifier does not see prompts, so one answer must not be good here and bad there; nor be fitted on and held
    out.
    """
    rows = pl.concat([good.with_columns(good=True), bad.with_columns(good=False)])
    rows = (
        rows.sort("line", "prompt", "length")
        .group_by("line", maintain_order=True)
        .agg(pl.col("prompt", "length").first(), pl.col("good").first(), sides=pl.col("good").n_unique())
    )
    kept = rows.filter(pl.col("sides") == 1).drop("sides")
    return kept, rows.height - kept.height


def _share(prompt: str, seed: int) -> float:
    """A number in 0..1 drawn for a prompt."""
    digest = hashlib.blake2b(f"{seed} {prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / (1 << 64)


def _even(rows: pl.DataFrame) -> pl.DataFrame:
    """As many good rows as bad ones."""
    least = min(int(rows["good"].sum()), int((~rows["good"]).sum()))
    number = pl.int_range(pl.len()).over("good")
    spread = (number * least // pl.len().over("good")).is_first_distinct().over("good")
    return rows.filter(spread) if least else rows.clear()


def _enough(fitted: pl.DataFrame, held_out: pl.DataFrame, rows: pl.DataFrame, both: int) -> None:
    def count(frame: pl.DataFrame, side: bool) -> int:
        return int((frame["good"] == side).sum())

    fewer = count(rows, True) <= count(rows, False)
    left = count(fitted, fewer), count(held_out, fewer)
    if left[0] < FEWEST or left[1] < FEWEST_HELD_OUT:
        name = "good" if fewer else "bad"
        lost = f" ({both:,} are good and bad at once, and left out)" if both else ""
        raise UserError(
            f"too few {name} examples: of {count(rows, fewer):,} distinct answers {left[0]:,} are left to fit on and"
            f" {left[1]:,} to hold out; {FEWEST} and {FEWEST_HELD_OUT} are the fewest{lost}",
            where=f"--{name}",
            fix="give more, or hold out another share",
        )


def _chances(path: Path, lines: Sequence[str]) -> npt.NDArray[np.float64]:
    """The probability of each line to be good, by the file as it was written."""
    import fasttext

    model = fasttext.load_model(str(path))
    said = [model.predict(line, k=2) for line in lines]
    return np.array([dict(zip(*one, strict=True))[LABELS[0]] for one in said], np.float64)


def _best_bound(values: npt.NDArray[np.float64], good: npt.NDArray[np.bool_]) -> float:
    """The bound above which to call an answer good, so that most of the shares of both sides are right."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(np.where(good[order], -1 / good.sum(), 1 / (~good).sum()))
    ends = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    return float(values[order][ends[np.argmax(below[ends])]])
