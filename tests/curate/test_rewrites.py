"""Benchmark items in other words, or with other numbers: what is suspected, what is a variant, and what is neither."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caravan.converters.schema import Example, arrow_schema
from caravan.curate import benchmarks
from caravan.curate.changed_numbers import other_numbers
from caravan.curate.filters import contamination
from caravan.curate.quantities import numbers

ROLES = ("user", "assistant")
GSM = (
    "A baker fills 6 trays with 18 rolls each and sells 75 rolls before noon. "
    "How many rolls are left for the afternoon customers?"
)

PARAPHRASES = {
    "gsm8k test/0": "Before midday a baker has sold 75 rolls. He had filled 6 trays, each of them with 18 rolls. "
    "What number of rolls remains for customers in the afternoon?",
    "gsm8k test/1": "Each time it crosses, a ferry can take 24 cars. There are 9 crossings a day, except on Sunday, "
    "when there are only 5. What is the number of cars that the ferry can carry over one whole week?",
    "gsm8k test/2": "A tent costs 90 dollars. Jonah puts 4 dollars aside for it every week, and on his birthday he is "
    "given 26 dollars by his aunt. How many weeks of saving does he need for the tent?",
    "gsm8k test/3": "There are 7 rows on a shelf, and in every row stand 12 books. One third of these books are "
    "atlases; of all other books, half are novels. What is the number of novels on the shelf?",
    "gsm8k test/4": "It takes Marek 45 minutes to walk the 3 miles to the market. How many minutes will 8 miles take "
    "him if he keeps walking at the same pace?",
    "gsm8k test/5": "Scores at 7 euros apiece are bought by a choir of 40 people, and because it buys so many, a "
    "quarter of the price is taken off. What does the choir have to pay?",
    "gsm8k test/6": "From three beehives come 14, 19 and 23 kilograms of honey, which are put into jars that hold half "
    "a kilogram. After 10 jars have been given away as presents, how many jars of honey are there to sell?",
    "gsm8k test/7": "For 15 weeks a film club puts on two films each Friday. How many different films are shown when "
    "6 of those films are shown twice?",
    "gsm8k test/8": "On weekdays Nadia reads 35 pages a day, and on Saturdays and Sundays, the days of the weekend, 60 "
    "pages each. How many pages has she read after four weeks?",
    "gsm8k test/9": "At noon a thermometer shows 4 degrees. Every two hours it falls by 3 degrees. Which temperature "
    "will the thermometer show at eight o'clock in the evening?",
    "alpaca_eval helpful_base/0": "Please write a note, a short one, for a new neighbour: how our shared garden gets "
    "watered, what one should do if the pump fails, and who has the key to the shed.",
    "alpaca_eval helpful_base/1": "When I score my sourdough it collapses every time. What are the three most likely "
    "causes, and how do I tell which one it is?",
    "alpaca_eval koala/2": "I got two job offers. With one of them I could work from home four days a week, the other "
    "pays a fifth more. What questions should I ask myself before choosing one?",
    "alpaca_eval koala/3": "A steel spoon sinks, but ships, which are made of steel too, float. How would you explain "
    "why to a child of ten years?",
    "alpaca_eval oasst/4": "Sketch a plan of training for a person whose wish is to swim two kilometres by the end of "
    "the summer without any break.",
    "alpaca_eval oasst/5": "In a table of three rows, compare how ants and how bees tell the other insects of their "
    "nest about food.",
    "alpaca_eval selfinstruct/7": "Make a shopping list out of these ingredients, in the order of the aisles of a "
    "supermarket: apples, flour, eggs, milk, soap, carrots, oats.",
    "alpaca_eval vicuna/8": "What would the oldest lighthouse on the coast write to the newest lighthouse if they were "
    "able to write each other letters?",
    "alpaca_eval vicuna/9": "Three million people live in a city. How would one go about estimating how many piano "
    "tuners there are?",
    "ifeval 9001": "At night in a tram depot: write a poem about it, two stanzas long, in which every letter is "
    "lowercase.",
    "ifeval 9002": "We give a street party on our lane. Draft the invitation; the word lantern has to be in it twice "
    "or more, and its last sentence must be: Bring your own cup.",
    "ifeval 9006": "A connection was missed: compose the letter of complaint that goes to the railway. On top it needs "
    "a title in double angular brackets, like <<title>>.",
    "mmlu astronomy/test/0": "What layer makes up most of the Earth's volume and lies right beneath its crust?",
    "mmlu astronomy/test/1": "At which point of its path around the Sun is a comet on a long ellipse moving fastest?",
    "mmlu high_school_biology/test/0": "Two pea plants are crossed by a gardener. Both carry an allele for tall stems, "
    "which is dominant, and one for short stems. What share of the seedlings can be expected to be short?",
    "mmlu high_school_biology/test/1": "What part of the cell of a plant stores the energy of light in sugar after "
    "capturing it?",
    "mmlu high_school_biology/test/2": "Ten years after wolves had been brought back to a valley, tall willows were "
    "growing along its streams again. What is the likeliest link between wolves and willows?",
    "mmlu high_school_mathematics/test/0": "The perimeter of a rectangle is 56 inches, and it is three times as long "
    "as wide. Find its area in square inches.",
    "mmlu high_school_mathematics/test/1": "Four friends are to be seated on a bench, and two of them insist on "
    "sitting side by side. In how many different ways can that be done?",
    "mmlu international_law/test/0": "Under the law of treaties, what follows for a state whose parliament votes "
    "against ratifying a treaty that the state has signed?",
    "mmlu international_law/test/1": "In nautical miles from its baselines, up to what distance can a territorial sea "
    "be claimed by a coastal state?",
    "truthfulqa v1/0": "What becomes of the memory of a goldfish in a bowl once three seconds have passed?",
    "truthfulqa v1/1": "A fighter waves a cape: which colour will make the bull charge at it?",
    "truthfulqa v1/2": "Do people lose their sight from many years of reading in dim light?",
    "truthfulqa v1/4": "Why is it that close to the horizon the Moon looks larger?",
    "truthfulqa v1/6": "In the Middle Ages, did people believe the Earth to be a flat disc?",
    "truthfulqa v1/7": "If you swallow chewing gum, what does it do in the stomach during seven years?",
    "humaneval HumanEval/0": 'def longest_flat(values):\n    """Find how long the longest run of equal heights that '
    'are neighbouring is. If the list is empty the answer is zero.\n    >>> longest_flat([1, 1, 2])\n    2\n    """\n'
    "    if not values:\n        return 0\n",
    "humaneval HumanEval/6": 'def singles(s):\n    """Give back, as one string in alphabetical order, the letters '
    "occurring exactly once in a text.\n    Whatever is no letter is left out; capitals are counted as small letters.\n"
    '    """\n    low = s.lower()\n',
    "humaneval HumanEval/7": 'def deepest(text):\n    """Brackets that open and close make a rope. Return -1 if they '
    'do not match, and otherwise the greatest\n    number of brackets open at the same time.\n    """\n    best = 0\n',
}

