"""Words, capital words and sentences of a response, counted for IFEval: as its authors' scripts do, and by our rules.

The authors count words as runs of `\\w`, so that "don't" and "well-known" are two and a Hindi word falls apart at its
vowel signs; sentences and capital words come from a tokenizer trained on news (Kiss and Strunk, 2006, "Unsupervised
Multilingual Sentence Boundary Detection"). Its rules are followed here without its trained lists, for which short ones
of our own stand in: counts can differ where an abbreviation stands before a capital letter.

Our rules. A word is what stands between white space, dashes or dots of omission and holds a letter or a digit; a
Chinese or Japanese character is a word by itself. A sentence is what holds a letter or a digit and ends at . ! ? or
such, or with its paragraph, list entry or heading; what a rule says does not end one is in `_ends`.

All take time in proportion to the text.
"""

import re
from itertools import pairwise

WORDY = re.compile(r"[^\W_]")
BETWEEN = re.compile(r"[\s—–…]+|-{2,}|\.{2,}")
IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]|" + IDEOGRAPHS.pattern)
"""Scripts that put no space between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese."""

MARKS, OPENERS, CLOSERS = ".!?…。！？｡।॥؟۔", "\"'“‘«(*_[", "\"'”’»)*_]"
WIDE_MARK = re.compile("([。！？｡]+[”’」』）]*)")  # no space follows these
ENTRY = re.compile(r"\s*(?:[-*+•]|#{1,6}|\d+[.)])\s")
# fmt: off
ABBREVIATIONS = frozenset([
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "gen", "col", "capt", "lt", "sgt", "rev", "hon", "gov", "sen",
    "rep", "inc", "corp", "co", "ltd", "bros", "vs", "jan", "feb", "aug", "sept", "oct", "nov", "dec", "u.s", "u.k",
    "u.n", "d.c", "ph.d", "a.m", "p.m",
])
SHORTENED = ABBREVIATIONS | {"etc", "cf", "approx", "no", "vol", "fig", "p", "pp"}
STARTERS = frozenset([
    "the", "a", "he", "she", "it", "they", "we", "i", "this", "that", "there", "in", "at", "on", "for", "but", "and",
    "if", "when", "however",
])
# fmt: on
INITIAL = re.compile(r"[^\W\d_a-z]")
INITIALS = re.compile(r"[A-HJ-Z]|[^\W\d_](?:\.[^\W\d_])+")

AFTER_MARK = frozenset(")\";}]*:@'({[!?")
NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")
PIECE = re.compile(
    r"""-{2,} | \.{2,}
      | (?! [("`{\[:;&#*@)}\]\-,] ) \S+? (?= \s | $ | [)";}\]*:@'({\[!?] | -{2,} | \.{2,} | ,(?: \s | $ ) )
      | \S""",
    re.VERBOSE,
)
APART = re.compile(r"([;@#$%&?!()\[\]{}<>\"«»“”‘’„]|--|\.{3}|[:,](?=\D|$)|'(?=(?i:s|m|d|ll|re|ve)\b))")
TWO_WORDS = re.compile(r"\b(?:CAN(?=NOT\b)|GON(?=NA\b)|GOT(?=TA\b)|WAN(?=NA\b)|GIM(?=ME\b)|LEM(?=ME\b))|(?=N'T\b)")


def words(text: str) -> list[str]:
    """The words by our rule."""
    spaced = IDEOGRAPHS.sub(lambda match: f" {match[0]} ", text)
    return [piece for piece in BETWEEN.split(spaced) if WORDY.search(piece)]


def sentences(text: str) -> int:
    """The number of sentences by our rule."""
    return sum(_sentences_of(block) for block in _blocks(text))


def published_words(text: str) -> int:
    """The number of words as the authors count."""
    return sum(1 for _ in re.finditer(r"\w+", text))


def published_capitals(text: str) -> int:
    """The number of words in capitals as the authors count: "DON'T" and "CANNOT" are two."""
    pieces = TWO_WORDS.sub(lambda match: f"{match[0]} ", APART.sub(r" \1", text)).split()
    return sum(piece.isupper() for piece in pieces)


def published_sentences(text: str) -> int:
    """The number of sentences, nearly as the authors' tokenizer tells them; a line break alone ends none."""
    runs = text.split()
    count = min(len(runs), 1)
    for run, following in zip(runs, [*runs[1:], ""], strict=False):
        end = _last_mark(run, more=bool(following))
        if end == 0 or not (following or run[end:].strip("\"')]}")):
            continue  # no sentence follows
        pieces = PIECE.findall(f"{run} {following}" if end == len(run) else run[: end + 1])
        count += any(_breaks(piece, after) for piece, after in pairwise(pieces))
    return count


def _last_mark(run: str, *, more: bool) -> int:
    """Where the last mark ends that may end a sentence within a run, 0 where none: it stands last, or before a sign."""
    for place in range(len(run) - 1, -1, -1):
        if run[place] in ".?!" and (run[place + 1] in AFTER_MARK if place + 1 < len(run) else more):
            return place + 1
    return 0


def _breaks(piece: str, after: str) -> bool:
    starter = after[:1].isupper() and after.lower() in STARTERS
    if piece in (".", "?", "!") or not piece.endswith("."):
        return piece in (".", "?", "!")
    if piece.endswith(".."):
        return starter
    word = piece[:-1].lower()
    if NUMBER.fullmatch(word):
        return not after[:1].islower()
    if INITIAL.fullmatch(piece[:-1]) or word in ABBREVIATIONS or word.rpartition("-")[2] in ABBREVIATIONS:
        return starter
    return True


def _blocks(text: str) -> list[str]:
    """Paragraphs, entries of lists, and headings."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if not WORDY.search(line):
            blocks.append([])
        elif ENTRY.match(line):
            blocks.append([line])
            if line.lstrip().startswith("#"):
                blocks.append([])
        else:
            blocks[-1].append(line)
    return [" ".join(lines) for lines in blocks]


def _sentences_of(block: str) -> int:
    tokens = WIDE_MARK.sub(r"\1 ", block).split()
    count, begun = 0, False
    for number, token in enumerate(tokens):
        begun = begun or WORDY.search(token) is not None
        following = tokens[number + 1] if number + 1 < len(tokens) else ""
        if begun and _ends(token, following, first=number == 0):
            count, begun = count + 1, False
    return count + begun


def _ends(token: str, following: str, *, first: bool) -> bool:
    """Whether a sentence ends with a token.

    It does after a mark; but not before a small letter where the mark is dots of omission or closes a quotation or
    brackets ("Why?" he asked), nor after an abbreviation, an initial, or the number of a list's entry.
    """
    bare = token.rstrip(CLOSERS)
    word = bare.rstrip(MARKS)
    marks = bare[len(word) :]
    if not marks:
        return False
    omission = "…" in marks or marks.startswith("..")
    if following.lstrip(OPENERS)[:1].islower() and (omission or bare != token):
        return False
    if marks != ".":
        return True
    word = word.lstrip(OPENERS)
    numbered = first and word.isdigit()
    return not (numbered or INITIALS.fullmatch(word) or word.lower() in SHORTENED)
