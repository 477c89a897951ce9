"""Row counts of real files, counted without this reader."""

from pathlib import Path

import pytest

from caravan.converters.schema import RawRow
from caravan.curate.input import Input
from caravan.curate.read import TextChanges, Unreadable, expand, read

pytestmark = pytest.mark.real

CUT_OFF = "sharegpt/ShareGPT_V3_unfiltered_cleaned_split.json"
EMPTY = "flan/t0_p3/trec_fine_grained_ABBR.jsonl"
ROWS = {
    "alpaca/alpagasus_random_9k.json": 9_229,
    "alpaca/codealpaca_new.json": 4_535,
    "alpaca/code_alpaca_2k.json": 2_017,
    "alpaca/gpteacher_roleplay.json": 1_923,
    "alpaca/alpaca_chinese_part_18.json": 1_000,
    "alpaca/alpaca_cot_aqua_train.json": 2_728,
    "alpaca/alpaca_cot_strategyqa_train.json": 2_061,
    "alpaca/alpaca_cot_qasc_train.json": 1_084,
    "alpaca/llamafactory_alpaca_en_demo.json": 999,
    "flan/cot/aqua_train.tsv": 2_728,
    "flan/cot/ecqa_train.tsv": 7_112,
    "flan/cot/gsm8k_train.tsv": 7_473,
    "flan/cot/qasc_train.tsv": 1_084,
    "flan/cot/sensemaking_train.tsv": 6_070,
    "flan/cot/strategyqa_train.tsv": 2_061,
    "flan/t0_p3/ag_news_classify.jsonl": 200,
    "flan/t0_p3/wiki_hop_original_explain_relation.jsonl": 200,
    "flan/t0_p3/adversarial_qa_dbert_question_context_answer.jsonl": 200,
    "flan/t0_p3/common_gen_Given_concepts_type_1.jsonl": 200,
    "flan/t0_p3/cosmos_qa_context_answer_to_question.jsonl": 200,
    "flan/t0_p3/glue_mrpc_paraphrase.jsonl": 200,
    "flan/t0_p3/wiqa_effect_with_string_answer.jsonl": 200,
    "flan/t0_p3/duorc_SelfRC_question_answering.jsonl": 200,
    "flan/t0_p3/trec_fine_grained_ABBR.jsonl": 0,
    "flan/flan_collection_info.csv": 1_945,
    "sharegpt/fastchat_dummy_conversation.json": 500,
    "sharegpt/dialogstudio_original_example.json": 5,
    "sharegpt/glaive_toolcall_en_demo.json": 300,
    "sharegpt/pyfade_system_10.json": 10,
    "sharegpt/sharegpt_zh_1K.json": 1_000,
    "dolly/alpagasus_dolly_3k.json": 2_996,
    "oasst/en_validation_messages.jsonl": 2_022,
    "oasst/en_100_tree.jsonl": 100,
    "oasst/en_100_message.jsonl": 100,
    "oasst/en_100_tree.jsonl.gz": 100,
    "oasst/backend_test_trees.jsonl": 21,
    "oasst/vigogne_fr_1k.jsonl": 1_183,
    "self_instruct/seed_tasks.jsonl": 175,
    "self_instruct/user_oriented_instructions.jsonl": 252,
    "self_instruct/gpteacher_code_seed_tasks.jsonl": 21,
    "messages/open_instruct_sft_sample.jsonl": 100,
    "messages/llamafactory_reason_tool_use_50.jsonl": 50,
    "messages/llamafactory_v1_sft_demo.jsonl": 500,
    "messages/lima_llamafactory.json": 1_029,
    "dolly/partition_0.json": 1_493,
    "dolly/partition_1.json": 1_493,
    "dolly/partition_2.json": 1_493,
    "dolly/partition_3.json": 1_492,
    "dolly/partition_4.json": 1_493,
    "dolly/partition_5.json": 1_493,
    "dolly/partition_6.json": 1_493,
    "dolly/partition_7.json": 1_493,
    "dolly/partition_8.json": 1_494,
    "dolly/partition_9.json": 1_494,
    "dolly/global_test.json": 80,
    "unnatural/uinst_valid_converted.jsonl": 1_050,
    "sharegpt/ShareGPT_V3_unfiltered_cleaned_split.json": 17_671,
    "sharegpt/v3_records_0_8000.json": 8_000,
}
INSTANCES = {
    "super_ni/tasks/task990_pib_translation_urdu_marathi.json": 1_496,
    "super_ni/tasks/task992_pib_translation_tamil_english.json": 1_496,
    "super_ni/tasks/task993_pib_translation_hindi_tamil.json": 1_496,
    "super_ni/tasks/task996_pib_translation_english_bengali.json": 1_496,
    "super_ni/tasks/task997_pib_translation_bengali_oriya.json": 486,
    "super_ni/tasks/task998_pib_translation_oriya_bengali.json": 486,
    "super_ni/tasks/task999_pib_translation_malayalam_tamil.json": 1_496,
    "super_ni/tasks/task190_snli_classification.json": 6_500,
    "super_ni/tasks/task391_causal_relationship.json": 2_283,
    "super_ni/tasks/task393_plausible_result_generation.json": 100,
    "super_ni/tasks/task394_persianqa_question_generation.json": 991,
    "super_ni/tasks/task397_semeval_2018_task1_tweet_anger_detection.json": 2_602,
    "super_ni/tasks/task398_semeval_2018_task1_tweet_joy_detection.json": 1_795,
    "super_ni/tasks/task696_mmmlu_answer_generation_elementary_mathematics.json": 194,
    "super_ni/tasks/task697_mmmlu_answer_generation_formal_logic.json": 140,
    "super_ni/tasks/task698_mmmlu_answer_generation_global_facts.json": 112,
    "super_ni/tasks/task1239_ted_translation_gl_ja.json": 6_390,
    "super_ni/tasks/task1393_superglue_copa_text_completion.json": 496,
    "super_ni/tasks/task648_answer_generation.json": 281,
    "super_ni/tasks/task957_e2e_nlg_text_generation_generate.json": 2_161,
    "super_ni/tasks/task1665_trainglecopa_question_generation.json": 100,
    "super_ni/tasks/task489_mwsc_question_generation.json": 100,
    "super_ni/tasks/task769_qed_summarization.json": 1_000,
    "super_ni/tasks/task627_xlwic_word_with_same_meaning_sentence_generation.json": 156,
    "super_ni/tasks/task1515_imppres_longtextgeneration.json": 236,
    "super_ni/tasks/task1451_drug_dose_extraction.json": 222,
    "super_ni/tasks/task874_opus_xhosanavy_sr.json": 111,
    "super_ni/tasks/task1562_zest_text_modification.json": 142,
    "super_ni/tasks/task967_ruletaker_incorrect_fact_generation_based_on_given_paragraph.json": 296,
    "super_ni/tasks/task919_coqa_incorrect_answer_generation.json": 118,
    "super_ni/tasks/task1582_bless_hypernym_generation.json": 159,
    "super_ni/tasks/task1509_evalution_antonyms.json": 551,
    "super_ni/tasks/task959_e2e_nlg_text_generation_identify.json": 102,
    "super_ni/tasks/task1448_disease_entity_extraction_ncbi_dataset.json": 151,
    "super_ni/tasks/task863_asdiv_multiop_question_answering.json": 275,
    "super_ni/tasks/task639_multi_woz_user_utterance_generation.json": 178,
    "super_ni/tasks/task964_librispeech_asr_text_auto_completion.json": 150,
    "super_ni/tasks/task096_conala_list_index_subtraction.json": 4_918,
    "super_ni/tasks/task1319_country_by_barcode_prefix.json": 101,
    "super_ni/tasks/task1318_country_national_dish.json": 163,
    "super_ni/tasks/task278_stereoset_sentence_generation_antistereotype.json": 737,
    "super_ni/tasks/task275_enhanced_wsc_paraphrase_generation.json": 1_178,
    "super_ni/tasks/task770_pawsx_english_text_modification.json": 251,
    "super_ni/tasks/task471_haspart_answer_generation.json": 3_095,
    "super_ni/tasks/task645_summarization.json": 2_000,
    "super_ni/tasks/task1713_convai3_sentence_generation.json": 182,
    "super_ni/tasks/task1572_samsum_summary.json": 200,
    "super_ni/tasks/task927_yelp_negative_to_positive_style_transfer.json": 493,
    "super_ni/tasks/task352_coda-19_classification.json": 275,
    "super_ni/tasks/task1704_ljspeech_textmodification.json": 499,
    "super_ni/tasks/task906_dialogre_identify_names.json": 277,
    "super_ni_early/task321_stereoset_classification_religion.json": 228,
    "super_ni_fi/fin-translated-task1562_zest_text_modification.json": 142,
}