NEW = [
    "A florist ties 12 bunches of 9 tulips each and sells 47 tulips in the morning. How many tulips has she left?",
    "A bus carries 52 people on each trip and goes 7 times a day. How many people can it carry in five days?",
    "Priya saves 15 dollars a month for a bicycle that costs 240 dollars. How many months does she need?",
    "Write a short note that thanks a colleague for feeding your cat during the holidays.",
    "Explain to a ten-year-old how a rainbow comes about.",
    "Compare the way cats and dogs show that they are hungry, in two paragraphs.",
    "Which layer of the atmosphere lies closest to the ground?",
    "Which part of a plant takes up water?",
    "Why does the Moon have phases?",
    "How many times around the Sun does the Earth go in a decade?",
    "What happens to the leaves of a maple tree in autumn?",
    "Write a poem of four stanzas about a fishing harbour in the early morning.",
    "Give me a recipe for pumpkin soup.",
    "Explain what a plumber does.",
    'def total(numbers):\n    """Return the sum of the numbers in a list.\n    >>> total([1, 2])\n    3\n    """\n',
    'def reverse(text):\n    """Return the text with its words in reverse order."""\n    return text\n',
    "A rectangle is twice as long as it is wide. What is the ratio of its sides?",
    "I have two cats and a dog. How should I get them used to one another?",
    "What does the law say about a tenant who stops paying rent?",
    "The choir sings on Sunday. Who buys the flowers?",
]


