"""Surprises in real files, end to end: golden numbers were counted with no code of this package, others are here."""

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import polars as pl
import pytest

from caravan.curate.build import MixResult, build_mix
from caravan.curate.check import contamination_check
from caravan.curate.dedup import dedup
from caravan.curate.filters.duplicates import Key
from caravan.curate.gather import Gathered
from caravan.curate.recipe import Recipe
from caravan.curate.single import gather_data, measure
from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.plugins import load

pytestmark = pytest.mark.real

NO_INPUT = re.compile(
    r"\W*(no ?input|noinput|none|n/?a|nil|null|empty|not applicable|no input (required|needed|provided))\W*",
    re.IGNORECASE,
)


def raw_rows(path: Path) -> list[Any]:
    text = path.read_bytes().decode()
    found: list[Any] = json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.split("\n") if x]
    return found


def examples(gathered: Gathered) -> Iterator[tuple[int, list[tuple[str, str]], dict[str, str], dict[str, Any]]]:
    """Row number, turns, text by name of the raw field, tags."""
    for messages, origin, tags in gathered.rows.select("messages", "provenance", "tags").iter_rows():
        fields = {f["name"]: messages[f["message"]]["content"][f["start"] : f["end"]] for f in origin["fields"]}
        yield origin["row"], [(m["role"], m["content"]) for m in messages], fields, json.loads(tags)


def built(source: str, path: Path, **keys: Any) -> MixResult:
    table = {"sources": {source: {"paths": [str(path)], **keys}}, "use": []}
    return build_mix(Recipe.model_validate(table), out=None)


def foreign(text: str) -> bool:
    return any(c > "\u007f" for c in text)


def padded(text: str) -> bool:
    return text != text.strip()


# --- alpaca and its relatives


@pytest.mark.parametrize(
    ("name", "rows", "empty", "no_input"),
    [
        ("alpagasus_random_9k", 9229, 5563, 131),
        ("codealpaca_new", 4535, 955, 0),
        ("code_alpaca_2k", 2017, 1011, 1),
        ("gpteacher_roleplay", 1923, 1480, 0),
        ("llamafactory_alpaca_en_demo", 999, 587, 8),
        ("alpaca_cot_aqua_train", 2728, 2728, 0),
        ("alpaca_cot_strategyqa_train", 2061, 2061, 0),
        ("alpaca_cot_qasc_train", 1084, 1084, 0),
    ],
)
def test_alpaca_rows_reach_the_table_as_they_are(
    real_data: Path, name: str, rows: int, empty: int, no_input: int
) -> None:
    path = real_data / "alpaca" / f"{name}.json"
    raw = raw_rows(path)
    missing = [n for n, row in enumerate(raw, 1) if NO_INPUT.fullmatch(row["input"].strip())]
    assert (len(raw), sum(row["input"] == "" for row in raw), len(missing)) == (rows, empty, no_input)
    gathered, guesses = gather_data(path)
    (guessed,) = guesses.values()
    assert guessed.converter == ("alpaca_cot" if "cot" in name else "alpaca")
    seen = set()
    for number, turns, fields, tags in examples(gathered):
        row = raw[number - 1]
        given = row["input"] if row["input"].strip() and number not in missing else ""
        asked = "\n\n".join(part for part in (row["instruction"], given) if part)
        answer = row["output"] if "output" in row else row["response"]
        assert turns == [("user", normalize("NFC", asked)), ("assistant", normalize("NFC", answer))]
        assert ("input" in fields) == bool(given)
        assert ("no_input" in tags) == (number in missing)
        seen.add(number)
    refused = dict(gathered.refused().select("row", "code").iter_rows())
    assert seen | set(refused) == set(range(1, rows + 1))
    assert all(not r["output"].strip() or refused[n] == "no_output_marker" for n in refused for r in [raw[n - 1]])


