"""The same run for TRL, axolotl and LLaMA-Factory: it parses, holds the recipe, and says what is done otherwise."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from asked import configured, model, written
from caravan.converters.schema import Message
from caravan.terminal import Progress
from caravan.train.chat_template import template_for
from caravan.train.others import rounds_of
from caravan.train.pack import pack
from caravan.train.prepare import read_tokenizer
from caravan.train.rows import read_rows
from caravan.train.stanza import TOOLS, stanzas
from caravan.train.tokens import Tokens, tokenise
from chats import BREAD, CHATML, talk
from madeup import tokens_of

QUIET = Progress(quiet=True)
TALKS = [BREAD, talk("u:Which river?", "a:The Rhine."), talk("s:Be brief.", "u:Count.", "a:1 2 3")] * 8
RECIPE: dict[str, Any] = {
    "epochs": 3,
    "lr": 1e-5,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.05,
    "beta1": 0.8,
    "beta2": 0.95,
    "clip": 0.5,
    "seed": 7,
    "max_length": 128,
    "max_steps": 40,
    "save_every": 5,
    "keep": 3,
}


@pytest.fixture(scope="module")
def tulu(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model(tmp_path_factory.mktemp("tulu"))


def made(folder: Path, model_: str, talks: Sequence[list[Message]] = TALKS, **options: Any) -> dict[str, str]:
    config = configured(data=written(folder, talks, **options.pop("columns", {})), model=model_, **options)
    tokenizer = read_tokenizer(Path(model_))
    template = template_for(config.template, tokenizer)
    rows = read_rows(config.data, QUIET)
    tokens = tokenise(rows, tokenizer, template, config.max_length, QUIET)
    made_ = stanzas(config, rows, tokenizer, template, tokens)
    assert tuple(made_) == TOOLS
    return made_


def trl(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of SFTConfig, and the constants, of a program that compiles."""
    compile(text, "train_trl.py", "exec")
    tree = ast.parse(text)
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "SFTConfig")
    config = {key.arg or "": ast.literal_eval(key.value) for key in call.keywords}
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            value = node.value
            constants[node.targets[0].id] = set() if isinstance(value, ast.Call) else ast.literal_eval(value)
    return config, constants


def test_the_recipe_is_in_all_three(tmp_path: Path, tulu: str) -> None:
    texts = made(tmp_path, tulu, **RECIPE)
    config, _ = trl(texts["trl"])
    axolotl, factory = yaml.safe_load(texts["axolotl"]), yaml.safe_load(texts["llama-factory"])
    names = {
        "epochs": ("num_train_epochs", "num_epochs", "num_train_epochs"),
        "lr": ("learning_rate",) * 3,
        "schedule": ("lr_scheduler_type", "lr_scheduler", "lr_scheduler_type"),
        "warmup": ("warmup_steps", "warmup_ratio", "warmup_ratio"),
        "weight_decay": ("weight_decay",) * 3,
        "beta1": ("adam_beta1",) * 3,
        "beta2": ("adam_beta2",) * 3,
        "clip": ("max_grad_norm",) * 3,
        "seed": ("seed",) * 3,
        "max_length": ("max_length", "sequence_len", None),
        "max_steps": ("max_steps",) * 3,
        "save_every": ("save_steps",) * 3,
        "keep": ("save_total_limit",) * 3,
    }
    assert names.keys() == RECIPE.keys()
    for option, of_tools in names.items():
        for settings, name in zip((config, axolotl, factory), of_tools, strict=True):
            if name is not None:
                assert settings[name] == RECIPE[option], (option, name)
    assert isinstance(axolotl["learning_rate"], float)  # YAML 1.1 takes 1e-05 for a text
    assert isinstance(factory["learning_rate"], float)
    assert factory["cutoff_len"] == 129  # packing takes one off
    assert config["assistant_only_loss"] is True
    assert (config["packing"], config["packing_strategy"]) == (True, "bfd")
    assert config["model_init_kwargs"] == {"dtype": "float32", "attn_implementation": "flash_attention_2"}
    assert axolotl["sample_packing"] is True
    assert (factory["packing"], factory["neat_packing"]) == (True, True)
    assert axolotl["excess_length_strategy"] == "truncate"
    assert axolotl["datasets"][0]["path"] == str(tmp_path / "talks.parquet")
    assert axolotl["datasets"][0]["roles_to_train"] == ["assistant"]


