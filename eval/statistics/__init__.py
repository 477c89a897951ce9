"""How sure a score is: intervals, paired differences, control of a table, items needed. Formulas name their source.

`docs/statistics.md` says for people which interval a benchmark gets, and shows by simulation that it covers. Here all
is gathered under one name; it lies in `estimates` (what is said), `means`, `paired`, `seeds`, `intervals`, `spread`
(sampling error of strata and clusters), `bootstrap`, `families` and `power`.
"""

from caravan.eval.statistics.bootstrap import bootstrap
from caravan.eval.statistics.estimates import Average, Difference, Estimate, Floats
from caravan.eval.statistics.families import benjamini_hochberg, holm
from caravan.eval.statistics.intervals import clopper_pearson
from caravan.eval.statistics.means import across_groups, mean, two_groups, unpaired
from caravan.eval.statistics.paired import difference, verdict
from caravan.eval.statistics.power import discordant_deviation, items_needed, paired_deviation, smallest_effect
from caravan.eval.statistics.seeds import pool_seeds, seeds_difference
from caravan.proportions import wilson

__all__ = [
    "Average",
    "Difference",
    "Estimate",
    "Floats",
    "across_groups",
    "benjamini_hochberg",
    "bootstrap",
    "clopper_pearson",
    "difference",
    "discordant_deviation",
    "holm",
    "items_needed",
    "mean",
    "paired_deviation",
    "pool_seeds",
    "seeds_difference",
    "smallest_effect",
    "two_groups",
    "unpaired",
    "verdict",
    "wilson",
]