def test_odd_characters_of_alpaca_survive(real_data: Path) -> None:
    folder = real_data / "alpaca"
    texts = {
        name: [[text for _, text in turns] for _, turns, _, _ in examples(gather_data(folder / f"{name}.json")[0])]
        for name in ("alpagasus_random_9k", "codealpaca_new")
    }
    assert sum("\r" in "".join(row) for row in texts["codealpaca_new"]) == 1
    control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
    assert sum(bool(control.search("".join(row))) for row in texts["alpagasus_random_9k"]) == 1
    raw = raw_rows(folder / "alpagasus_random_9k.json")
    assert sum(bool(row["input"]) and row["input"] in row["instruction"] for row in raw) == 71  # said twice, kept twice


def test_both_languages_of_a_row_and_its_score(real_data: Path) -> None:
    gathered, _ = gather_data(real_data / "alpaca" / "alpaca_chinese_part_18.json")
    made = list(examples(gathered))
    scores = Counter(tags["metadata"]["score"] for _, _, _, tags in made)
    assert scores == {5: 1602, 4: 256, 3: 68, 1: 40, 2: 34}
    languages = Counter(tags["language_prefix"] for *_, tags in made)
    assert languages == {"en": 1000, "zh": 1000}
    assert sum(not any(f.endswith("input") for f in fields) for _, _, fields, _ in made) >= 2 * 584


# --- duplicates


@pytest.mark.parametrize(
    ("file", "key", "rows", "exact"),
    [
        ("alpaca/llamafactory_alpaca_en_demo.json", "conversation", 999, 14),
        ("alpaca/alpagasus_random_9k.json", "conversation", 9211, 0),
        ("flan/cot/strategyqa_train.tsv", "conversation", 2061, 1),
        ("flan/t0_p3/common_gen_Given_concepts_type_1.jsonl", "conversation", 200, 0),
        ("flan/t0_p3/common_gen_Given_concepts_type_1.jsonl", "prompt", 200, 133),
        ("flan/t0_p3/cosmos_qa_context_answer_to_question.jsonl", "prompt", 200, 1),
        ("dolly/alpagasus_dolly_3k.json", "conversation", 2996, 2),
        ("dolly/alpagasus_dolly_3k.json", "prompt", 2996, 15),
        ("messages/llamafactory_v1_sft_demo.jsonl", "conversation", 500, 1),
    ],
)
def test_repeated_rows_go_and_no_other(real_data: Path, file: str, key: Key, rows: int, exact: int) -> None:
    found = dedup(real_data / file, key=key)
    assert (found.rows, Counter(found.pairs["reason"])["exact_duplicate"]) == (rows, exact)


def test_tool_calls_of_one_template_are_not_one_row(real_data: Path) -> None:
    path = real_data / "sharegpt" / "glaive_toolcall_en_demo.json"
    raw = raw_rows(path)
    assert len(raw) - len({json.dumps(row["conversations"]) for row in raw}) == 38
    found = dedup(path)
    assert 300 - 38 - 5 <= found.kept.height <= 300 - 38  # at most a handful are alike beyond the identical ones
    kept = Counter(json.dumps(messages) for messages in found.kept["messages"].to_list())
    assert set(kept.values()) == {1}


# --- FLAN


COT = {"aqua": 2728, "ecqa": 7112, "gsm8k": 7473, "qasc": 1084, "sensemaking": 6070, "strategyqa": 2061}


