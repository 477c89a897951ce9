"""A win rate at equal length: what a judge would prefer, were the two answers equally long. For any set of prompts.

Judges, people too, like the longer answer better, and a model that writes more wins more for it. So a preference y in
0..1 is fitted by how much longer the model's answer is:

    P(model preferred) = sigma(theta + phi * tanh(ln((1 + length of model) / (1 + length of reference))))

The length-adjusted win rate is sigma(theta): the fit at equal lengths. `phi` is what length does, in log-odds: above
0 the judge likes longer answers. The scale is fixed (a ratio, so neither the unit nor the run matters; twice as long
gives 0.6, five times 0.92); AlpacaEval's published form divides by the run's own spread of differences, so that
the same pair of answers counts differently beside another model's. Fitted by maximum likelihood (a draw counts as
half a win), with the penalty of normal priors about 0, of deviation 5 for theta and 2 for phi: nothing where a few
hundred pairs speak, finite where all pairs are won.

The interval is a sampling error: pairs are drawn anew, group by group, and the whole fit repeated; BCa (Efron, 1987).
The published `lc_standard_error` is none: it is the spread of the fit's predictions over prompts. Where answers of
one model are nearly always the longer ones there is no equal length to speak of, and a fit would extrapolate: with
fewer than a tenth of the pairs on the other side there is no adjusted win rate, and the result says why.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.statistics import Estimate

Floats = NDArray[np.float64]
OVERLAP = 0.10
FEWEST = 30  # pairs
PRECISION = np.array([1 / 5**2, 1 / 2**2])  # of the priors of theta and phi
STEPS, STEP, CLOSE = 100, 2.0, 1e-10
ROWS = 256  # resamples at once


@dataclass(frozen=True, slots=True)
class LengthAdjusted:
    """Win rates (0..1) of a model against a reference, as judged and at equal length.

    `adjusted` and `effect` (phi) are None where `refused` says why. `longer_wins` is how often the longer of two
    answers is preferred (0.5: length is nothing to the judge), None where all are equally long. `longer`, `shorter`,
    `equal` are the shares of pairs in which the model's answer is so; `overlap` is the smaller side, equal ones in it.
    """

    raw: Estimate
    adjusted: Estimate | None
    effect: Estimate | None
    longer_wins: Estimate | None
    longer: float
    shorter: float
    equal: float
    overlap: float
    refused: str = ""


def length_adjusted(
    preferences: Sequence[float] | Floats,
    lengths: Sequence[float] | Floats,
    reference_lengths: Sequence[float] | Floats,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> LengthAdjusted:
    """The win rate at equal length of pairs: preference for the model (0..1), length of either answer, its group.

    Lengths are in any unit that is the same for both. `groups` are strata: each keeps its number of pairs when pairs
    are drawn anew. The same input gives the same interval. Raises `UserError` for no pairs, and for values that are
    no preferences or lengths.
    """
    y, mine, other = (np.asarray(values, np.float64) for values in (preferences, lengths, reference_lengths))
    if not len(y) or not len(y) == len(mine) == len(other) or (groups is not None and len(groups) != len(y)):
        raise UserError(
            f"{len(y)} preferences, {len(mine)} and {len(other)} lengths", fix="give one of each for a pair"
        )
    if not ((y >= 0) & (y <= 1)).all():
        raise UserError("a preference is not between 0 and 1", fix="leave out pairs that were not judged")
    if not all((np.isfinite(values) & (values >= 0)).all() for values in (mine, other)):
        raise UserError("a length is no number, or below 0", fix="count characters, words or tokens")
    longer, shorter = float(np.mean(mine > other)), float(np.mean(mine < other))
    equal = float(np.mean(mine == other))
    overlap = min(longer, shorter) + equal
    strata = None if groups is None else np.asarray(groups)
    adjusted = effect = None
    refused = _refusal(len(y), longer, shorter, overlap)
    if not refused:
        adjusted, effect = _fitted(y, length_term(mine, other), strata, resamples, seed, level)
    return LengthAdjusted(
        raw=statistics.mean(y, strata=groups, level=level),
        adjusted=adjusted,
        effect=effect,
        longer_wins=_longer_wins(y, mine, other, strata, level),
        longer=longer,
        shorter=shorter,
        equal=equal,
        overlap=overlap,
        refused=refused,
    )


def length_term(lengths: Floats, reference_lengths: Floats) -> Floats:
    """How much longer the model's answers are: -1 to 1, 0 where they are equally long."""
    term: Floats = np.tanh(np.log1p(lengths) - np.log1p(reference_lengths))
    return term


