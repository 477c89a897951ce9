"""Leaked benchmark items: what is found, what is not, where, and how it is counted."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.converters.schema import Example, arrow_schema
from caravan.curate import benchmarks, leaks
from caravan.curate.filters import contamination
from caravan.errors import UserError

LIMITS = contamination.Limits()
GSM = (
    "A baker fills 6 trays with 18 rolls each and sells 75 rolls before noon. "
    "How many rolls are left for the afternoon customers?"
)
FILLER = "Thank you for asking, and here is what I found out about it after a long day in the archive of the town."


def frame(rows: Sequence[Sequence[str]], first: str = "user") -> pl.DataFrame:
    """Rows of messages, user and assistant by turns (or a system text first), with the columns of an example."""
    roles = {"user": ["user", "assistant"], "system": ["system", "user", "assistant"]}[first]
    examples = [
        {
            "messages": [{"role": roles[n % len(roles)], "content": text} for n, text in enumerate(texts)],
            "id": str(row),
            "source": "s",
            "tags": "{}",
            "provenance": {"file": "f.json", "row": row, "rows": [row], "own_id": None, "fields": []},
            "licence": "",
        }
        for row, texts in enumerate(rows, 1)
    ]
    empty = pl.DataFrame(arrow_schema(Example).empty_table())
    return pl.DataFrame(examples, schema=empty.schema)


def measure(rows: Sequence[Sequence[str]], choice: str = "", first: str = "user", **keys: Any) -> pl.DataFrame:
    batch = frame(rows, first)
    columns = contamination.measure(batch, contamination.Settings(benchmarks=choice, **keys))
    assert dict(columns.schema) == contamination.COLUMNS
    assert columns.height == batch.height
    return pl.concat([batch, columns], how="horizontal")


def found(row: Sequence[str], choice: str = "", **keys: Any) -> dict[str, tuple[str, float]]:
    """Kind and coverage of each item that one row leaks, by BENCHMARK ITEM; suspected ones and variants left out."""
    (matches,) = measure([row], choice, **keys)["contamination"].to_list()
    return {
        f"{m['benchmark']} {m['item']}": (m["kind"], m["coverage_item"]) for m in matches if m["kind"] in leaks.LEAKS
    }


def reasons(rows: Sequence[Sequence[str]], choice: str = "", **keys: Any) -> list[str | None]:
    return measure(rows, choice, **keys).select(contamination.verdict(LIMITS)).to_series().to_list()


@pytest.fixture
def items(tmp_path: Path) -> Callable[..., str]:
    """A JSON Lines benchmark of these questions; gives the choice that names it."""

    def write(*questions: str | dict[str, Any]) -> str:
        rows = [{"question": q} if isinstance(q, str) else q for q in questions]
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


# what is found


def test_a_question_with_and_without_its_answer_in_any_role() -> None:
    assert reasons([[GSM, "33"], [GSM, ""], [FILLER, GSM], [FILLER, FILLER]]) == ["contaminated"] * 3 + [None]
    assert reasons([[GSM, FILLER, FILLER]], first="system") == ["contaminated"]
    assert found([f"{FILLER}\n\n{GSM.upper()}\n\n{FILLER}", "33"])["gsm8k test/0"] == ("verbatim", 1.0)


def test_the_answer_alone_is_no_leak() -> None:
    assert found(["How many?", "33"]) == {}
    assert found(["72", "#### 72"]) == {}
    assert found(["", ""]) == {}


def test_one_item_in_two_benchmarks_is_found_in_both() -> None:
    assert set(found([GSM, "33"])) == {"gsm8k test/0", "mgsm en/0"}


@pytest.mark.parametrize(
    "name", ["gsm8k", "mmlu", "bbh", "alpaca_eval", "humaneval", "ifeval", "tydiqa", "truthfulqa", "toxigen", "mgsm"]
)
def test_every_embedded_item_is_found_word_for_word(name: str) -> None:
    (loaded,) = (one for one in benchmarks.load_items("") if one.name == name)
    for item in loaded.items:
        assert found([f"{FILLER}\n\n{item.question}\n\n{FILLER}", FILLER])[f"{name} {item.id}"][0] == "verbatim"


def test_options_apart_from_the_question_or_in_it(items: Callable[..., str]) -> None:
    question = "Which bird of the northern moors nests on the ground and calls at dusk?"
    options = ["the curlew", "the swift", "the stork", "the tern"]
    apart = items({"id": "q", "question": question, "choices": options})
    joined = items({"id": "q", "question": f"{question}\n(A) the curlew\n(B) the swift\n(C) the stork\n(D) the tern"})
    rows = [f"{question}\nA. the curlew\nB. the swift\nC. the stork\nD. the tern", question]
    assert reasons([[row, "A"] for row in rows], apart) == ["contaminated", "contaminated"]
    assert reasons([[row, "A"] for row in rows], joined) == ["contaminated", "contaminated"]


def test_a_question_of_template_words_is_found_with_its_options_alone(items: Callable[..., str]) -> None:
    stem = "Which of the following is true?"
    choices = [
        [f"{a} rivers flow north", f"{a} hills are bare", "all of these"] for a in ("Some", "Two", "Few", "Most")
    ]
    choice = items(*({"id": str(n), "question": stem, "choices": c} for n, c in enumerate(choices)))
    assert found([stem, "None of them."], choice) == {}
    whole = f"{stem}\n(A) Two rivers flow north\n(B) Two hills are bare\n(C) All of these"
    name = benchmarks.load_items(choice)[0].name
    assert found([whole, "B"], choice)[f"{name} 1"][1] == 1.0


def test_an_item_spread_over_the_messages_of_a_row(items: Callable[..., str]) -> None:
    first = "Three sisters keep a shop that sells rope and lamp oil near the old quay of the harbour town,"
    second = "and on the first of May each of them takes home a third of what the till holds that evening."
    choice = items(f"{first} {second}")
    assert reasons([[first, second]], choice) == ["contaminated"]
    assert next(iter(found([first, FILLER], choice).values()))[1] < 0.6
    cut = first.split()
    assert found([" ".join(cut[:7]), " ".join(cut[7:14])], choice) == {}, "no n-gram crosses from message to message"


def test_edited_items(items: Callable[..., str]) -> None:
    edited = GSM.replace("baker", "confectioner").replace("afternoon", "late")
    kind, coverage = found([edited, "33"])["gsm8k test/0"]
    assert kind == "edited"
    assert 0.5 <= coverage < 0.95
    short = "What does the keeper of the lighthouse of Kerrin burn in its lamp?"
    choice = items(short)
    assert found([short.replace("does", "did"), ""], choice)
    assert found([short.replace("of the lighthouse of Kerrin ", ""), ""], choice) == {}, "five words of thirteen"


ISLANDS = (
    "What is the largest ocean in the world?",
    "When did the ferryman of Hulm retire?",
    "Which painter drew the lighthouse at Kerrin?",
    "How many sheep live on the island of Orvay?",
    "What is the name of the tallest hill in Sarn?",
    "When was the harbour of Sarn built?",
    "Who is the mayor of Kerrin?",
    "How many people live in the town of Hulm?",
    "Where does the word skerry come from?",
    "What is the highest tower in the world?",
)


@pytest.mark.parametrize(
    ("item", "edited"),
    [
        (1, "When did the old ferryman of Hulm retire?"),  # put in
        (1, "When did ferryman of Hulm retire?"),  # left out
        (1, "When has the ferryman of Hulm retire?"),  # another word
        (1, "When did the ferrymen of Hulm retire?"),  # slips of the pen
        (2, "Which paitner drew the lighthouse at Kerrin?"),
        (3, "banana many sheep live on the island of Orvay?"),  # at the end of it
        (5, "When was the harbour of Sarn buitl?"),
        (6, "Who is mayor of Kerrin?"),
    ],
)
def test_one_word_of_a_short_item_edited(item: int, edited: str, items: Callable[..., str]) -> None:
    choice = items(*ISLANDS)
    name = benchmarks.load_items(choice)[0].name
    kind, coverage = found([f"Hello! {edited}", ""], choice)[f"{name} {name}:{item + 1}"]
    assert kind == "edited"
    assert coverage >= 0.5


@pytest.mark.parametrize(
    "other",
    [
        "What is the largest country in the world?",
        "What is the name of the tallest building in Paris?",
        "How many birds live on the island of Kerrin?",
        "When did the ferrygirl of Hulm retire?",
        "Who is the mayor of Hulm?",
    ],
)
def test_a_question_about_something_else_is_no_edit(other: str, items: Callable[..., str]) -> None:
    assert found([other, ""], items(*ISLANDS)) == {}


def test_a_long_item_with_a_word_in_ten_edited(items: Callable[..., str]) -> None:
    dice = random.Random(3)
    words = [f"word{n}" for n in range(60)]
    choice = items(" ".join(words))
    for _ in range(40):
        for n in dice.sample(range(60), 6):
            words[n] = dice.choice(["", "rather", f"{words[n]} also"])
        ((kind, coverage),) = found([f"{FILLER} {' '.join(words)}", ""], choice).values()
        assert kind == "edited"
        assert coverage > 0.75
        words = [f"word{n}" for n in range(60)]


def test_whether_the_answer_stands_in_the_row_too(items: Callable[..., str]) -> None:
    item = {"question": "Which bird nests on the northern moors and calls at dusk?", "answer": "the curlew"}
    choice = items(item)
    rows = [
        [item["question"], "It is the Curlew."],
        [f"{item['question']} The curlew!", FILLER],
        [item["question"], "The curlews."],
        [item["question"], FILLER],
    ]
    lines = leaks.table(measure(rows, choice), LIMITS)
    assert lines["answer"].to_list() == [True, True, False, False]
    (record,) = leaks.records(lines, contamination.Settings(benchmarks=choice))
    assert (record.rows_hit, record.rows_answered) == (4, 2)


def test_what_is_said_about_a_question_and_answer_pair(items: Callable[..., str]) -> None:
    """The five cases in which another tool was seen to err or to do well: see the page on contamination."""
    template = "Select the best translation into predicate logic of the following English sentence."
    sentences = [f"Every {n} of the valley sings to {m}." for n in ("miller", "smith", "weaver") for m in "abcd"]
    stories = [f"{template} {sentence}" for sentence in sentences]
    choice = items({"id": "rolls", "question": GSM, "answer": "33"}, *stories)
    name = benchmarks.load_items(choice)[0].name
    assert found([GSM, "33"], choice)[f"{name} rolls"] == ("verbatim", 1.0)
    assert found([GSM, "I do not know."], choice)[f"{name} rolls"] == ("verbatim", 1.0)
    assert found([FILLER, f"{GSM} 33"], choice)[f"{name} rolls"] == ("verbatim", 1.0)
    other_words = "Before midday, 75 of the rolls on six trays of eighteen were sold in a bakery; what remains?"
    assert found([other_words, "33"], choice) == {}
    assert found([f"{template} Some dogs in our street bark at Bob.", "Ex(Dx & Bxb)"], choice) == {}
    assert found([template, "Ex(Dx & Bxb)"], choice) == {}


# what is not found


def test_template_alone_flags_nothing_and_a_new_question_in_it_neither() -> None:
    (bbh,) = (one for one in benchmarks.load_items("") if one.name == "bbh")
    template = (
        "The following paragraphs each describe a set of three objects arranged in a fixed order. "
        "The statements are logically consistent within each paragraph."
    )
    assert sum(template in item.question for item in bbh.items) == 4
    fresh = (
        f"{template} Three stamps lie on a desk: a blue stamp, a torn stamp, and a foreign stamp. "
        "The torn one lies to the right of the blue one."
    )
    assert found([template, "(A)"]) == {}
    assert found([fresh, "(A)"]) == {}


def test_items_of_template_alone_are_found_whole(items: Callable[..., str]) -> None:
    """Puzzles put together from a few sentences: every n-gram is shared, only the whole is an item."""
    steps = ["Walk four paces towards the gate.", "Turn round to face the well.", "Walk two paces towards the barn."]
    puzzles = [" ".join(steps[(n >> k) % 3] for k in (0, 1, 2, 3, 4)) for n in range(12)]
    choice = items(*puzzles)
    name = benchmarks.load_items(choice)[0].name
    for number, puzzle in enumerate(puzzles):
        assert found([f"{FILLER}\n{puzzle}", ""], choice)[f"{name} {name}:{number + 1}"] == ("verbatim", 1.0)
    assert found([" ".join(steps), ""], choice) == {}


def test_items_that_differ_in_signs_alone_must_stand_sign_for_sign(items: Callable[..., str]) -> None:
    template = "Close all brackets of this row, and see to it that each of them is closed by its own kind:"
    rows = ["[ (", "[ ( [", "( ( [", "< [ (", "[ [ [ <", "< ( ["]
    choice = items(*(f"{template} {row}" for row in rows))
    name = benchmarks.load_items(choice)[0].name
    for number, row in enumerate(rows, 1):
        assert set(found([f"{FILLER}\n{template}  {row}\n{FILLER}", ""], choice)) == {f"{name} {name}:{number}"}
    assert found([template, ""], choice) == {}
    assert found([f"{template} {{ <", ""], choice) == {}


def test_a_word_of_the_text_is_one_word_of_the_item(items: Callable[..., str]) -> None:
    choice = items("Are all stars stars?")
    assert found(["All Stars", ""], choice) == {}
    assert found(["Are all stars stars?", ""], choice)


def test_a_short_item_must_stand_whole_and_alone(items: Callable[..., str]) -> None:
    choice = items("Is tap water safe to drink?")
    for text in (
        "Is tap water safe to drink?",
        "Q: is tap water safe to drink?",
        "Hi! “Is tap water safe to drink?” she asked.",
    ):
        assert reasons([[text, "Yes."]], choice) == ["contaminated"], text
    for text in (
        "Is tap water safe to drink in Japan?",
        "I ask, is tap water safe to drink?",
        "Is rain water from a tin roof safe to drink?",
    ):
        assert found([text, "Yes."], choice) == {}, text


def test_an_item_of_two_words_is_counted_but_not_looked_for(items: Callable[..., str]) -> None:
    choice = items("Define Uruk", "In which year was the last wooden bridge of our town taken down?", "")
    setting = contamination.Settings(benchmarks=choice)
    rows = measure(
        [["Define Uruk", ""], ["In which year was the last wooden bridge of our town taken down?", ""]], choice
    )
    (record,) = leaks.records(leaks.table(rows, LIMITS), setting)
    assert (record.items, record.too_short, record.hit, record.rows_hit) == (3, 2, 1, 1)


def test_an_item_of_three_words_must_be_a_sentence_word_for_word(items: Callable[..., str]) -> None:
    choice = items("Who founded Uruk?")
    assert found(["Tell me. Who founded Uruk?", ""], choice)
    for text in ("Who founded Uruk and Ur?", "Who founded Rome?", "who built Uruk?"):
        assert found([text, ""], choice) == {}, text


def test_a_passage_alone_is_no_item() -> None:
    (tydiqa,) = (one for one in benchmarks.load_items("") if one.name == "tydiqa")
    assert reasons([[item.passage, FILLER] for item in tydiqa.items]) == [None] * len(tydiqa.items)


def test_numbers_count(items: Callable[..., str]) -> None:
    choice = items("Compute 12 + 7 and then 31 - 4 and then 90 / 6")
    assert found(["Compute 955 + 8 and then 17 - 2 and then 63 / 9", ""], choice) == {}


# where


def test_spans_on_both_sides() -> None:
    rows = measure([[f"Please help me.\n\n{GSM} Thanks!", "33"]])
    match = next(m for m in rows["contamination"].to_list()[0] if m["benchmark"] == "gsm8k")
    (span,) = match["row_spans"]
    assert span["message"] == 0
    assert f"Please help me.\n\n{GSM} Thanks!"[span["start"] : span["end"]] == GSM.removesuffix("?")
    assert match["item_spans"] == [{"start": 0, "end": len(GSM) - 1}]
    assert match["coverage_row"] == pytest.approx(24 / 29)


def test_spans_of_an_edit_in_two_messages(items: Callable[..., str]) -> None:
    item = "On market days the ferryman of Hulm takes sheep across for one coin and goats across for nothing at all."
    choice = items(item)
    texts = [
        "On market days the ferryman of Hulm takes pigs",
        "across for one coin and goats across for nothing at all",
    ]
    (match,) = measure([["é…", *texts]], choice)["contamination"].to_list()[0]
    held = [["é…", *texts][s["message"]][s["start"] : s["end"]] for s in match["row_spans"]]
    assert held == ["On market days the ferryman of Hulm takes", texts[1]]
    assert [item[s["start"] : s["end"]] for s in match["item_spans"]] == held


def test_every_item_that_one_row_holds_is_named(items: Callable[..., str]) -> None:
    words = [f"w{n}" for n in range(60 * 20)]
    questions = [" ".join(words[20 * n : 20 * n + 20]) for n in range(60)]
    text = " . ".join(q if n % 6 else q[:-12] for n, q in enumerate(questions))
    (matches,) = measure([[text, ""]], items(*questions))["contamination"].to_list()
    assert len(matches) == 60
    assert sum(m["coverage_item"] == 1.0 for m in matches) == 50


# counting


def test_tables_and_records() -> None:
    rows = measure([[GSM, "33"], [FILLER, FILLER], [FILLER, GSM]])
    own = pl.struct(
        pl.col("provenance").struct.field("file"),
        pl.col("provenance").struct.field("row"),
        pl.when(pl.col("id") == "1").then(pl.lit("mine-7")).alias("own_id"),
    )
    lines = leaks.table(rows.with_columns(own.alias("provenance")), LIMITS)
    assert lines.columns == [
        "row_id",
        "file",
        "row",
        "benchmark",
        "item",
        "kind",
        "coverage_item",
        "coverage_row",
        "similarity",
        "answer",
        "row_spans",
        "item_spans",
    ]
    assert lines.select("row_id", "benchmark", "item").rows() == [
        ("mine-7", "gsm8k", "test/0"),
        ("mine-7", "mgsm", "en/0"),
        ("f.json:3", "gsm8k", "test/0"),
        ("f.json:3", "mgsm", "en/0"),
    ]
    records = {r.name: r for r in leaks.records(lines, contamination.Settings())}
    assert set(records) == {one.name for one in benchmarks.load_items("")}
    assert (records["gsm8k"].items, records["gsm8k"].hit, records["gsm8k"].rows_hit) == (10, 1, 2)
    assert (records["mmlu"].hit, records["mmlu"].rows_hit, records["mmlu"].embedded) == (0, 0, True)
    groups = leaks.groups(lines, contamination.Settings())
    english = groups.row(by_predicate=(pl.col("benchmark") == "mgsm") & (pl.col("group") == "en"), named=True)
    assert {n: v for n, v in english.items() if v} == {
        "benchmark": "mgsm",
        "group": "en",
        "items": 2,
        "hit": 1,
        "rows_hit": 2,
        "rows_answered": 1,
    }
    assert groups["items"].sum() == sum(len(one.items) for one in benchmarks.load_items(""))


def _line(item: str, kind: str, row: int, benchmark: str = "gsm8k") -> dict[str, Any]:
    return {"row_id": f"f:{row}", "file": "f", "row": row, "benchmark": benchmark, "item": item, "kind": kind,
            "answer": False}  # fmt: skip


def test_each_item_and_each_row_is_counted_once() -> None:
    lines = pl.DataFrame(
        [
            _line("test/0", "rewritten", 1),
            _line("test/0", "edited", 2),
            _line("test/1", "variant", 2),
            _line("test/1", "rewritten", 3),
            _line("test/2", "variant", 3),
            _line("test/3", "variant", 4),
            _line("en/0", "verbatim", 4, "mgsm"),
        ]
    )
    records = {r.name: r for r in leaks.records(lines, contamination.Settings())}
    gsm = records["gsm8k"]
    assert (gsm.hit, gsm.suspected, gsm.variants) == (1, 1, 2)
    assert (gsm.rows_hit, gsm.rows_suspected, gsm.rows_variants) == (1, 2, 1)
    assert gsm.groups == []
    assert (gsm.share, gsm.interval[0] < 0.1 < gsm.interval[1]) == (0.1, True)
    (english,) = (g for g in records["mgsm"].groups if g.name == "en")
    assert (english.hit, english.rows_hit, records["mgsm"].rows_hit) == (1, 1, 1)
    assert leaks.hits(lines)["item"].to_list() == ["test/0", "en/0"]


def test_no_rows_and_rows_without_messages() -> None:
    assert measure([]).height == 0
    assert leaks.table(measure([]), LIMITS).height == 0
    assert measure([[], [GSM], []])["contamination_max"].to_list() == [0.0, 1.0, 0.0]


def test_the_limit_alone_decides() -> None:
    rows = measure([[GSM.replace("baker", "confectioner").replace("afternoon", "late"), "33"]])
    at = rows["contamination_max"][0]
    verdict = rows.select(
        a=contamination.verdict(contamination.Limits(coverage=at)),
        b=contamination.verdict(contamination.Limits(coverage=at + 0.01)),
    )
    assert verdict.row(0) == ("contaminated", None)


# hostile text


def test_unusual_text_is_read_like_any_other(items: Callable[..., str]) -> None:
    question = "Wie viele Brötchen ﬁndet der Müller\u00a0morgens auf dem nördlichen Fensterbrett seiner Mühle?"
    choice = items(question, "broken \ud800 surrogate in the middle of an item that is long enough to check")
    decomposed = (
        "WIE VIELE BRO\u0308TCHEN FINDET DER MU\u0308LLER MORGENS AUF DEM NO\u0308RDLICHEN FENSTERBRETT SEINER "
        "MU\u0308HLE"
    )
    ((kind, coverage),) = found([decomposed, "\0" * 50], choice).values()
    assert (kind, coverage) == ("verbatim", 1.0)
    assert contamination.fingerprint(contamination.Settings(benchmarks=choice))


def test_a_script_without_spaces(items: Callable[..., str]) -> None:
    question = "面包师装满了六个烤盘,每个烤盘放十八个面包卷,中午之前卖掉了七十五个,还剩下多少个?"
    choice = items(question)
    assert next(iter(found([f"请帮我算一下:{question}谢谢", ""], choice).values()))[0] == "verbatim"
    assert found(["今天的天气很好,我们一起去公园散步吧", ""], choice) == {}


# the same, whatever the batch


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_row_measures_the_same_alone_and_in_any_batch(data: st.DataObject) -> None:
    pool = [i.question for one in benchmarks.load_items("") for i in one.items][::7]
    words = st.lists(st.sampled_from([*FILLER.split(), "…", "😀", "\n"]), max_size=30).map(" ".join)
    cut = st.sampled_from(pool).flatmap(lambda q: st.integers(0, len(q)).map(lambda n: q[: n + 40]))
    rows = data.draw(st.lists(st.lists(st.one_of(words, cut), max_size=4), min_size=1, max_size=6))
    together = measure(rows)["contamination"].to_list()
    assert together == [measure([row])["contamination"].to_list()[0] for row in rows]
    order = data.draw(st.permutations(range(len(rows))))
    assert measure([rows[n] for n in order])["contamination"].to_list() == [together[n] for n in order]


def test_what_is_found_of_one_benchmark_does_not_depend_on_the_others(items: Callable[..., str]) -> None:
    mine = items(GSM, "Another question that has nothing at all to do with rolls or with any baker of bread.")
    alone = found([GSM, ""], f"mine={mine}")
    beside = found([GSM, ""], f"mine={mine},other={items(*[f'{GSM} {n}' for n in range(9)])}")
    assert {k: v for k, v in beside.items() if k.startswith("mine ")} == alone


# which benchmarks


def test_the_fingerprint_follows_the_items_and_not_the_path(items: Callable[..., str]) -> None:
    one, two, other = (items({"id": "1", "question": q}) for q in ("a b c d e f", "a b c d e f", "a b c d e g"))
    prints = [contamination.fingerprint(contamination.Settings(benchmarks=f"x={path}")) for path in (one, two, other)]
    assert prints[0] == prints[1] != prints[2]


def test_without_a_choice_the_embedded_samples_stand_in_and_it_is_said() -> None:
    assert all(one.embedded for one in benchmarks.load_items(""))
    (note,) = benchmarks.notes("")
    assert "embedded samples" in note


def test_a_folder_of_benchmarks_names_what_it_ignores(tmp_path: Path) -> None:
    for name in ("gsm8k", "logs", "mmlu_git2020"):
        (tmp_path / name).mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text(json.dumps({"question": GSM, "answer": "#### 33"}), encoding="utf-8")
    (loaded,) = benchmarks.load_items(str(tmp_path))
    assert (loaded.name, loaded.embedded, len(loaded.items)) == ("gsm8k", False, 1)
    (note,) = benchmarks.notes(str(tmp_path))
    assert note.endswith("ignored: logs, mmlu_git2020")
    assert [one.name for one in benchmarks.load_items(str(tmp_path / "gsm8k"))] == ["gsm8k"]


def test_paths_under_names(items: Callable[..., str], tmp_path: Path) -> None:
    mine = items("a b c d e f g h")
    (tmp_path / "held").mkdir()
    (tmp_path / "held/test.jsonl").write_text(json.dumps({"question": GSM, "answer": "#### 33"}), encoding="utf-8")
    loaded = benchmarks.load_items(f"mine={mine}, gsm8k={tmp_path / 'held'}")
    assert [(one.name, one.plugin) for one in loaded] == [("gsm8k", "gsm8k"), ("mine", "jsonl")]


@pytest.mark.parametrize(
    ("choice", "says", "fix"),
    [
        ("gsm9k", "neither a folder, nor a file, nor a benchmark", "did you mean 'gsm8k'"),
        ("x=/no/such/place", "no such file or folder", "NAME="),
        ("toxigen", "not on the hub", "toxigen=PATH"),
        ("gsm8k,gsm8k", "named twice", "once"),
        ("=/tmp", "no name before =", "NAME=PATH"),
        (__file__, "not JSON Lines", "jsonl"),
    ],
)
def test_a_choice_that_cannot_be(choice: str, says: str, fix: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        benchmarks.load_items(choice)
    assert fix in caught.value.fix


def test_a_folder_without_benchmarks_and_a_file_without_items(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no benchmark in this folder"):
        benchmarks.load_items(str(tmp_path))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="has no items"):
        benchmarks.load_items(str(tmp_path / "empty.jsonl"))


# real files


def _dolly(folder: Path) -> list[list[str]]:
    rows = [r for path in sorted((folder / "dolly").glob("partition_*.json")) for r in json.loads(path.read_text())]
    return [[f"{r['instruction']}\n\n{r['context']}", r["response"]] for r in rows]


@pytest.mark.real
def test_the_training_set_of_gsm8k_is_no_leak(real_data: Path) -> None:
    lines = (real_data / "flan/cot/gsm8k_train.tsv").read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t")[:2] for line in lines if line]
    flagged = measure(rows, str(real_data / "benchmarks"))["contamination_max"] >= LIMITS.coverage
    assert len(rows) == 7473
    assert flagged.sum() <= 5  # the same story with other numbers: three rows of two test problems


@pytest.mark.real
def test_clean_rows(real_data: Path) -> None:
    for rows in (
        _dolly(real_data),
        [
            [f"{r['instruction']}\n\n{r['input']}", r["output"]]
            for r in json.loads((real_data / "alpaca/alpagasus_random_9k.json").read_text())
        ],
    ):
        flagged = measure(rows, str(real_data / "benchmarks"))["contamination_max"] >= LIMITS.coverage
        assert flagged.mean() < 0.005  # type: ignore[operator]


@pytest.mark.real
def test_mmlu_in_super_natural_instructions(real_data: Path) -> None:
    """Three of its tasks are made of MMLU questions, test items among them."""
    rows = [
        [f"{task['Definition'][0]}\n\n{instance['input']}", instance["output"][0]]
        for path in sorted((real_data / "flan/super_ni/tasks").glob("task69*_mmmlu_*.json"))
        for task in [json.loads(path.read_text())]
        for instance in task["Instances"]
    ]
    lines = leaks.table(measure(rows, str(real_data / "benchmarks")), LIMITS)
    assert lines.filter(pl.col("benchmark") == "mmlu", pl.col("kind") == "verbatim")["item"].n_unique() > 300


@pytest.mark.real
@pytest.mark.parametrize(("rate", "least"), [(0.0, 0.99), (0.05, 0.85)])
def test_recall_of_planted_items(rate: float, least: float, real_data: Path) -> None:
    """A hundred items of each benchmark, checked ones, whole or with words left out, changed or added."""
    choice = str(real_data / "benchmarks")
    dice = random.Random(7)
    filler = [row[1] for row in _dolly(real_data)[:2000]]
    short = set(
        leaks.items(contamination.Settings(benchmarks=choice)).filter("too_short").select("benchmark", "item").rows()
    )
    for loaded in benchmarks.load_items(choice):
        some = dice.sample([item for item in loaded.items if (loaded.name, item.id) not in short], 100)
        rows = []
        for item in some:
            words = item.question.split(" ")
            for n in range(len(words)):
                if dice.random() < rate:
                    words[n] = dice.choice(["", "rather", f"{words[n]} also"])
            rows.append([f"{dice.choice(filler)}\n\n{' '.join(words)}\n\n{dice.choice(filler)}", dice.choice(filler)])
        lines = leaks.hits(leaks.table(measure(rows, choice), LIMITS)).select("row", "benchmark", "item").rows()
        hit = [(n, loaded.name, item.id) in lines for n, item in enumerate(some, 1)]
        assert sum(hit) >= least * len(hit), loaded.name
