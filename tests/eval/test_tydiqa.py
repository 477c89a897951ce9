"""TyDi QA: prompts in each language, examples, passages, and the scores of the three protocols."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import tydiqa
from caravan.eval.scoring.tydiqa_files import question_of
from caravan.eval.scoring.tydiqa_words import WORDS


def flat(own_id: str, passage: str, question: str, *answers: str) -> dict[str, Any]:
    found = [{"text": a, "answer_start": passage.rindex(a) if a in passage else 0} for a in answers]
    return {"id": own_id, "context": passage, "question": question, "answers": found}


def put(path: Path, *rows: dict[str, Any]) -> Path:
    data = [{"title": "", "paragraphs": [{"context": row["context"], "qas": [row]}]} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": data}), encoding="utf-8")
    return path


MILL = flat("finnish-1-0", "Mylly paloi 1903.", "Milloin?", "1903")
BOAT = flat("finnish-2-0", "Vene on sininen.", "Mikä?", "Vene")


def only(folder: Path, variant: str = "gold") -> Problem:
    (problem,) = tydiqa.problems(folder, variant)
    return problem


def scored(problem: Problem, protocol: Rules, said: str) -> Verdict:
    return tydiqa.score(problem, [Answer(said)], Setting("gold", protocol))


# prompts


def test_the_published_prompt_to_the_letter(tmp_path: Path) -> None:
    put(tmp_path / "finnish_tydiqa_dev.json", MILL)
    put(tmp_path / "finnish_tydiqa_train.json", BOAT)
    words = "Vastaa seuraavaan kysymykseen annetun kappaleen tiedon perusteella."
    ask = tydiqa.ask(only(tmp_path), Setting("gold", "tulu"))
    assert ask.text == (
        f"{words}\n\nKappale: Vene on sininen.\nKysymys: Mikä?\nVastaus: Vene\n\n"
        "Kappale: Mylly paloi 1903.\nKysymys: Milloin?\n"
    )
    assert (ask.ending, ask.opener) == ("Vastaus:", "Vastaus:")
    assert (ask.new_tokens, ask.stop, ask.chat_stop, ask.choices) == (50, ("\n",), (), ())
    closed = tydiqa.ask(only(tmp_path, "closed-book"), Setting("closed-book", "tulu"))
    assert closed.text == ("Vastaa seuraavaan kysymykseen.\n\nKysymys: Mikä?\nVastaus: Vene\n\nKysymys: Milloin?\n")


def test_tulu_cuts_by_the_model_s_tokens_the_example_too_and_the_others_do_not(tmp_path: Path) -> None:
    put(tmp_path / "finnish_tydiqa_dev.json", MILL)
    put(tmp_path / "finnish_tydiqa_train.json", BOAT)
    asked: list[tuple[str, int]] = []

    def cut(text: str, n: int) -> str:
        asked.append((text, n))
        return text[:5]

    problem = only(tmp_path)
    text = tydiqa.ask(problem, Setting("gold", "tulu", cut)).text
    assert "Kappale: Vene \n" in text
    assert text.endswith("Kappale: Mylly\nKysymys: Milloin?\n")
    assert asked == [("Vene on sininen.", 512), ("Mylly paloi 1903.", 512)]
    for protocol in ("strict", "original"):
        assert "Mylly paloi 1903.\n" in tydiqa.ask(problem, Setting("gold", protocol, cut)).text
    assert len(asked) == 2


@given(st.integers(0, 9000), st.integers(0, 9000))
def test_strict_never_cuts_through_or_before_the_answer(before: int, after: int) -> None:
    passage = "x" * before + " 1903 " + "y" * after
    question = question_of(flat("finnish-1-0", passage, "Milloin?", "1903"), "FILE:1")
    problem = tydiqa._problem(question, ())
    shown = tydiqa.ask(problem, Setting("gold", "strict")).text.split("Kappale: ")[1].split("\n")[0]
    assert passage.startswith(shown)
    assert "1903" in shown
    assert shown == passage or len(shown) % 2000 == 0
    assert len(shown) < max(2000, before + 5) + 2000
    assert passage in tydiqa.ask(problem, Setting("gold", "original")).text


def test_the_annotated_place_counts_not_an_earlier_one(tmp_path: Path) -> None:
    passage = "7 " + "x" * 2500 + " 7 " + "y" * 3000
    put(tmp_path / "dev.json", flat("english-1-0", passage, "How many?", "7"))
    assert only(tmp_path).more == {"answer_end": 2504}


def test_each_of_the_nine_languages_has_its_words() -> None:
    nine = "arabic bengali english finnish indonesian korean russian swahili telugu"
    assert " ".join(sorted(WORDS)) == nine
    assert len({w.answer for w in WORDS.values()}) == 9
    assert all(all(part.strip() == part and part for part in words) for words in WORDS.values())
    assert all(part.endswith(":") for words in WORDS.values() for part in words[2:])


def test_another_language_is_refused_by_name_when_it_is_asked(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", flat("finish-1-0", "Mylly paloi 1903.", "Milloin?", "1903"))
    problem = only(tmp_path)
    assert scored(problem, "strict", "1903").values["f1"] == 1.0
    with pytest.raises(UserError, match=r"'finish'.*did you mean 'finnish'"):
        tydiqa.ask(problem, Setting("gold"))


# examples


def test_the_example_is_the_same_whatever_else_lies_there_and_never_of_dev(tmp_path: Path) -> None:
    train = [flat(f"finnish-{n}-0", f"Talo {n}.", "Mikä?", f"Talo {n}") for n in range(20)]
    put(tmp_path / "a/finnish_tydiqa_dev.json", MILL)
    put(tmp_path / "a/finnish_tydiqa_train.json", *train)
    put(tmp_path / "b/tydiqa-goldp-v1.1-dev.json", MILL)
    put(tmp_path / "b/tydiqa-goldp-v1.1-train.json", *reversed(train), flat("korean-1-0", "x", "y?", "x"))
    (shot,) = only(tmp_path / "a").shots
    assert only(tmp_path / "b").shots == (shot,)
    put(tmp_path / "c/dev.json", flat(shot.item.id, "Mylly paloi 1903.", "Milloin?", "1903"))
    put(tmp_path / "c/train.json", *train)
    (other,) = only(tmp_path / "c").shots
    assert other.item.id != shot.item.id


def test_the_one_shot_file_comes_first_and_a_language_without_an_example_is_asked_without(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", MILL, flat("korean-1-0", "7", "q?", "7"), flat("swahili-1-0", "7", "q?", "7"))
    put(tmp_path / "train.json", BOAT, flat("korean-2-0", "8", "p?", "8"))
    one = flat("finnish-3-0", "Silta on uusi.", "Mikä?", "Silta") | {"lang": "finnish"}
    (tmp_path / "tydiqa-one-shot.json").write_text(json.dumps({"finnish": [MILL, one, one]}))
    shots = {p.item.group: [s.item.id for s in p.shots] for p in tydiqa.problems(tmp_path, "gold")}
    assert shots == {"finnish": ["finnish-3-0"], "korean": ["korean-2-0"], "swahili": []}


def test_without_any_train_file_there_are_no_examples(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", MILL)
    assert only(tmp_path).shots == ()
    assert tydiqa.ask(only(tmp_path), Setting("gold")).text.count("Kysymys:") == 1


# problems


def test_the_hub_s_files_give_the_same_problems(tmp_path: Path) -> None:
    put(tmp_path / "json/finnish_tydiqa_dev.json", MILL)
    put(tmp_path / "json/finnish_tydiqa_train.json", BOAT)
    (tmp_path / "hub/secondary_task").mkdir(parents=True)
    for split, row in (("validation", MILL), ("train", BOAT)):
        answers = {key: [a[key] for a in row["answers"]] for key in ("text", "answer_start")}
        path = tmp_path / f"hub/secondary_task/{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist([row | {"title": "", "answers": answers}]), path)
    assert only(tmp_path / "hub") == only(tmp_path / "json")


def test_right_answers_are_all_that_differ_and_questions_about_one_passage_a_cluster(tmp_path: Path) -> None:
    put(
        tmp_path / "dev.json",
        flat("english-1-0", "May 1903.", "When?", "1903", "May 1903", "1903"),
        flat("english-2-0", "May 1903.", "Which month?", "May"),
        flat("english-3-0", "June.", "When?", "June", " "),
        flat("korean-3-0", "May 1903.", "When?", "1903"),
    )
    problems = list(tydiqa.problems(tmp_path, "gold"))
    assert [p.golds for p in problems] == [("1903", "May 1903"), ("May",), ("June",), ("1903",)]
    assert [p.cluster for p in problems] == ["english-1-0", "english-1-0", "", ""]
    assert not any(p.cluster for p in tydiqa.problems(tmp_path, "closed-book"))


def test_a_question_without_an_answer_and_a_file_without_any_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "dev.json", MILL, flat("finnish-2-0", "x", "Mikä?", ""))
    with pytest.raises(UserError, match="finnish-2-0 has no answer") as caught:
        list(tydiqa.problems(tmp_path, "gold"))
    assert caught.value.where == f"{path}:2"
    put(tmp_path / "dev.json", flat("finnish-2-0", "x", "Mikä?", ""))
    with pytest.raises(UserError, match="every answer is blank"):
        list(tydiqa.problems(tmp_path, "gold"))


# scores


@pytest.fixture
def when(tmp_path: Path) -> Problem:
    put(tmp_path / "dev.json", flat("finnish-1-0", "Mylly paloi 1,5 vuotta sitten.", "Milloin?", "1,5 vuotta"))
    return only(tmp_path)


@pytest.mark.parametrize(
    ("said", "strict", "published"),
    [
        (" 1,5 vuotta", 1.0, 1.0),
        ("15 vuotta.", 0.5, 1.0),  # the comma is deleted by SQuAD's rule
        ("1,5 vuotta\nKysymys: Missä?", 1.0, 2 / 3),  # a chat model that goes on
        ("the 1,5 vuotta", 0.8, 1.0),
        ("kauan sitten", 0.0, 0.0),
    ],
)
def test_f1_by_protocol(when: Problem, said: str, strict: float, published: float) -> None:
    assert scored(when, "strict", said).values["f1"] == pytest.approx(strict)
    for protocol in ("tulu", "original"):
        assert scored(when, protocol, said).values["f1"] == pytest.approx(published)


def test_errors_are_classes_of_their_own(when: Problem) -> None:
    for protocol in RULES:
        failed = tydiqa.score(when, [Answer("1,5", ended="failed", error="x")], Setting("gold", protocol))
        assert (failed.status, dict(failed.values)) == ("failed", {})
    assert scored(when, "strict", " \n ").status == "empty"
    assert not scored(when, "strict", "").values
    for protocol in ("tulu", "original"):
        verdict = scored(when, protocol, " ")
        assert (verdict.status, set(verdict.values.values())) == ("unextractable", {0.0})
    signs = scored(when, "strict", "...\n1,5 vuotta")
    assert (signs.status, signs.values["f1"]) == ("unextractable", 0.0)


def test_a_letter_is_the_same_composed_or_not(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", flat("korean-1-0", "한국 전쟁", "q?", "한국"))
    decomposed = "\u1112\u1161\u11ab\u1100\u116e\u11a8"
    assert scored(only(tmp_path), "strict", decomposed).values["exact_match"] == 1.0
    assert scored(only(tmp_path), "tulu", decomposed).values["exact_match"] == 0.0


def test_published_figures_are_percent_by_language(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", MILL, BOAT, flat("english-1-0", "May 1903.", "When?", "1903"))
    setting = Setting("gold", "tulu")
    said = {"finnish-1-0": "1903", "finnish-2-0": "x", "english-1-0": "1903"}
    found = tydiqa.published(
        [(p, tydiqa.score(p, [Answer(said[p.item.id])], setting)) for p in tydiqa.problems(tmp_path, "gold")]
    )
    assert found["finnish"] == {"f1": 50.0, "exact_match": 50.0, "recall": 50.0}
    assert found["average"]["f1"] == 75.0
    assert found["average without English"]["f1"] == 50.0
    assert tydiqa.published([])["average"] == {}


# stored predictions


def test_predictions_as_squad_and_as_open_instruct_store_them(tmp_path: Path) -> None:
    put(tmp_path / "dev.json", MILL, BOAT)
    problems = list(tydiqa.problems(tmp_path, "gold"))
    squad = tmp_path / "predictions.json"
    squad.write_text(json.dumps({"finnish-2-0": "Vene", "finnish-1-0": "1904", "other-1": "?"}))
    found = tydiqa.stored(squad, lambda: problems)
    assert found is not None
    assert [(r.problem.item.id, r.answers[0].text) for r in found.rows] == [
        ("finnish-1-0", "1904"),
        ("finnish-2-0", "Vene"),
    ]
    assert found.notes == ["1 predictions are for no item: not scored"]
    assert tydiqa.stored(squad, None) is None
    lines = tmp_path / "tydiaqa_predictions.jsonl"
    lines.write_text(
        "".join(json.dumps(r | {"lang": "finnish", "prediction_text": "1903"}) + "\n" for r in [MILL, BOAT])
    )
    alone = tydiqa.stored(lines, None)
    assert alone is not None
    verdicts = [tydiqa.score(r.problem, r.answers, Setting("gold", "tulu")) for r in alone.rows]
    assert [v.values["exact_match"] for v in verdicts] == [1.0, 0.0]
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"id": "finnish-1-0", "output": "1903"}\n')
    assert tydiqa.stored(plain, lambda: problems) is None
    assert tydiqa.stored(tmp_path, lambda: problems) is None


def test_the_sample_has_an_example_for_each_language() -> None:
    problems = list(tydiqa.problems(SAMPLES / "tydiqa", "gold"))
    assert [p.item for p in problems] == list(tydiqa.items(SAMPLES / "tydiqa"))
    assert all(len(p.shots) == 1 and p.shots[0].golds[0] in p.shots[0].item.passage for p in problems)


# the published files


@pytest.mark.real
def test_tydiqa_as_published_whole(real_data: Path) -> None:
    problems = list(tydiqa.problems(real_data / "benchmarks/tydiqa", "gold"))
    assert len(problems) == 5077
    assert sum(len(p.golds) > 1 for p in problems) == 777
    assert all(len(p.shots) == 1 and p.shots[0].item.group == p.item.group for p in problems)
    assert not {p.item.id for p in problems} & {s.item.id for p in problems for s in p.shots}
    clusters = Counter(p.cluster for p in problems if p.cluster)
    assert (len(clusters), clusters.total()) == (452, 1041)
    cut = [p for p in problems if p.item.passage not in tydiqa.ask(p, Setting("gold")).text]
    assert len(cut) == 30
    assert sum(p.more["answer_end"] > 2000 for p in problems) == 7
    for problem in cut:
        shown = tydiqa.ask(problem, Setting("gold")).text
        assert all(gold in shown for gold in problem.golds)


@pytest.mark.real
def test_each_right_answer_of_the_real_files_is_right_by_every_protocol(real_data: Path) -> None:
    for problem in tydiqa.problems(real_data / "benchmarks/tydiqa", "gold"):
        for protocol in RULES:
            for gold in problem.golds:
                assert scored(problem, protocol, gold).values == {"f1": 1.0, "exact_match": 1.0, "recall": 1.0}


@pytest.mark.real
def test_train_files_alone_give_examples_that_are_not_of_dev(real_data: Path, tmp_path: Path) -> None:
    for name in ("korean_tydiqa_dev", "korean_tydiqa_train", "swahili_tydiqa_dev"):
        (tmp_path / f"{name}.json").symlink_to(real_data / f"benchmarks/tydiqa/{name}.json")
    problems = list(tydiqa.problems(tmp_path, "gold"))
    assert Counter((p.item.group, len(p.shots)) for p in problems) == {("korean", 1): 276, ("swahili", 0): 499}
    assert len({s.item.id for p in problems for s in p.shots} - {p.item.id for p in problems}) == 1


@pytest.mark.real
def test_the_blanked_copy_is_refused_whole(real_data: Path) -> None:
    with pytest.raises(UserError, match="every answer is blank"):
        list(tydiqa.problems(real_data / "benchmarks/tydiqa/xtreme", "gold"))
