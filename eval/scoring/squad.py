"""How well a short answer matches the right ones: F1 over words, exact match, and whether a right one is contained.

`published` is the rule of SQuAD 1.1 (Rajpurkar et al., 2016), made for English and used for every language by TyDi QA's
authors and by open-instruct: lower case, ASCII punctuation deleted ("1.5" is "15", "-3" is "3"), the words a, an and
the deleted in every language. `strict` compares words as each language has them. The best of several right answers
counts, for each figure by itself. All values are 0..1.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)

# Thai, Lao, Burmese, Khmer, Japanese and Chinese write no spaces: each character stands for a word.
SPACELESS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])"
)
MINUS = re.compile(r"(?<![^\s(\[\"'«“„])[-\u2010-\u2013\u2212](?=\d)")  # before a digit, behind no word
INSIDE = re.compile(r"(?<=\d)[.,:](?=\d)")  # 1.5, 1,000, 12:30


def published(said: str, golds: Sequence[str]) -> dict[str, float]:
    """F1, exact match and recall by the published rules; an answer of no words is worth nothing."""
    own = normalise(said)
    return {
        "f1": max(f1(own.split(), normalise(gold).split()) for gold in golds),
        "exact_match": max(float(own == normalise(gold)) for gold in golds),
        "recall": max(float(gold.strip().lower() in said.strip().lower()) for gold in golds),
    }


def strict(said: str, golds: Sequence[str], *, english: bool) -> dict[str, float]:
    """F1, exact match and recall over words as `words` tells them apart; recall wants the gold's words in a row."""
    own = words(said, english=english)
    found = []
    for gold in golds:
        other = words(gold, english=english)
        if not other:  # a sign alone, such as "?"
            same = float(said.strip() == gold.strip())
            found.append({"f1": same, "exact_match": same, "recall": float(gold.strip() in said)})
            continue
        held = any(own[at : at + len(other)] == other for at in range(len(own)))
        found.append({"f1": f1(own, other), "exact_match": float(own == other), "recall": float(held)})
    return {metric: max(one[metric] for one in found) for metric in ("f1", "exact_match", "recall")}


def f1(own: Sequence[str], gold: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over words, each counted as often as it occurs."""
    common = sum((Counter(own) & Counter(gold)).values())
    return 2 * common / (len(own) + len(gold)) if common else 0.0


def normalise(answer: str) -> str:
    """An answer as SQuAD 1.1 compares it."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(ASCII_PUNCTUATION)).split())


def words(answer: str, *, english: bool) -> list[str]:
    """The words of an answer as `strict` compares them.

    Letters are composed (NFC, not NFKC, which would turn 10² into 102) and folded, invisible format characters go.
    Punctuation of any script parts words, but a minus and the signs within a number stay, and so do symbols ("$", "°").
    Articles are left out in English alone. In scripts without spaces each character is a word.
    """
    seen = "".join(c for c in answer if unicodedata.category(c) != "Cf")
    seen = unicodedata.normalize("NFC", unicodedata.normalize("NFD", seen).casefold())
    kept = {m.start() for m in INSIDE.finditer(seen)}
    minus = {m.start() for m in MINUS.finditer(seen)}
    parted = []
    for at, c in enumerate(seen):
        if at in minus:
            parted.append("-")
        elif at in kept or not (unicodedata.category(c).startswith(("P", "Z")) or unicodedata.category(c) == "Cc"):
            parted.append(c)
        else:
            parted.append(" ")
    found = SPACELESS.sub(r" \1 ", "".join(parted)).split()
    return [word for word in found if word not in ("a", "an", "the")] if english else found