def test_rationales_of_a_folder(real_data: Path) -> None:
    gathered, guesses = gather_data(real_data / "flan" / "cot")
    assert {guess.converter for guess in guesses.values()} == {"flan"}
    assert {Path(f.task.input.name).stem.removesuffix("_train"): f.examples for f in gathered.files} == COT
    assert sum(f.rejected + f.quarantined for f in gathered.files) == 0
    files = [Path(name).stem for name in gathered.rows["provenance"].struct.field("file")]
    answers, separators, quotes = defaultdict[str, set[str]](set), Counter[str](), 0
    for file, (_, turns, fields, _) in zip(files, examples(gathered), strict=True):
        name = file.removesuffix("_train")
        answers[name].add(fields["answer"])
        separators[name] += sum("\u2028" in text for _, text in turns)
        if name == "strategyqa":
            quotes += sum(cell.startswith('"') for cell in fields.values())
    found = {name: len(distinct) for name, distinct in answers.items()}
    assert found == {"aqua": 5, "sensemaking": 2, "strategyqa": 2, "qasc": 8, "ecqa": 3981, "gsm8k": 866}
    raw = (real_data / "flan/cot/gsm8k_train.tsv").read_bytes().decode()
    assert len(raw.splitlines()) == 7475  # what a reader by lines would make of two U+2028
    assert separators["gsm8k"] >= 1
    assert raw.count("\u2028") == 2
    assert quotes == 8


def test_a_table_that_is_no_instruction_set_is_refused(real_data: Path) -> None:
    with pytest.raises(UserError, match="no converter fits"):
        gather_data(real_data / "flan" / "flan_collection_info.csv")


def test_prompts_and_completions_of_a_folder(real_data: Path) -> None:
    gathered, _ = gather_data(real_data / "flan" / "t0_p3")
    assert [f.quarantined for f in gathered.files if f.rows != 200] == [1]  # the file of no bytes
    made = list(examples(gathered))
    assert len(made) == 1600
    assert not any("<|endoftext|>" in turns[1][1] or turns[0][1].endswith("\n") for _, turns, _, _ in made)
    files = [Path(name).stem for name in gathered.rows["provenance"].struct.field("file")]
    marks = Counter(file for file, (_, turns, _, _) in zip(files, made, strict=True) if "\\n" in turns[0][1])
    assert marks["ag_news_classify"] == 2
    abroad = Counter(
        file for file, (_, turns, _, _) in zip(files, made, strict=True) if foreign("".join(t for _, t in turns))
    )
    assert {file.split("_")[0]: n for file, n in abroad.items() if n >= 5} == {
        "wiki": 133, "adversarial": 66, "duorc": 41, "glue": 5,
    }  # fmt: skip


def test_tasks_of_a_folder(real_data: Path) -> None:
    folder = real_data / "flan" / "super_ni" / "tasks"
    gathered, _ = gather_data(folder)
    assert len(gathered.files) == 51
    assert sum(f.rejected + f.quarantined for f in gathered.files) == 0
    assert gathered.rows.height == 50_913
    assert gathered.rows["id"].n_unique() == 50_913
    several, abroad, outer, pairs = Counter[str](), 0, 0, Counter[tuple[str, ...]]()
    seen = set()
    for _, turns, fields, tags in examples(gathered):
        several[tags["task"]] += tags["references"] > 1
        asked = fields["input"]
        abroad += foreign(asked + turns[1][1])
        outer += padded(asked) or padded(turns[1][1])
        if tags["task"] not in seen:
            seen.add(tags["task"])
            pairs[(*tags["Input_language"], *tags["Output_language"])] += 1
    assert {task: n for task, n in several.items() if n} == {
        "task394": 991, "task927": 493, "task393": 98, "task1319": 16, "task278": 4, "task275": 1,
    }  # fmt: skip
    assert pairs["English", "English"] == 42
    assert pairs["Urdu", "Marathi"] == pairs["Galician", "Japanese"] == pairs["Persian", "Persian"] == 1
    # of all references, 18,778 instances hold other characters than ASCII, 1,194 outer white space
    assert 0 < abroad <= 18_778
    assert 0 < outer <= 1_194


@pytest.mark.parametrize("name", ["task393_plausible_result_generation", "task1319_country_by_barcode_prefix"])
def test_every_reference_on_request(real_data: Path, name: str) -> None:
    path = real_data / "flan" / "super_ni" / "tasks" / f"{name}.json"
    outputs = [one["output"] for one in json.loads(path.read_bytes())["Instances"]]
    result = built("flan", path, options={"references": "all", "shots": 2})
    assert result.mix.height == sum(map(len, outputs)) > len(outputs)
    assert Counter(m[1]["content"] for m in result.mix["messages"]) == Counter(
        normalize("NFC", text) for one in outputs for text in one
    )
    assert all(m[0]["content"].count("Output:") >= 3 for m in result.mix["messages"])


