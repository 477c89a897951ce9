"""The embedded samples: each holds the defects that a first run should find."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

import caravan.converters
from caravan.converters.schema import Converted, ConvertedPair, RawRow, Rejected
from caravan.plugins import load

SAMPLES = Path(caravan.converters.__path__[0]) / "samples"
NAMES = ["alpaca", "alpaca_cot", "dolly", "lima", "messages", "self_instruct", "unnatural"]
FOREIGN = ("Erkläre", "Explique", "Ein Zug", "Resume", "Wie", "Fasse", "Remplis", "Nenne", "Escribe", "¿", "Schreibe")
BENCHMARK = {
    "alpaca": (
        "A baker fills 6 trays with 18 rolls each and sells 75 rolls before noon. "
        "How many rolls are left for the afternoon customers?",
        "33",
    ),
    "dolly": (
        "Which layer of the Earth lies directly beneath the crust and makes up most of the volume of the planet?",
        "The mantle",
    ),
}


def results(name: str) -> list[Converted | Rejected]:
    (path,) = SAMPLES.glob(f"{name}.json*")
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    assert 38 <= len(rows) <= 45
    module = load("converters", name)
    return [made for n, row in enumerate(rows, 1) for made in module.convert([RawRow(n, row)], module.Options())]


def texts(name: str) -> Iterator[tuple[str, ...]]:
    for made in results(name):
        if isinstance(made, Converted):
            yield tuple(m["content"] for m in made.messages)


def grams(text: tuple[str, ...]) -> set[tuple[str, ...]]:
    words = " ".join(text).lower().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


@pytest.mark.parametrize("name", NAMES)
def test_planted_duplicates(name: str) -> None:
    found = Counter(texts(name))
    assert sum(found.values()) - len(found) == 2
    long = [grams(text) for text in found if len(" ".join(text).split()) >= 25]
    near = [len(a & b) / len(a | b) for a, b in combinations(long, 2)]
    assert sorted(round(share, 1) for share in near if share > 0.5) in ([0.9, 0.9], [0.9, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("name", NAMES)
def test_planted_refusal_disclaimer_and_empty_answer(name: str) -> None:
    answers = [text[-1] for text in texts(name)]
    assert any(answer.startswith("I'm sorry, but I can't help") for answer in answers)
    assert any("As an AI language model" in answer for answer in answers)
    assert Counter(made.code for made in results(name) if isinstance(made, Rejected))["empty_response"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_planted_language(name: str) -> None:
    assert 1 <= sum(text[0].startswith(FOREIGN) for text in texts(name)) <= 2


@pytest.mark.parametrize("name", sorted(BENCHMARK))
def test_planted_item_of_the_sample_benchmark(name: str) -> None:
    assert list(texts(name)).count(BENCHMARK[name]) == 1


def test_one_row_is_shared_across_sources() -> None:
    assert len(set(texts("alpaca")) & set(texts("self_instruct"))) == 1


PAIRS: dict[str, dict[str, int]] = {
    "hh_rlhf": {"equal_answers": 1, "diverge_early": 1, "empty_response": 1, "ends_with_user": 1},
    "ultrafeedback": {"equal_answers": 1, "empty_response": 1},
    "sharegpt_dpo": {"equal_answers": 1, "empty_response": 1, "unknown_role:narrator": 1},
}


def pairs(name: str) -> list[ConvertedPair | Rejected]:
    (path,) = SAMPLES.glob(f"{name}.json*")
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    module = load("converters", name)
    return [made for n, row in enumerate(rows, 1) for made in module.convert([RawRow(n, row)], module.Options())]


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_planted_in_preferences(name: str) -> None:
    made = pairs(name)
    assert Counter(one.code for one in made if isinstance(one, Rejected)) == PAIRS[name]
    given = [one for one in made if isinstance(one, ConvertedPair)]
    assert (
        len({repr((one.prompt, one.chosen, one.rejected)) for one in given})
        == len(given) - 1
        == 15 + (name == "ultrafeedback")
    ), "one row repeats another"
    assert any("As an AI language model" in one.rejected[-1]["content"] for one in given)
    assert any(len(one.prompt) >= 3 for one in given), "a dialogue of several turns"
    foreign = ("Wie ", "Was ", "Explique ")
    assert sum(one.prompt[-1]["content"].startswith(foreign) for one in given) == 1


def test_scores_in_the_sample_are_tags_and_some_are_equal() -> None:
    scores = [
        (p.tags["score_chosen"], p.tags["score_rejected"])
        for p in pairs("ultrafeedback")
        if isinstance(p, ConvertedPair)
    ]
    assert sum(a == b for a, b in scores) == 1