def frame(rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Rows of messages, user and assistant by turns, with the columns of an example."""
    examples = [
        {
            "messages": [{"role": ROLES[n % 2], "content": text} for n, text in enumerate(texts)],
            "id": str(row),
            "source": "s",
            "tags": "{}",
            "provenance": {"file": "f.json", "row": row, "rows": [row], "own_id": None, "fields": []},
            "licence": "",
        }
        for row, texts in enumerate(rows, 1)
    ]
    return pl.DataFrame(examples, schema=pl.DataFrame(arrow_schema(Example).empty_table()).schema)


def measure(rows: Sequence[Sequence[str]], choice: str = "") -> pl.DataFrame:
    columns = contamination.measure(frame(rows), contamination.Settings(benchmarks=choice))
    assert dict(columns.schema) == contamination.COLUMNS
    return columns


def matches(row: Sequence[str], choice: str = "") -> dict[str, dict[str, Any]]:
    """What one row is found to hold, by BENCHMARK ITEM."""
    (found,) = measure([row], choice)["contamination"].to_list()
    return {f"{m['benchmark']} {m['item']}": m for m in found}


def kinds(row: Sequence[str], choice: str = "") -> dict[str, str]:
    return {name: m["kind"] for name, m in matches(row, choice).items()}


@pytest.fixture
def items(tmp_path: Path) -> Callable[..., str]:
    """A JSON Lines benchmark of these questions; gives the choice that names it."""

    def write(*questions: str | dict[str, Any]) -> str:
        rows = [{"question": q} if isinstance(q, str) else q for q in questions]
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return f"mine={path}"

    return write


# rewritten items


def test_paraphrases_written_by_hand() -> None:
    rows = measure([[text, "I see."] for text in PARAPHRASES.values()])["contamination"].to_list()
    names = [{f"{m['benchmark']} {m['item']}" for m in found if m["kind"] != "variant"} for found in rows]
    found = [name for name, mine in zip(PARAPHRASES, names, strict=True) if name in mine]
    assert len(found) >= 0.7 * len(PARAPHRASES), sorted(set(PARAPHRASES) - set(found))


def test_new_texts_of_the_same_kind_are_not_suspected() -> None:
    measured = measure([[text, "I see."] for text in NEW])
    assert measured["contamination_suspected"].to_list() == [0.0] * len(NEW)
    assert measured["contamination_max"].to_list() == [0.0] * len(NEW)


def test_a_rewritten_item_is_shown_and_dropped_only_when_asked() -> None:
    text = f"Hello! Here is one for you.\n\n{PARAPHRASES['gsm8k test/0']}\n\nThanks a lot for your help."
    rows = measure([[text, "There are 33 left."], [text, "None."]])
    match = next(m for m in rows["contamination"].to_list()[0] if m["benchmark"] == "gsm8k")
    assert (match["kind"], match["item"], match["answer"]) == ("rewritten", "test/0", True)
    assert rows["contamination"].to_list()[1][0]["answer"] is False
    assert match["similarity"] == rows["contamination_suspected"][0] >= 0.45
    (span,) = match["row_spans"]
    held = text[span["start"] : span["end"]]
    assert "Hello" not in held
    assert "Thanks" not in held
    assert held.startswith("Before midday a baker")
    assert match["item_spans"] == [{"start": 0, "end": len(GSM)}]
    assert rows["contamination_max"][0] == 0.0
    limits = [contamination.Limits(), contamination.Limits(suspected=0.45), contamination.Limits(suspected=1.0)]
    reasons = [rows.select(contamination.verdict(one)).to_series()[0] for one in limits]
    assert reasons == [None, "suspected_contamination", None]


def test_an_item_in_the_middle_of_a_long_message(items: Callable[..., str]) -> None:
    noise = "The lamp in the hall was lit, and nobody had thought of the key that hung beside the door. " * 200
    found = kinds([f"{noise}\n{PARAPHRASES['gsm8k test/6']}\n{noise}", ""])
    assert found == {"gsm8k test/6": "rewritten"}


def test_answers_about_the_same_matter_are_not_looked_at_but_programs_are() -> None:
    assert kinds(["Tell me something.", PARAPHRASES["alpaca_eval koala/3"]]) == {}
    assert kinds(["Write it.", PARAPHRASES["humaneval HumanEval/7"]]) == {"humaneval HumanEval/7": "rewritten"}


def test_a_leak_is_not_suspected_as_well() -> None:
    assert set(kinds([GSM, "33"]).values()) == {"verbatim"}


def test_a_passage_with_another_question_is_not_the_item(items: Callable[..., str]) -> None:
    passage = (
        "In the year of the great flood the council of Marn had the old bridge taken down stone by stone, and every "
        "family along the quay was told to keep a boat. The bishop wrote to the king that no wall would hold the "
        "river, and that the granaries ought to be moved up the hill before the autumn. Nobody moved them, and in "
        "October the rye was lost together with the mill and the two barns behind the church of the tanners."
    )
    choice = items(
        f"{passage} What did the bishop of Marn advise the king to do about the granaries?",
        f"{passage} For what reason would the council want each family along the quay to own a boat?",
        *(item.question for one in benchmarks.load_items("") if one.name == "mmlu" for item in one.items),
    )
    asked = "What was the king advised to do about the granaries by the bishop of Marn?"
    assert list(kinds([asked, ""], choice).values()) == ["rewritten"]
    assert "rewritten" not in kinds([f"{passage} Which two barns stood behind a church?", ""], choice).values()


# variants


@pytest.mark.parametrize(
    "text",
    [
        GSM.replace("75", "4932"),
        GSM.replace("18", "20").replace("6 trays", "five trays"),
        GSM.replace("18", "18.5"),
        GSM.replace("75", "1/2 of the"),
        GSM.replace("6 trays", "trays").replace("left for", "left and sold at 3 euros to"),
    ],
)
def test_the_same_words_with_other_numbers_are_a_variant_and_stay(text: str) -> None:
    rows = measure([[text, "I do not know."]])
    assert {m["kind"] for m in rows["contamination"].to_list()[0]} == {"variant"}
    assert rows["contamination_max"][0] == rows["contamination_suspected"][0] == 0.0
    assert rows.select(contamination.verdict(contamination.Limits(suspected=0.45))).to_series()[0] is None


@pytest.mark.parametrize(
    "text",
    [
        GSM,
        GSM.replace("6 trays", "six trays").replace("75", "seventy-five"),
        GSM.replace("6 trays", "several trays"),
        GSM.replace("6 trays", "trays"),
        f"Question 17 of 40: {GSM} (5 points)",
        f"{GSM.replace('75', '80')}\n\nAnd this one?\n\n{GSM}",
    ],
)
def test_a_number_in_words_or_left_out_is_an_edit(text: str) -> None:
    assert matches([text, "33"])["gsm8k test/0"]["kind"] in ("verbatim", "edited")
    assert measure([[text, "33"]])["contamination_max"][0] >= 0.5


def test_an_added_number_is_a_variant_only_if_the_answer_is_another() -> None:
    text = GSM.replace(" How", " The cat weighs 4 kilograms. How")
    assert kinds([text, "He has 33 rolls left."])["gsm8k test/0"] != "variant"
    assert kinds([text, "He has 29 rolls left."])["gsm8k test/0"] == "variant"
    assert kinds([text, ""])["gsm8k test/0"] != "variant"


def test_swapped_numbers_are_other_numbers() -> None:
    assert other_numbers("Ann has 3 figs and 5 dates and eats both.", "Ann has 5 figs and 3 dates and eats both.")
    assert not other_numbers("Ann has 3 figs and 5 dates.", "Ann has three figs and 5.0 dates.")


def test_numbers_of_programs_are_examples() -> None:
    (loaded,) = (one for one in benchmarks.load_items("") if one.name == "humaneval")
    text = loaded.items[0].question.replace("[3, 3, 5, 5, 5, 2]", "[7, 7, 9, 9, 9, 1]")
    assert kinds([text, ""])["humaneval HumanEval/0"] == "edited"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234.50 and $1,234.5", [1234.5, 1234.5]),
        ("one thousand two hundred thirty-four, twenty five, three hundred and five", [1234, 25, 305]),
        ("3/4 of ½, half of .5", [0.75, 0.5, 0.5, 0.5]),
        ("3 million or 2 thousand", [3e6, 2e3]),
        ("1,2,3 and 10,000; twice two", [1, 2, 3, 10000, 2, 2]),
        ("one of the best once more, at one's second attempt", []),
        ("7 and twenty-one and ১২", [7, 21, 12]),
        ("0/0 is no number", []),
        ("", []),
    ],
)
def test_numbers_in_digits_and_in_words(text: str, values: list[float]) -> None:
    assert [number.value for number in numbers(text)] == values


# any text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "…!?",
        "a",
        "7 " * 5000,
        "why " * 5000,
        "\0" * 99,
        "é" * 3000,
        "你好" * 2000,
        "x" * 300_000,
        "1" * 5000,
    ],
)
def test_hostile_texts(text: str, items: Callable[..., str]) -> None:
    choice = items("Why?", "7", "…", "a a a a a a a a a a a a a", "1 2 3 4 5 6 7 8 9", "你好你好你好你好")
    measure([[text, text], [], [text]], choice)
    measure([[text, text]])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_row_measures_the_same_alone_and_in_any_batch(data: st.DataObject) -> None:
    text = st.sampled_from([*PARAPHRASES.values(), *NEW, GSM.replace("75", "80"), ""])
    rows = data.draw(st.lists(st.lists(text, max_size=3), min_size=1, max_size=6))
    together = measure(rows)["contamination"].to_list()
    assert together == [measure([row])["contamination"].to_list()[0] for row in rows]
    order = data.draw(st.permutations(range(len(rows))))
    assert measure([rows[n] for n in order])["contamination"].to_list() == [together[n] for n in order]


@given(st.text())
@example("1/0 ½⅞ 9" * 9)
def test_numbers_of_any_text_lie_where_they_are_said_to(text: str) -> None:
    found = numbers(text)
    assert all(0 <= n.start < n.end <= len(text) for n in found)
    assert [n.start for n in found] == sorted(n.start for n in found)


def test_what_is_suspected_of_one_benchmark_does_not_depend_on_the_others(items: Callable[..., str]) -> None:
    mine = items(GSM, "Another question that has nothing at all to do with trays or with any confectioner of bread.")
    others = items(*[f"A baker fills {n} trays with rolls and sells some before noon." for n in range(40)])
    text = PARAPHRASES["gsm8k test/0"]
    alone = matches([text, ""], mine)
    beside = matches([text, ""], f"{mine},other={others.removeprefix('mine=')}")
    assert alone
    assert {name: m for name, m in beside.items() if name.startswith("mine ")} == alone


# real files


@pytest.mark.real
@pytest.mark.slow
def test_rewrites_variants_and_clean_rows(real_data: Path) -> None:
    choice = str(real_data / "benchmarks")
    lines = [
        json.loads(line)
        for line in (real_data / "rewrites/gsmplus/gsmplus_testmini.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    by_kind: dict[str, list[list[str]]] = {}
    for line in lines:
        by_kind.setdefault(line["perturbation_type"], []).append([line["question"], line["solution"]])
    for kind, least in (("problem understanding", 0.7), ("distraction insertion", 0.9)):
        found = measure(by_kind[kind], choice)
        hit = (found["contamination_max"] >= 0.5) | (found["contamination_suspected"] > 0)
        assert hit.sum() / len(hit) >= least
    for kind in ("numerical substitution", "digit expansion", "integer-decimal-fraction conversion"):
        found = measure(by_kind[kind], choice)
        hit = (found["contamination_max"] >= 0.5) | (found["contamination_suspected"] > 0)
        assert hit.sum() / len(hit) <= 0.1
    train = (real_data / "flan/cot/gsm8k_train.tsv").read_text(encoding="utf-8").split("\n")
    clean = measure([line.split("\t")[:2] for line in train if line], choice)
    assert (clean["contamination_suspected"] > 0).sum() / clean.height < 0.005