def _refusal(n: int, longer: float, shorter: float, overlap: float) -> str:
    if n < FEWEST:
        return f"{n} pairs are too few to tell length from quality ({FEWEST} needed)"
    if overlap < OVERLAP:
        side, rest = ("longer", "shorter") if longer > shorter else ("shorter", "longer")
        most, few = 100 * max(longer, shorter), 100 * overlap
        return (
            f"lengths barely overlap: the model's answers are {side} in {most:.1f}% of the pairs, and {rest} or equal "
            f"in only {few:.1f}% ({100 * OVERLAP:.0f}% needed); a win rate at equal length would be a guess"
        )
    return ""


def _longer_wins(
    y: Floats, mine: Floats, other: Floats, strata: NDArray[np.str_] | None, level: float
) -> Estimate | None:
    unequal = mine != other
    if not unequal.any():
        return None
    groups = None if strata is None else [str(name) for name in strata[unequal]]
    return statistics.mean(np.where(mine > other, y, 1 - y)[unequal], strata=groups, level=level)


def _fitted(
    y: Floats, term: Floats, strata: NDArray[np.str_] | None, resamples: int, seed: int, level: float
) -> tuple[Estimate, Estimate]:
    method = f"BCa bootstrap of the whole fit, {resamples:,} resamples" + ("" if strata is None else ", by group")
    whole = fit(y, term, np.ones((1, len(y))))
    drawn = np.concatenate([fit(y, term, weights) for weights in _draws(len(y), strata, resamples, seed)])
    pulls = _influence(y, term, whole[0])
    rates = [1 / (1 + np.exp(-found[:, 0])) for found in (whole, drawn)]
    adjusted, effect = (
        _interval(float(of_all[0]), of_drawn, pulls[column], method, level)
        for column, (of_all, of_drawn) in enumerate([rates, (whole[:, 1], drawn[:, 1])])
    )
    return adjusted, effect


def fit(y: Floats, term: Floats, weights: Floats) -> Floats:
    """theta and phi for each row of weights [fits, pairs], by Newton's method on the penalised likelihood."""
    share = np.clip(weights @ y / weights.sum(1), 0.01, 0.99)
    found: Floats = np.stack([np.log(share / (1 - share)), np.zeros(len(weights))], 1)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(found[:, :1] + found[:, 1:] * term)))
        error, spread = weights * (y - p), weights * p * (1 - p)
        slope = np.stack([error.sum(1), error @ term], 1) - PRECISION * found
        a, b, c = spread.sum(1) + PRECISION[0], spread @ term, spread @ term**2 + PRECISION[1]
        step = np.stack([c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], 1)
        step = np.clip(step / (a * c - b * b)[:, None], -STEP, STEP)
        found = found + step
        if np.abs(step).max() < CLOSE:
            break
    return found


def _influence(y: Floats, term: Floats, coefficients: Floats) -> Floats:
    """How far each pair pulls theta and phi [2, pairs], up to a factor: the first step that it would make."""
    p = 1 / (1 + np.exp(-(coefficients[0] + coefficients[1] * term)))
    spread = p * (1 - p)
    a, b, c = spread.sum() + PRECISION[0], spread @ term, spread @ term**2 + PRECISION[1]
    return np.stack([(c - b * term) * (y - p), (a * term - b) * (y - p)])


def _draws(n: int, strata: NDArray[np.str_] | None, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each pair is drawn [resamples, pairs], some at a time: as many from each stratum as it has."""
    random = np.random.default_rng(seed)
    names = np.zeros(n, np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    groups = [np.nonzero(names == name)[0] for name in range(names.max() + 1)]
    for done in range(0, resamples, ROWS):
        counts = np.zeros((min(ROWS, resamples - done), n))
        for members in groups:
            even = np.full(len(members), 1 / len(members))
            counts[:, members] = random.multinomial(len(members), even, len(counts))
        yield counts


def _interval(whole: float, drawn: Floats, pulls: Floats, method: str, level: float) -> Estimate:
    """Bias-corrected and accelerated (Efron, 1987), the acceleration from each pair's pull."""
    from scipy.stats import norm

    below = np.mean(drawn < whole) + np.mean(drawn == whole) / 2
    bias = norm.ppf(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    squares = float((pulls**2).sum())
    acceleration = float((pulls**3).sum()) / (6 * squares**1.5) if squares else 0.0
    ends = bias + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, norm.cdf(bias + ends / (1 - acceleration * ends)))
    return Estimate(whole, float(drawn.std(ddof=1)), float(low), float(high), len(pulls), method, level=level)