def test_the_template_gives_the_same_tokens_and_the_same_mask(tmp_path: Path, tulu: str) -> None:
    texts = made(tmp_path, tulu)
    _, constants = trl(texts["trl"])
    tokenizer = read_tokenizer(Path(tulu))
    rows = read_rows(str(tmp_path / "talks.parquet"), QUIET)
    tokens = tokenise(rows, tokenizer, template_for("tulu", tokenizer), 2048, QUIET)
    for row in range(3):
        theirs = tokenizer.apply_chat_template(
            rows.frame["messages"][row].to_list(),
            chat_template=constants["TEMPLATE"],
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        part = slice(tokens.offsets[row], tokens.offsets[row + 1])
        assert theirs["input_ids"] == tokens.ids[part].tolist()
        assert theirs["assistant_masks"] == (tokens.turns[part] > 0).astype(int).tolist()
    assert yaml.safe_load(texts["axolotl"])["chat_template_jinja"] == constants["TEMPLATE"]
    assert json.dumps(constants["TEMPLATE"]) in texts["llama-factory"]


def test_rows_at_which_trl_would_stop_are_left_out(tmp_path: Path, tulu: str) -> None:
    texts = made(tmp_path, tulu, [*TALKS, talk("u:Hello?"), BREAD, talk("s:Only a system.")])
    _, constants = trl(texts["trl"])
    assert constants["LEFT_OUT"] == {24, 26}
    _, constants = trl(made(tmp_path, tulu)["trl"])
    assert constants["LEFT_OUT"] == set()


def test_what_others_do_otherwise_is_said_with_counts(tmp_path: Path, tulu: str) -> None:
    long = " ".join(map(str, range(60)))
    weights = json.dumps({"weights": [1, 0, 1, 1]})
    talks = [BREAD, talk("a:Hi!", "u:Hello.", "a:Yes?"), talk("u:Count.", f"a:{long}"), talk("u:2+2?", "t:4", "a:4.")]
    texts = made(tmp_path, tulu, talks, max_length=80, columns={"tags": [weights, None, None, None]})
    said = {tool: " ".join(text.replace("#", "").split()) for tool, text in texts.items()}
    for text in said.values():
        assert "Rows that are longer: 1." in text
        assert "Answers of weight 0: 1." in text
    assert "Rows that begin with an answer: 1." in said["trl"]
    assert "its default drops the rows" in said["axolotl"]
    assert "Rows whose turns do not alternate: 2 of 4. They are dropped." in said["llama-factory"]
    assert "Rows with tool turns: 1." in said["llama-factory"]
    clean = " ".join(made(tmp_path, tulu).values())
    for words in ("longer:", "weight 0", "begin with an answer", "alternate", "tool turns"):
        assert words not in clean


def test_a_template_without_marks_is_told(tmp_path: Path, tulu: str) -> None:
    folder = model(tmp_path / "chatml", CHATML, adds_bos=False)
    assert "THIS template has no such marks" in made(tmp_path, folder, template="tokenizer")["trl"]
    assert "THIS template" not in made(tmp_path, tulu)["trl"]


def test_options_are_carried_over(tmp_path: Path, tulu: str) -> None:
    held = written(tmp_path, [BREAD])
    Path(held).rename(tmp_path / "validation.parquet")
    options: dict[str, Any] = {"lora_rank": 8, "packing": False, "precision": "fp32", "schedule": "constant"}
    options |= {"activation_checkpointing": "none", "nproc": 1, "batch_size": 16, "trackers": ["wandb"], "liger": True}
    texts = made(tmp_path, tulu, eval_every=10, **options)
    config, _ = trl(texts["trl"])
    axolotl, factory = yaml.safe_load(texts["axolotl"]), yaml.safe_load(texts["llama-factory"])
    assert "peft_config=LoraConfig(r=8, lora_alpha=16.0" in texts["trl"]
    assert (axolotl["adapter"], axolotl["lora_r"]) == ("lora", 8)
    assert (factory["finetuning_type"], factory["lora_rank"]) == ("lora", 8)
    assert (config["packing"], axolotl["sample_packing"], factory["packing"]) == (False, False, False)
    assert "packing_strategy" not in config
    assert factory["cutoff_len"] == 2048
    for settings in (config, axolotl, factory):
        assert settings["bf16"] is False
        assert settings["gradient_accumulation_steps"] == 16
        assert (settings["eval_strategy"], settings["eval_steps"]) == ("steps", 10)
    assert config["gradient_checkpointing"] is False
    assert factory["disable_gradient_checkpointing"] is True
    assert config["lr_scheduler_type"] == "constant_with_warmup"
    assert (config["report_to"], factory["report_to"]) == (["wandb"], "wandb")
    assert axolotl["test_datasets"][0]["path"] == str(tmp_path / "validation.parquet")
    assert factory["eval_dataset"] == "caravan_mix_validation"
    assert "fsdp_config" not in axolotl
    entries = next(line for line in texts["llama-factory"].splitlines() if "dataset_info.json" in line)
    info = json.loads(entries.partition(": ")[2])
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "caravan_mix": "talks.parquet",
        "caravan_mix_validation": "validation.parquet",
    }
    sharded = yaml.safe_load(made(tmp_path, tulu, cpu_offload=True)["axolotl"])
    assert sharded["fsdp_config"]["offload_params"] is True