def read_all(folder: Path, name: str) -> tuple[list[RawRow], list[Unreadable]]:
    items = list(read(Input(folder / name, name)))
    return [i for i in items if isinstance(i, RawRow)], [i for i in items if isinstance(i, Unreadable)]


@pytest.mark.parametrize("name", ROWS)
def test_rows(real_data: Path, name: str) -> None:
    rows, bad = read_all(real_data, name)
    assert len(rows) == ROWS[name]
    assert [r.row for r in rows] == list(range(1, len(rows) + 1))
    assert [(b.row, b.why) for b in bad] == {
        CUT_OFF: [(17_672, "the file breaks off in this record: get it whole")],
        EMPTY: [(0, "empty file: nothing to read")],
    }.get(name, [])


@pytest.mark.parametrize("name", INSTANCES)
def test_a_task_is_one_row(real_data: Path, name: str) -> None:
    rows, bad = read_all(real_data / "flan", name)
    assert bad == []
    assert len(rows) == 1
    assert isinstance(rows[0].value, dict)
    instances = rows[0].value["Instances"]
    assert isinstance(instances, list)
    assert len(instances) == INSTANCES[name]


def test_the_cut_off_file_begins_with_the_proper_list(real_data: Path) -> None:
    whole, _ = read_all(real_data, "sharegpt/v3_records_0_8000.json")
    cut, _ = read_all(real_data, CUT_OFF)
    assert cut[: len(whole)] == whole