def test_a_task_that_says_english_and_is_finnish(real_data: Path) -> None:
    found = measure(real_data / "flan" / "super_ni_fi", filters=["language"]).frame
    assert Counter(found["language"]) == {"fi": 142}
    early, _ = gather_data(real_data / "flan" / "super_ni_early")
    assert early.rows.height == 228
    assert early.rows["provenance"].struct.field("own_id").null_count() == 228
    assert early.rows["id"].n_unique() == 228


# --- ShareGPT


def test_the_file_that_breaks_off(real_data: Path) -> None:
    path = real_data / "sharegpt" / "ShareGPT_V3_unfiltered_cleaned_split.json"
    gathered, _ = gather_data(path)
    (file,) = gathered.files
    assert (file.rows, file.cited + file.rejected, file.quarantined) == (17_672, 17_671, 1)
    assert gathered.rows.height == file.examples == 9_435
    tail = gathered.refused().filter(fate="quarantined").row(0, named=True)
    assert tail["row"] == 17_672
    assert 1_900 <= len(tail["raw"]) <= 2_987  # its first 2,000 characters at least
    cited = {row for rows in gathered.rows["provenance"].struct.field("rows").to_list() for row in rows}
    refused = gathered.refused().filter(fate="rejected")
    whole = {row for rows in refused["rows"].to_list() for row in rows}
    assert cited | whole >= set(range(1, 17_672))
    assert refused.filter(code="empty_conversation").height == 126
    ids = gathered.rows["provenance"].struct.field("own_id").to_list()
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("name", "rows", "examples", "quarantined"),
    [
        ("sharegpt_zh_1K.json", 1000, 999, 0),  # JSON Lines, whatever it is called
        ("pyfade_system_10.json", 10, 10, 0),
        ("fastchat_dummy_conversation.json", 500, 500, 0),  # ids like those of chunks, and are none
        ("dialogstudio_original_example.json", 5, 4, 0),  # two of its rows are chunks of one dialogue
        ("glaive_toolcall_en_demo.json", 300, 300, 0),
    ],
)
def test_other_sharegpt_files(real_data: Path, name: str, rows: int, examples: int, quarantined: int) -> None:
    gathered, guesses = gather_data(real_data / "sharegpt" / name)
    assert [guess.converter for guess in guesses.values()] == ["sharegpt"]
    (file,) = gathered.files
    assert (file.rows, file.examples, file.quarantined) == (rows, examples, quarantined)
    assert file.cited + file.rejected == rows


# --- Open-Assistant


def test_trees_in_three_forms_give_the_same_threads(real_data: Path) -> None:
    tables = []
    for name in ("en_100_tree.jsonl", "en_100_tree.jsonl.gz", "en_100_message.jsonl"):
        gathered, _ = gather_data(real_data / "oasst" / name)
        tables.append([(row, turns) for row, turns, _, _ in examples(gathered)])
        assert len(tables[-1]) == 95
    assert tables[0] == tables[1] == tables[2]
    packed = gzip.decompress((real_data / "oasst" / "en_100_tree.jsonl.gz").read_bytes()).decode()
    nodes: list[Any] = [json.loads(line)["prompt"] for line in packed.split("\n") if line]
    ids = []
    while nodes:
        node = nodes.pop()
        ids.append(node["message_id"])
        nodes += node["replies"]
    assert len(ids) == len(set(ids)) == 1167