def test_any_name_and_path_is_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' \"c\" # {d}: é"
    folder.mkdir()
    model_ = model(folder / "model")
    texts = made(folder, model_)
    _, constants = trl(texts["trl"])
    assert constants["MODEL"] == model_
    axolotl, factory = yaml.safe_load(texts["axolotl"]), yaml.safe_load(texts["llama-factory"])
    assert axolotl["base_model"] == factory["model_name_or_path"] == model_
    assert axolotl["datasets"][0]["path"] == str(folder / "talks.parquet")


@given(
    lengths=st.lists(st.integers(4, 64), min_size=1, max_size=200),
    gpus=st.integers(1, 16),
    each=st.integers(1, 4),
    batch=st.integers(1, 300),
)
def test_rounds_come_as_near_to_the_batch_as_they_can(lengths: list[int], gpus: int, each: int, batch: int) -> None:
    tokens = _of_lengths(lengths)
    config = configured(max_length=64, nproc=gpus, micro_batch_size=each, batch_size=batch)
    rounds = rounds_of(config, tokens)
    filled = len(lengths) / len(pack(lengths, 64))
    assert (rounds.gpus, rounds.each, rounds.wanted) == (gpus, each, batch)
    assert rounds.conversations == pytest.approx(rounds.rounds * gpus * each * filled)
    for other in (rounds.rounds - 1, rounds.rounds + 1):
        if other:
            nearer = abs(other * gpus * each * filled - batch)
            assert abs(rounds.conversations - batch) <= nearer + 1e-9


def test_bins_are_counted_as_bins() -> None:
    tokens = _of_lengths([30] * 40)  # two to a sequence of 64
    config = configured(max_length=64, nproc=2, micro_batch_size=2, batch_size=8, batch_unit="bins")
    rounds = rounds_of(config, tokens)
    assert (rounds.rounds, rounds.conversations) == (4, 32.0)  # 8 bins of 2 sequences of 2 conversations
    alone = rounds_of(configured(max_length=64, nproc=2, batch_size=9, packing=False), tokens)
    assert (alone.rounds, alone.conversations) == (4, 8.0)


def _of_lengths(lengths: list[int]) -> Tokens:
    return tokens_of([[5] * n for n in lengths], [[0] * (n - 1) + [1] for n in lengths])
