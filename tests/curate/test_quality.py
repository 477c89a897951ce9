"""The quality score: bounds, and that each fault costs what its clean twin keeps."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate.filters import quality
from caravan.plugins import find, load

Turn = tuple[str, str]


def frame(*rows: list[Turn], tags: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {"messages": [[{"role": r, "content": c} for r, c in row] for row in rows], "tags": tags or ["{}"] * len(rows)},
        schema={"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})), "tags": pl.String},
    )


def measure(*rows: list[Turn], tags: list[str] | None = None) -> pl.DataFrame:
    return quality.measure(frame(*rows, tags=tags), quality.Settings())


def pair(prompt: str, answer: str) -> list[Turn]:
    return [("user", prompt), ("assistant", answer)]


def score(prompt: str, answer: str, part: str = "") -> float:
    return float(measure(pair(prompt, answer))[f"quality_{part}" if part else "quality"].item())


def reasons(*rows: list[Turn], **limits: float) -> list[str | None]:
    measured = measure(*rows)
    return measured.select(r=quality.verdict(quality.Limits.model_validate(limits)))["r"].to_list()


ASKED = "How do I keep basil alive on a windowsill through the winter?"
GOOD = (
    "Basil needs light and warmth more than anything else. Put the pot on a south-facing windowsill, away from cold "
    "draughts, and water it from below when the top of the soil feels dry.\n\n"
    "- Turn the pot every few days so that the plant grows evenly.\n"
    "- Pinch off flower buds and harvest from the top, just above a pair of leaves.\n"
    "- In the darkest weeks a small lamp for ten hours a day keeps the basil from growing thin.\n\n"
    "If the leaves turn yellow, you are probably watering too much."
)
LOOP = "Put the basil on the windowsill and water the basil every day. "

FAULTY = {
    "refusal": "I'm sorry, but I cannot help with that request.",
    "ai_disclaimer": "As an AI language model, I do not have hands. " + GOOD,
    "truncation": GOOD[: GOOD.index("yellow")] + "because of the",
    "mojibake": GOOD.replace("'", "â€™").replace(" a ", " Ã  ").replace("e l", "Ã© l"),
    "prompt_echo": ASKED,
    "repetition": LOOP * 12,
    "placeholder": "[insert answer here]",
    "off_topic": "The committee approved last quarter's budget after a lengthy debate on railway funding. Several "
    "members abstained, citing uncertain revenue forecasts and rising interest payments across municipal bonds.",
    "detail": "Light.",
}  # fmt: skip


@pytest.mark.parametrize("part", FAULTY)
def test_a_fault_costs_and_its_part_says_so(part: str) -> None:
    assert score(ASKED, GOOD, part) > score(ASKED, FAULTY[part], part)
    assert score(ASKED, GOOD) > score(ASKED, FAULTY[part])


def test_a_good_answer_is_good_in_every_part() -> None:
    row = measure(pair(ASKED, GOOD)).row(0, named=True)
    assert row["quality"] > 0.8
    assert [
        name
        for name in find("quality_parts")
        if load("quality_parts", name).KIND == "gate" and (row[f"quality_{name}"] or 1) < 1
    ] == []


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Is the sentence positive or negative? I loved the soup.", "positive"),
        ("What is the capital of Mongolia?", "Ulaanbaatar"),
        ("Solve 12 * 12.", "144"),
        ("Write a function that adds two numbers in C.", "int add(int a, int b) {\n    return a + b;\n}"),
        ("Name three rivers in France.", "Loire, Seine, Rhône"),
        ("List the colours of the rainbow in order.", "Red, orange, yellow, green, blue, indigo, violet"),
        ("中国的首都是哪里？", "北京。"),
        ("Translate to German: The cat sleeps.", "Die Katze schläft."),
        ("Which word rhymes with cat?", "hat"),
        ("Write a haiku about frost.", "White breath on the glass\na spider's net holds the dawn\nnobody moves yet"),
        ("Ist der Wal ein Fisch? Antworte mit ja oder nein.", "Nein"),
        ("Write an email that turns down an invitation.", "Dear Ana,\n\nI'm sorry, but I can't come. Thank you!"),
        ("Check a form in Python.", "# If the input is empty, nothing is checked\ncheck(form) if form else None"),
        ("Sing me a line of a love song.", "Oh, I can't help falling for the way you laugh."),
    ],
)  # fmt: skip
def test_short_right_answers_stay(prompt: str, answer: str) -> None:
    assert reasons(pair(prompt, answer)) == [None]
    assert score(prompt, answer) > 0.2


def test_more_is_better_only_up_to_what_is_asked() -> None:
    open_prompt, closed = "Explain why the sky is blue.", "Yes or no: is the sky blue?"
    long = "The sky is blue because air scatters short wavelengths more than long ones. "
    more = "Sunlight holds every colour, and the blue part is spread over all of the sky, so it comes from everywhere. "
    gain_open = score(open_prompt, long + more, "detail") - score(open_prompt, "Rayleigh scattering.", "detail")
    gain_closed = score(closed, long + more, "detail") - score(closed, "Yes, it is.", "detail")
    assert gain_open > gain_closed > 0


REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I am sorry, I cannot provide a list of such sites.",
    "Unfortunately, I am unable to browse the internet.",
    "I cannot fulfil this request, as it would be harmful.",
    "Sorry, I can't do that.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Je suis désolé, mais je ne peux pas répondre à cette question.",
    "Es tut mir leid, aber ich kann dir dabei leider nicht helfen.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Helaas kan ik je daar niet mee helpen: het spijt me, maar ik kan dit niet doen.",
    "Извините, но я не могу помочь с этим.",
    "Maaf, saya tidak dapat membantu hal itu.",
    "很抱歉，我无法回答这个问题。",
    "申し訳ありませんが、その質問にはお答えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_in_many_languages(answer: str) -> None:
    assert reasons(pair("Tell me how to do it.", answer)) == ["refusal"]
    assert reasons(pair("Tell me how to do it.", answer), minimum=0) == [None]


DISCLAIMERS = [
    "As an AI language model, I have no favourite.",
    "I'm just an AI, so I cannot taste.",
    "As a helpful AI, I cannot choose.",
    "I was trained by OpenAI on many texts.",
    "My training data ends before that.",
    "Como modelo de lenguaje, no tengo gustos.",
    "En tant qu'IA, je n'ai pas de préférence.",
    "Als KI habe ich keinen Geschmack.",
    "Come modello linguistico non ho gusti.",
    "Как языковая модель, я не имею вкуса.",
    "Sebagai model bahasa, saya tidak punya selera.",
    "作为一个AI语言模型，我没有喜好。",
    "AIとして、好みはありません。",
    "인공지능 언어 모델로서 저는 취향이 없습니다.",
]


@pytest.mark.parametrize("answer", DISCLAIMERS)
def test_disclaimers_in_many_languages(answer: str) -> None:
    assert score("Which cheese is best?", answer, "ai_disclaimer") == 0.4


@pytest.mark.parametrize(
    "text", ["The airline said it rained.", "He works as an air traffic guide.", "亚洲的大米很香。"]
)
def test_other_words_are_no_disclaimer(text: str) -> None:
    assert score("Which cheese is best?", text, "ai_disclaimer") == 1


@pytest.mark.parametrize(
    "answer",
    ["N/A", "n/a.", "<noinput>", "<nooutput>", "TODO", "[insert answer here]", "...", "TBD", "Your answer here"],
)
def test_placeholders_are_dropped(answer: str) -> None:
    assert reasons(pair(ASKED, answer)) == ["low_quality"]


@pytest.mark.parametrize(
    "answer", ["None", "no", "A", "null", "undefined", "0", "[1, 2]", "<b>bold</b>", "INSERT INTO t VALUES (1);"]
)
def test_what_looks_like_a_placeholder_stays(answer: str) -> None:
    assert reasons(pair("What does the program print?", answer)) == [None]


@pytest.mark.parametrize("answer", ["", " \n\t", "\u200b", "\ufeff \u200b\n"])
def test_an_empty_answer_is_dropped_whatever_the_limit(answer: str) -> None:
    assert reasons(pair(ASKED, answer), minimum=0) == ["empty_response"]


def test_dialogues() -> None:
    question, answer = ("user", ASKED), ("assistant", GOOD)
    measured = measure(
        [question, answer, question, answer],
        [question, answer, question],
        [question, answer, question, ("assistant", " ")],
        [question, answer, question, ("assistant", FAULTY["refusal"])],
        [question],
        [],
        [("system", "Be kind."), question, answer],
    )
    complete = measured["quality_complete"].to_list()
    assert complete == [1, 0.8, 0.5, 1, 0, 0, 1]
    scores = measured["quality"].to_list()
    assert scores[0] > scores[1] > scores[2] > 0 == scores[4] == scores[5]
    assert 0 < scores[3] < scores[0]
    assert scores[6] == measure([question, answer])["quality"].item() > scores[0]  # which says all of it twice


def test_answers_that_are_not_trained_on_are_not_judged() -> None:
    row = [("user", ASKED), ("assistant", FAULTY["refusal"]), ("user", ASKED), ("assistant", GOOD)]
    with_weights = measure(row, row, tags=["{}", '{"weights":[1,0,1,1]}'])["quality_refusal"].to_list()
    assert with_weights[0] < 1 == with_weights[1]


def test_a_follow_up_is_judged_with_what_it_follows() -> None:
    first = [("user", ASKED), ("assistant", GOOD)]
    more = (
        "Basil also dislikes cold water, so let the can stand on the windowsill for some hours before watering leaves."
    )
    measured = measure([*first, ("user", "Anything else worth knowing?"), ("assistant", more)])
    assert measured["quality_off_topic"].item() == 1
    assert measured["quality_relevance"].item() > measure([*first[:1], ("assistant", more)])["quality_relevance"].item()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("```python\nprint(1)\n", 0.3),
        ("```python\nprint(1)\n```", 1),
        ("Roses on the hill\nbend before the northern wind\nand nobody comes\nto see them any more\nor to ask why", 1),
        ("We went to the market and bought bread, cheese, olives, two kinds of wine and", 0.3),
        ("We went to the market and then we walked all the way back home in heavy rain", 0.8),
        ("We went to the market and then we walked all the way back home in heavy rain.", 1),
        ("she decided to see whether she could find someone nice and friendly to hang out with", 0.8),
        ("She was lonely. She decided to see whether she could find someone to share her days with", 0.3),
        ("昨天我们去了市场，买了很多东西，然后我们一起走回家，路上下着大雨但是大家都很开心", 0.8),
        ("昨天我们去了市场，买了很多东西，然后我们一起走回家，路上下着大雨但是大家都很开心。", 1),
    ],
)
def test_truncation(answer: str, value: float) -> None:
    assert score("Tell me something.", answer, "truncation") == value


def test_repetition_is_for_texts_of_fifty_words_and_knows_chinese() -> None:
    assert score(ASKED, LOOP * 2, "repetition") == 1
    assert score(ASKED, LOOP * 10, "repetition") < 0.3
    assert score(ASKED, "把罗勒放在窗台上，每天给罗勒浇水。" * 12, "repetition") < 0.3
    table = "\n".join(f"| {i} | {i * i} | {i**3} |" for i in range(40))
    assert score("Make a table of squares and cubes.", table, "repetition") == 1


def test_reasons_follow_the_limit() -> None:
    rows = [pair(ASKED, GOOD), pair(ASKED, FAULTY["refusal"]), pair(ASKED, "N/A"), pair(ASKED, "")]
    assert reasons(*rows) == [None, "refusal", "low_quality", "empty_response"]
    assert reasons(*rows, minimum=0) == [None, None, None, "empty_response"]
    kept = [sum(r is None for r in reasons(*rows, minimum=m / 10)) for m in range(11)]
    assert kept == sorted(kept, reverse=True)
    assert set(filter(None, reasons(*rows))) <= set(quality.REASONS)


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), st.text(st.characters(codec="utf-8")))
        )
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=30, deadline=None)
def test_any_text_scores_within_bounds_and_by_itself(rows: list[list[Turn]], chance: random.Random) -> None:
    measured = measure(*rows)
    assert dict(measured.schema) == quality.COLUMNS
    for column in measured.columns:
        assert measured[column].is_between(0, 1).all()
    order = list(range(len(rows)))
    chance.shuffle(order)
    for batch in (order[::2], order[1::2]):
        again = measure(*[rows[i] for i in batch])
        assert again.rows() == [measured.row(i) for i in batch]


@pytest.mark.parametrize(
    "text",
    [
        "word " * 400_000,
        "a" * 2_000_000,
        "中" * 1_000_000,
        "\n" * 1_000_000,
        "[" * 1_000_000,
        "```" * 300_001,
        "Ã©" * 500_000,
    ],
)
def test_huge_texts_are_measured(text: str) -> None:
    """A search that looks back from every character would not end here."""
    measured = measure(pair(text, text), pair("Say it.", text))
    assert measured["quality"].is_between(0, 1).all()


def test_what_is_said_twice_or_copied_says_nothing() -> None:
    text = "The kiln reached nine hundred degrees before the glaze on the second shelf began to run and pool."
    said = score("Go on.", text, "detail")
    assert score("Go on.", f"{text} {text} {text}", "detail") < said + 0.05
    assert score(f"Rewrite this: {text}", text, "detail") < 0.7 * said
    assert score(f"{text} Go on.", f"{GOOD} {text}", "detail") < score("Go on.", GOOD, "detail") + 0.05
    before = [("user", "Tell me."), ("assistant", GOOD), ("user", "And?"), ("assistant", GOOD)]
    weights = ['{"weights":[0,0,0,1]}']
    assert measure(before, tags=weights)["quality_detail"].item() < 0.7 * score("And?", GOOD, "detail")


def test_relevance_is_of_the_whole_prompt_and_of_nothing_else() -> None:
    prompt = "Which herbs survive frost on a balcony in the mountains?"
    parts = ["Thyme.", "Thyme survives.", "Thyme survives frost.", "Thyme survives frost on a balcony."]
    values = [score(prompt, part, "relevance") for part in parts]
    assert values == sorted(set(values))
    stray = " Cars, tariffs, operas, football, elections, telescopes, and mortgages interest some."
    assert score(prompt, parts[1] + stray, "relevance") < values[1]


@pytest.mark.parametrize(
    ("prompt", "answer", "fits"),
    [
        ("Name three rivers in France.", "Loire, Seine, Rhône", True),
        ("Name three rivers in France.", "Loire, Seine, Rhône, Garonne, Dordogne, Lot", False),
        ("List 5 uses of a brick.", "1. A wall\n2. A step\n3. A weight\n4. A shelf\n5. A path", True),
        ("List 5 uses of a brick.", "1. A wall\n2. A step", False),
        ("列出三种水果。", "苹果、香蕉、梨", True),
        ("列出三种水果。", "苹果、香蕉、梨、桃、橙子、葡萄、西瓜", False),
        ("Explain tides in one sentence.", "The moon pulls the sea, which rises and falls twice a day.", True),
        ("Explain tides in one sentence.", "The moon pulls the sea. It rises. It falls. Twice a day it does.", False),
        ("Describe the sea in one word.", "Vast", True),
        ("Describe the sea in one word.", "The sea is a big body of salty water.", False),
        ("Describe the sea in at most 10 words.", "Salt water as far as the eye can see.", True),
        ("Describe the sea in at most 10 words.", "Salt water as far as one can see, " * 4, False),
        ("Describe the sea in no more than 50 words.", "Salt water as far as one can see.", True),
        ("Describe the sea in over 50 words.", "Salt water as far as one can see.", False),
        ("Write two yes or no questions.", "Is it red? Is it big?", True),
        ("Write a story with the title Sea.", "She rowed, " * 40, True),
        ("Write a title for the story.", "She rowed, " * 40, False),
        ("What is a JSON file?", "A text that names its values.", True),
        ("Avoid using words that rhyme. What glows?", "The sun that sets.", True),
        ("Do not use the word 'sun'. What glows?", "The sun that sets.", False),
        ("Print a line in uppercase in Python.", "print(line.upper())", True),
        ("Is the sky green? Answer yes or no.", "No, it is blue.", True),
        ("Is the sky green? Answer yes or no.", "The sky scatters light of short waves.", False),
        ("Classify the animal as either a mammal or a bird. Bat.", "Mammal", True),
        ("Classify the animal as either a mammal or a bird. Bat.", "It flies at night.", False),
        ("Pick one: a) red b) blue. Which is warm?", "a", True),
        ("Pick one: a) red b) blue. Which is warm?", "Red, since it is like fire.", True),
        ("Pick one: a) red b) blue. Which is warm?", "Purple", False),
        ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b", True),
        ("Write a Python function that adds two numbers.", "You add the one number to the other.", False),
        ("Give the address as JSON: write it as JSON.", '{"street": "Main St"}', True),
        ("Give the address as JSON: write it as JSON.", "The street is Main St.", False),
        ("Write a haiku about frost.", "White breath on the glass\na spider's net\nnobody moves", True),
        ("Write a poem about frost.", "Frost is frozen dew that forms on cold nights.", False),
        ("Write three questions about bees.", "Where do bees sleep?\nWhat do they eat?\nWho is the queen?", True),
        ("Write three questions about bees.", "Bees live in hives and make honey.", False),
        ("How many legs has a spider?", "Eight.", True),
        ("How many legs has a spider?", "Spiders live in webs.", False),
        ("What is 12 * 12?", "12 * 12 = 144", True),
        ("What is 12 * 12?", "It is 124.", False),
        ("Write a line without the letter e.", "A cat sat up.", True),
        ("Write a line without the letter e.", "The cat sleeps.", False),
        ("Answer in all uppercase: who wrote Faust?", "GOETHE", True),
        ("Answer in all uppercase: who wrote Faust?", "Goethe wrote Faust.", False),
        ("Tell me how bread is made at home", "Flour, water, salt; knead, wait, bake. Do you have an oven?", True),
        ("Tell me how bread is made at home", "What kind of bread would you like to make?", False),
        ("Tell me how bread is made at home", "面包是用面粉、水、酵母和盐制成的，先揉面再发酵最后烘烤。", False),
        ("Tell me in Chinese how bread is made", "面包是用面粉、水、酵母和盐制成的，先揉面再发酵最后烘烤。", True),
    ],
)  # fmt: skip
def test_task_fit(prompt: str, answer: str, fits: bool) -> None:
    assert (score(prompt, answer, "task_fit") == 1) == fits


def test_a_summary_is_shorter_than_its_text() -> None:
    text = " ".join(f"The harvest of year {year} was brought in late." for year in range(1990, 2000))
    assert score(f"Summarize this text: {text}", "Harvests were late through the nineties.", "task_fit") == 1
    assert score(f"Summarize this text: {text}", f"{text} {text}", "task_fit") < 1


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (GOOD + "<|im_end|>", 0.4),
        (GOOD + "\n\n### Instruction:\nNow write about thyme.", 0.4),
        (GOOD + "\nHuman: And thyme?", 0.4),
        (GOOD + "\nUser stories are told elsewhere.", 1),
        (GOOD + "\n\n### User Experience\nPleasant.", 1),
        (GOOD + "\nservices:\n  user: basil", 1),
    ],
)
def test_run_on(answer: str, value: float) -> None:
    assert score(ASKED, answer, "run_on") == value
    assert score(f"Continue the dialogue: {ASKED}", answer, "run_on") == 1