def test_flat_messages_of_a_language_and_the_questions_nobody_answered(real_data: Path) -> None:
    path = real_data / "oasst" / "en_validation_messages.jsonl"
    raw = {row["message_id"]: row for row in raw_rows(path)}
    assert sum(row["parent_id"] not in {None, *raw} for row in raw.values()) == 3
    gathered, _ = gather_data(path)
    (file,) = gathered.files
    assert (file.rows, file.cited + file.rejected, file.examples) == (2022, 2022, 188)
    assert file.codes["orphan"] >= 3
    assert file.codes["deleted"] == 40
    for _, turns, _, _ in examples(gathered):
        assert [role for role, _ in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert built("oasst", path, options={"policy": "all_assistant"}).mix.height == 1185


def test_roles_in_french(real_data: Path) -> None:
    path = real_data / "oasst" / "vigogne_fr_1k.jsonl"
    assert Counter(gather_data(path)[0].refused()["code"]) == {"unknown_role:UTILISATEUR": 1183}
    result = built("messages", path, roles={"UTILISATEUR": "user"})
    assert result.mix.height == 1183
    first = Counter(messages[0]["content"] for messages in result.mix["messages"])
    assert 1183 - len(first) == 920


# --- seeds, Dolly, messages, LIMA


def test_seeds(real_data: Path) -> None:
    folder = real_data / "self_instruct"
    counts = {}
    for name in ("seed_tasks", "user_oriented_instructions", "gpteacher_code_seed_tasks"):
        gathered, guesses = gather_data(folder / f"{name}.jsonl")
        assert [guess.converter for guess in guesses.values()] == ["self_instruct"]
        made = list(examples(gathered))
        blank = sum("input" not in fields for _, _, fields, _ in made)
        counts[name] = (len(made), blank, sum(tags.get("is_classification") is True for *_, tags in made))
    assert counts["seed_tasks"] == (175, 50, 26)
    assert counts["user_oriented_instructions"][:2] == (252, 44)
    assert counts["gpteacher_code_seed_tasks"][:2] == (21, 11)


def test_dolly_in_two_dialects(real_data: Path) -> None:
    gathered, guesses = gather_data(real_data / "dolly" / "alpagasus_dolly_3k.json")
    assert [guess.converter for guess in guesses.values()] == ["dolly"]
    made = list(examples(gathered))
    assert Counter(tags["category"] for *_, tags in made) == {
        "open_qa": 943, "classification": 641, "general_qa": 483, "brainstorming": 386,
        "information_extraction": 176, "closed_qa": 147, "summarization": 111, "creative_writing": 109,
    }  # fmt: skip
    assert sum("input" not in fields for _, _, fields, _ in made) == 2562
    assert not any(re.search(r"\w\[\d+\]", text) for _, turns, _, _ in made for _, text in turns)
    parts, _ = gather_data(str(real_data / "dolly" / "[pg]*.json"))
    assert (len(parts.files), parts.rows.height) == (11, 15_011)


def test_messages_in_their_variants(real_data: Path) -> None:
    folder = real_data / "messages"
    chats = list(examples(gather_data(folder / "open_instruct_sft_sample.jsonl")[0]))
    assert Counter(len(turns) for _, turns, _, _ in chats) == {2: 66, 4: 34}
    assert sum(foreign("".join(text for _, text in turns)) for _, turns, _, _ in chats) == 75
    assert {tags["source"] for *_, tags in chats} == {"ai2-adapt-dev/oasst1_converted"}

    demo = list(examples(gather_data(folder / "llamafactory_v1_sft_demo.jsonl")[0]))
    assert sum(any("{{" in text for _, text in turns) for _, turns, _, _ in demo) == 50
    assert all(tags["weights"] == [0, 1] for *_, tags in demo)
    tools = list(examples(gather_data(folder / "llamafactory_reason_tool_use_50.jsonl")[0]))
    assert sum(len(turns) for _, turns, _, _ in tools) == 274
    assert all("tools" in tags for *_, tags in tools)


def test_lima_keeps_its_white_space_and_its_longest_answer(real_data: Path) -> None:
    gathered, guesses = gather_data(real_data / "messages" / "lima_llamafactory.json")
    assert [guess.converter for guess in guesses.values()] in (["lima"], ["alpaca"])
    made = list(examples(gathered))
    assert len(made) == 1029
    assert max(len(turns[-1][1]) for _, turns, _, _ in made) == 17_742
    assert sum(any(padded(text) for text in (turns[-2][1], turns[-1][1])) for _, turns, _, _ in made) == 325


# --- items of benchmarks


def items(real_data: Path, name: str) -> list[Item]:
    return list(load("benchmarks", name).items(real_data / "benchmarks" / name))


def extra(values: Sequence[object]) -> int:
    return len(values) - len(set(values))


def test_mmlu_cell_by_cell(real_data: Path) -> None:
    rows = []
    for path in sorted((real_data / "benchmarks/mmlu/test").glob("*_test.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += [(path.stem.removesuffix("_test"), *cells) for cells in csv.reader(file)]
    assert Counter(row[6] for row in rows) == {"A": 3222, "B": 3462, "C": 3582, "D": 3776}
    found = items(real_data, "mmlu")
    assert [(i.group, i.question, *i.choices, i.answer) for i in found] == [
        (subject, question, *options, options["ABCD".index(letter)]) for subject, question, *options, letter in rows
    ]
    number = re.compile(r"-?\d+(\.\d+)?")
    numeric = [sum(bool(number.fullmatch(c.strip())) for c in i.choices) for i in found]
    assert (sum(n > 0 for n in numeric), sum(n == 4 for n in numeric)) == (651, 479)
    assert extra([(i.group, i.question) for i in found]) == 85
    assert extra([(i.question, i.choices) for i in found]) == 105
    assert sum(foreign("".join((i.question, *i.choices))) for i in found) == 1821


def test_bbh_targets_as_they_are(real_data: Path) -> None:
    found = items(real_data, "bbh")
    letters = [i for i in found if re.fullmatch(r"\([A-Z]\)", i.answer)]
    tasks = {i.group for i in letters}
    assert (len(letters), len(tasks)) == (4071, 17)
    assert Counter(i.group for i in found if i.group in tasks and i not in letters) == {
        "movie_recommendation": 1,
        "ruin_names": 2,
    }
    by_task = defaultdict[str, list[Item]](list)
    for item in found:
        by_task[item.group].append(item)
    assert {t: n for t, i in by_task.items() if (n := extra([x.question for x in i]))} == {
        "causal_judgement": 2,
        "sports_understanding": 2,
    }
    assert extra([(x.question, x.answer) for x in by_task["causal_judgement"]]) == 0
    assert by_task["snarks"][88].question.endswith("Options:\n(A) The NB")


def test_tydiqa_texts_as_they_are(real_data: Path) -> None:
    raw = {}
    for path in (real_data / "benchmarks/tydiqa").glob("*_dev.json"):
        for entry in json.loads(path.read_bytes())["data"]:
            for paragraph in entry["paragraphs"]:
                for qa in paragraph["qas"]:
                    raw[qa["id"]] = (qa["question"], paragraph["context"], [a["text"] for a in qa["answers"]])
    assert len(raw) == 5077
    found = items(real_data, "tydiqa")
    assert {i.id: (i.question, i.passage, i.answer) for i in found} == {
        name: (question, context, answers[0]) for name, (question, context, answers) in raw.items()
    }
    assert sum(len(answers) == 2 for *_, answers in raw.values()) == 699 + 80 + 246 + 527 + 393 + 172 + 632 + 324 + 604
    outer = Counter(name.split("-")[0] for name, (*_, answers) in raw.items() for text in answers if padded(text))
    assert outer == {"russian": 2}
    contexts = Counter(group for group, passage in {(i.group, i.passage) for i in found} if padded(passage))
    assert {name: contexts[name] for name in ("arabic", "russian", "finnish")} == {
        "arabic": 391, "russian": 234, "finnish": 255,
    }  # fmt: skip


def test_instructions_keep_their_white_space(real_data: Path) -> None:
    alpaca, ifeval = (items(real_data, name) for name in ("alpaca_eval", "ifeval"))
    assert extra([i.question for i in alpaca]) == 0
    assert sum(padded(i.question) for i in alpaca) == 5
    assert sum(foreign(i.question) for i in alpaca) == 34
    assert sum(padded(i.question) for i in ifeval) == 4
    keys = [int(i.id) for i in ifeval]
    assert (min(keys), max(keys), len(set(keys))) == (13, 3757, 541)


def test_numbers_of_grade_school_problems(real_data: Path) -> None:
    gsm8k, mgsm = items(real_data, "gsm8k"), items(real_data, "mgsm")
    assert all(re.fullmatch(r"-?[\d,]+", i.answer) for i in gsm8k)
    assert sum("," in i.answer for i in gsm8k) == 14
    assert sum(i.answer.startswith("-") for i in gsm8k) == 2
    assert sum(foreign(i.question) for i in gsm8k) == 60
    by_language = defaultdict[str, list[str]](list)
    for item in mgsm:
        by_language[item.group].append(item.answer)
    assert set(by_language) == {"bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"}
    assert len({tuple(answers) for answers in by_language.values()}) == 1
    assert [a for a in by_language["sw"] if "," in a] == ["2,125", "114,200", "276,000", "5,600"]


def test_truthful_answers_and_programs(real_data: Path) -> None:
    found = items(real_data, "truthfulqa")
    with (real_data / "benchmarks/truthfulqa/v1/TruthfulQA.csv").open(encoding="utf-8-sig", newline="") as file:
        raw = list(csv.DictReader(file))
    assert [(i.question, i.answer, i.group) for i in found] == [
        (r["Question"], r["Best Answer"], r["Category"]) for r in raw
    ]
    assert (len(found), len({i.group for i in found})) == (817, 38)
    programs = items(real_data, "humaneval")
    assert [i.id for i in programs] == [f"HumanEval/{n}" for n in range(164)]
    packed = gzip.decompress((real_data / "benchmarks/humaneval/HumanEval.jsonl.gz").read_bytes()).decode()
    assert [i.question for i in programs] == [json.loads(x)["prompt"] for x in packed.split("\n") if x]


def test_the_check_finds_the_test_set_and_passes_the_training_set(real_data: Path) -> None:
    choice = str(real_data / "benchmarks")
    columns = {"user": "question", "assistant": "answer"}
    check = contamination_check(real_data / "benchmarks/gsm8k/test.jsonl", choice, columns=columns)
    hit = {r.name: (r.hit, r.items, r.rows_hit) for r in check.records}
    assert hit["gsm8k"] == (1319, 1319, 1319)
    assert hit["mgsm"][:2] == (250, 2750)
    assert 250 <= hit["mgsm"][2] <= 252  # the English ones are the head of this file; a later row tells one anew
    assert check.worst == 1.0
    train = contamination_check(real_data / "benchmarks/gsm8k/train.jsonl", choice, columns=columns)
    assert train.rows == 7473
    assert not train.leaked


def test_an_item_that_stands_twice_in_a_benchmark_is_hit_twice(real_data: Path) -> None:
    twins = defaultdict[tuple[str, ...], list[str]](list)
    for item in items(real_data, "mmlu"):
        twins[item.question, *item.choices].append(item.id)
    doubled = {texts: ids for texts, ids in twins.items() if len(ids) > 1}
    frame = pl.DataFrame(
        [
            {"instruction": "\n".join([q, *(f"{x}. {o}" for x, o in zip("ABCD", options, strict=True))]), "output": "B"}
            for q, *options in doubled
        ]
    )
    check = contamination_check(frame, str(real_data / "benchmarks"))
    found = set(check.matches.filter(pl.col("coverage_item") >= 0.5, benchmark="mmlu")["item"])
    missed = [ids for ids in doubled.values() if not set(ids) & found]
    half = [ids for ids in doubled.values() if set(ids) & found and not set(ids) <= found]
    assert half == []
    assert sum(map(len, missed)) <= 2  # too short to check
