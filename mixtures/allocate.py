"""Shares to whole counts: exact totals, a repeat cap, and an account of what the cap handed on.

Counts are in the recipe's unit (examples or tokens); `draw.py` turns them into rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from caravan.errors import UserError

# A share is read as the simplest fraction nearby: 0.3 is three tenths, and 0.3 * 80000 is 24000, not 23999.
DENOMINATOR = 10**9


@dataclass(frozen=True)
class Allocation:
    """What each source was asked for and gives; both sum to the total. `caps` is the most it could give."""

    requested: dict[str, int]
    given: dict[str, int]
    caps: dict[str, int]

    @property
    def handed_on(self) -> dict[str, int]:
        """The sources whose cap bound, and how much of their request the others took over."""
        return {n: short for n, wanted in self.requested.items() if (short := wanted - self.given[n]) > 0}


def largest_remainder(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole counts that sum to `total`: the floor of share * total, then one more to the largest remainders.

    Shares need not sum to one; only their proportions count. Equal remainders go by source name. Integers and
    fractions throughout. `UserError` when there is something to share out and no share above 0.

    The method of Hamilton (Balinski and Young 1982, "Fair Representation", chapter 3) keeps every count within one
    of its exact quota, and pays with the Alabama paradox: at a larger total one source's count may be smaller *by
    one* (shares 6 : 6 : 2 give 4, 4, 2 of 10 and 5, 5, 1 of 11). So a larger mixture contains the smaller one but
    for such a row; the rows of a source are nested otherwise, because they are prefixes of one order.
    """
    exact = {name: Fraction(share).limit_denominator(DENOMINATOR) for name, share in sorted(shares.items())}
    whole = sum(exact.values())
    if whole <= 0:
        if total > 0:
            raise UserError(f"{total:,} to share out, and no source has a share above 0", fix="give one a share")
        return dict.fromkeys(shares, 0)
    quotas = {name: share * total / whole for name, share in exact.items()}
    counts = {name: int(quota) for name, quota in quotas.items()}
    left = total - sum(counts.values())
    for name in sorted(quotas, key=lambda n: (counts[n] - quotas[n], n))[:left]:
        counts[name] += 1
    return {name: counts[name] for name in shares}


def allocate(shares: Mapping[str, float], total: int, available: Mapping[str, int], max_repeats: int) -> Allocation:
    """Counts that sum to `total`, none above `available * max_repeats`.

    A source over its cap gives its cap; what it cannot give is shared out again over the sources that are not bound,
    by their shares, until no further cap binds. `UserError` with the numbers when nobody is left below a cap.
    """
    requested = largest_remainder(shares, total)
    caps = {name: available[name] * max_repeats for name in shares}
    given = dict.fromkeys(shares, 0)
    free = {name: share for name, share in shares.items() if share > 0}
    rest = total
    while rest > 0:
        if not free:
            raise _cannot(shares, total, available, max_repeats)
        counts = largest_remainder(free, rest)
        bound = [name for name in free if counts[name] > caps[name]]
        if not bound:
            given.update(counts)
            break
        for name in bound:
            given[name] = caps[name]
            rest -= caps[name]
            del free[name]
    return Allocation(requested, given, caps)


def notes(allocation: Allocation, unit: str) -> list[str]:
    """One sentence for each source whose cap bound."""
    return [
        f"{name}: {allocation.requested[name]:,} {unit} requested, {allocation.given[name]:,} given, which is its"
        f" repeat cap; the other sources took over {short:,}"
        for name, short in allocation.handed_on.items()
    ]


def _cannot(shares: Mapping[str, float], total: int, available: Mapping[str, int], max_repeats: int) -> UserError:
    live = [name for name, share in shares.items() if share > 0]
    most = sum(available[name] for name in live) * max_repeats
    listed = ", ".join(f"{name} {available[name]:,}" for name in live)
    return UserError(
        f"{total:,} requested, but {most:,} is the most: {max_repeats} times what there is ({listed})",
        where="size",
        fix="lower the size, raise max_repeats, or add sources",
    )