def test_packed_and_unpacked_trees_hold_the_same_nodes(real_data: Path) -> None:
    def nodes(name: str) -> int:
        def count(node: object) -> int:
            assert isinstance(node, dict)
            return 1 + sum(map(count, node["replies"]))

        rows, _ = read_all(real_data, name)
        return sum(count(r.value["prompt"]) for r in rows if isinstance(r.value, dict))

    assert nodes("oasst/en_100_tree.jsonl") == nodes("oasst/en_100_tree.jsonl.gz") == 1167


def test_cells_of_the_rationales(real_data: Path) -> None:
    for name in ROWS:
        if name.endswith(".tsv"):
            rows, _ = read_all(real_data, name)
            assert {len(r.value) for r in rows if isinstance(r.value, list)} == {3}, name
    quoted, _ = read_all(real_data, "flan/cot/strategyqa_train.tsv")
    cells = [cell for r in quoted if isinstance(r.value, list) for cell in r.value]
    assert sum(isinstance(cell, str) and cell.startswith('"') for cell in cells) == 8


def test_a_folder_gives_all_its_files(real_data: Path) -> None:
    found = {one.path.relative_to(real_data).as_posix() for one in expand(str(real_data / "flan"))}
    assert found == {name for name in ROWS if name.startswith("flan/")} | {f"flan/{name}" for name in INSTANCES}
    changes = TextChanges()
    total = sum(isinstance(i, RawRow) for one in expand(str(real_data / "dolly/p*.json")) for i in read(one, changes))
    assert total == 15_011 - 80
