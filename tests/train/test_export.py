"""The exported folder is the model that was trained, or there is none."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import chats
from caravan.errors import UserError
from caravan.mixtures import manifest
from caravan.mixtures.manifest import Amount, Manifest, SourceRecord
from caravan.train import loadback
from caravan.train.export import export_checkpoint
from caravan.train.launch import World
from caravan.train.model_card import model_card
from caravan.train.template import TuluTemplate
from conversations import write_conversations
from export_tasks import QUIET, run, trained, write
from ranks import Ranks
from tiny import tiny_model, tiny_tokenizer

ALONE = World(0, 1, 0, 1, 1, torch.device("cpu"), None, None)
IDS = torch.arange(40)[None] * 7 % 400
Auto: Any = AutoModelForCausalLM
Tokenizer: Any = AutoTokenizer


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with Ranks("export_tasks") as server:
        yield server


def job(folder: Path, family: str = "llama", tied: bool = False, **tokenizer: Any) -> Path:
    """A folder with a model, its tokenizer, and 20 conversations."""
    tiny_tokenizer(folder / "model", **tokenizer)
    tiny_model(family, folder / "model", tied)
    write_conversations(folder / "rows.parquet", 20)
    return folder


def merged(folder: Path, scaling: float = 0.0, turned: bool = False) -> dict[str, torch.Tensor]:
    """The trained weights by their plain names, with adapters added."""
    weights = torch.load(folder / "weights.pt", weights_only=True)
    plain = {n.replace(".base_layer.", "."): w for n, w in weights.items() if ".lora_" not in n}
    for name, a in weights.items():
        if ".lora_A." in name:
            b = weights[name.replace(".lora_A.", ".lora_B.")]
            change = scaling * (b @ a)
            plain[name.partition(".lora_A.")[0] + ".weight"] += change.T if turned else change
    return plain


def check(folder: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    """The exported model, loaded as anybody does, has these weights, and computes what the base does with them."""
    base = Auto.from_pretrained(folder / "model", dtype=dtype)
    loaded = Auto.from_pretrained(folder / "run" / "model")
    assert loaded.dtype == dtype
    before = dict(base.named_parameters())
    found = dict(loaded.named_parameters())
    assert found.keys() == weights.keys() == before.keys()
    assert any(not torch.equal(before[name], weight.to(dtype)) for name, weight in weights.items())
    for name, weight in weights.items():
        assert torch.equal(found[name], weight.to(dtype)), name
    base.load_state_dict(weights, strict=False)
    with torch.no_grad():
        expected, logits = base.eval()(IDS).logits, loaded.eval()(IDS).logits
    assert torch.equal(logits, expected)


@pytest.mark.parametrize(
    ("family", "tied"),
    [("llama", True), ("llama", False), ("gpt2", True), ("gpt_neox", False), ("opt", True), ("mistral", False)],
)
def test_every_family_comes_back(tmp_path: Path, family: str, tied: bool) -> None:
    run(ALONE, job(tmp_path, family, tied), {})
    check(tmp_path, merged(tmp_path), torch.float32)
    with safe_open(tmp_path / "run/model/model.safetensors", "pt") as file:
        written = set(file.keys())
    with safe_open(tmp_path / "model/model.safetensors", "pt") as file:
        assert written == set(file.keys())  # the names that models are published under
    assert not list((tmp_path / "run").glob(".*"))
    assert len({path.stat().st_mode for path in (tmp_path / "run/model").iterdir()}) == 1  # whoever reads one reads all


@pytest.mark.parametrize(
    ("family", "config"),
    [("llama", {}), ("gpt_neox", {"precision": "bf16"}), ("opt", {"precision": "bf16", "cpu_offload": True})],
)
def test_two_processes_write_several_files(ranks: Ranks, tmp_path: Path, family: str, config: dict[str, Any]) -> None:
    tied = family == "opt"
    assert ranks.run("run", 2, job(tmp_path, family, tied), config=config, file_bytes=30_000) == [None, None]
    check(tmp_path, merged(tmp_path), torch.bfloat16 if config else torch.float32)
    model = tmp_path / "run" / "model"
    files = sorted(path.name for path in model.glob("*.safetensors"))
    assert len(files) > 2
    assert files == [f"model-{n:05}-of-{len(files):05}.safetensors" for n in range(1, len(files) + 1)]
    index = json.loads((model / "model.safetensors.index.json").read_text())
    held = {file: load_file(model / file) for file in files}
    assert index["weight_map"] == {name: file for file, tensors in held.items() for name in tensors}
    tensors = [tensor for group in held.values() for tensor in group.values()]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)
    assert all(len(group) == 1 or sum(t.nbytes for t in group.values()) <= 30_000 for group in held.values())


@pytest.mark.parametrize("config", [{}, {"precision": "bf16"}], ids=["fp32", "bf16"])
def test_adapters_are_merged(ranks: Ranks, tmp_path: Path, config: dict[str, Any]) -> None:
    job(tmp_path, tied=True)
    assert ranks.run("run", 2, tmp_path, config={"lora_rank": 3, "lora_alpha": 6.0} | config) == [None, None]
    check(tmp_path, merged(tmp_path, scaling=2.0), torch.bfloat16 if config else torch.float32)


@pytest.mark.parametrize("config", [{}, {"precision": "bf16", "lora_rank": 3}], ids=["fp32", "bf16 adapters"])
def test_a_checkpoint_of_two_processes_is_exported_by_one(ranks: Ranks, tmp_path: Path, config: dict[str, Any]) -> None:
    ranks.run("run", 2, job(tmp_path, tied=True), config=config)
    export_checkpoint(tmp_path / "run", None, tmp_path / "last", QUIET)
    names = {path.name for path in (tmp_path / "last").iterdir()}
    assert names == {path.name for path in (tmp_path / "run" / "model").iterdir()}
    for name in names - {"README.md"}:
        assert (tmp_path / "last" / name).read_bytes() == (tmp_path / "run" / "model" / name).read_bytes(), name
    assert "| step | 2 |" in (tmp_path / "last" / "README.md").read_text()
    export_checkpoint(tmp_path / "run", 1, tmp_path / "first", QUIET)
    first, last = ((tmp_path / which / "model.safetensors").read_bytes() for which in ("first", "last"))
    assert first != last


def test_a_checkpoint_that_cannot_be_exported_is_told(tmp_path: Path) -> None:
    run(ALONE, job(tmp_path), {})
    with pytest.raises(UserError, match=r"no checkpoint of step 7.*those of 1, 2"):
        export_checkpoint(tmp_path / "run", 7, tmp_path / "out", QUIET)
    with pytest.raises(UserError, match=r"no train\.toml; name the folder of a run"):
        export_checkpoint(tmp_path / "model", None, tmp_path / "out", QUIET)
    write_conversations(tmp_path / "rows.parquet", 21)
    with pytest.raises(UserError, match="another mixture"):
        export_checkpoint(tmp_path / "run", None, tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_its_own_template_and_stop_tokens_travel_along(tmp_path: Path, name: str) -> None:
    job(tmp_path, chat_template=chats.TEMPLATES[name], special=chats.SPECIAL)
    told, data, objective, _ = trained(ALONE, tmp_path, {"template": "tokenizer"})
    data.tokenizer.chat_template = None  # what is exported is what was trained, whatever the tokenizer says by now
    write(ALONE, tmp_path / "out", told, data, objective)
    assert data.tokenizer.chat_template is None
    fresh = Tokenizer.from_pretrained(tmp_path / "out")
    assert fresh.chat_template == chats.TEMPLATES[name]
    stops = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert stops["eos_token_id"] == [*data.template.stop_tokens, fresh.eos_token_id]
    assert stops["pad_token_id"] == fresh.pad_token_id
    model = Auto.from_pretrained(tmp_path / "out")
    assert model.generation_config.eos_token_id == stops["eos_token_id"]
    config = (tmp_path / "out" / "config.json").read_text()
    assert json.loads(config)["architectures"] == ["LlamaForCausalLM"]
    assert json.loads(config)["dtype"] == "float32"
    assert "caravan" not in config


class Lying(TuluTemplate):
    """Sends another template along than it renders by."""

    @property
    def chat_template(self) -> str:
        """With a space too many."""
        return super().chat_template.replace("<|", " <|", 1)


def test_what_is_not_what_was_trained_gets_no_name(tmp_path: Path) -> None:
    told, data, objective, _ = trained(ALONE, job(tmp_path), {})
    out = tmp_path / "out"
    write(ALONE, out, told, data, objective)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match="the chat template renders row row-0 otherwise than it was trained on"):
        write(ALONE, out, told, replace(data, template=Lying(data.tokenizer)), objective)
    other = tiny_tokenizer(tmp_path / "other", special=("<|one|>", "<|more|>"))
    with pytest.raises(UserError, match="the tokenizer gives row row-0 other ids"):
        write(ALONE, out, told, replace(data, tokenizer=other), objective)
    with torch.no_grad():
        objective.get_parameter("model.model.norm.weight")[5] = float("nan")
    with pytest.raises(UserError, match="the trained model computes numbers that are not finite"):
        write(ALONE, out, told, data, objective)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(tmp_path.glob(".*"))


def test_one_bit_is_noticed(tmp_path: Path) -> None:
    run(ALONE, job(tmp_path), {})
    _, data, objective, _ = trained(ALONE, tmp_path, {})  # at its end already
    model = tmp_path / "run" / "model"
    digests = {name: loadback.digest(p) for name, p in objective.model.named_parameters()}
    chosen = loadback.chosen_rows(data.tokens)
    logits = loadback.trained_logits(objective, data.tokens, chosen, ALONE)

    def compared() -> loadback.Agreement:
        return loadback.compare_model(model, digests, logits, data.tokens, chosen, ALONE.device)

    agreement = compared()
    assert agreement.tensors == len(digests)
    assert agreement.positions == agreement.greedy == sum(data.tokens.lengths[chosen])
    assert agreement.difference < 1e-6
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"].view(torch.int32)[3] ^= 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the tensor model\.norm\.weight is another one"):
        compared()
    del weights["model.norm.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"missing keys: model\.norm\.weight"):
        compared()


def test_an_earlier_export_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    told, data, objective, _ = trained(ALONE, job(tmp_path), {})
    out = tmp_path / "out"
    write(ALONE, out, told, data, objective)
    (out / "old").touch()
    write(ALONE, out, told, data, objective)
    assert not (out / "old").exists()
    (out / "train.toml").unlink()
    with pytest.raises(UserError, match="is there already, and is no export"):
        write(ALONE, out, told, data, objective)
    for taken in ("rows.parquet", "run"):
        with pytest.raises(UserError, match="is there already"):
            write(ALONE, tmp_path / taken, told, data, objective)
    assert (tmp_path / "run" / "checkpoints" / "step-2").is_dir()


def test_a_full_disk_is_told_on_every_rank(ranks: Ranks, tmp_path: Path) -> None:
    found = ranks.run("run", 2, job(tmp_path), config={}, limit=40_000)
    assert found[0] == found[1]
    assert "File too large" in found[0]["error"]
    assert found[0]["error"].startswith(f"{tmp_path}/run/model: ")
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if "model" in path.name) == []


def test_the_card_shows_names_as_they_are(tmp_path: Path) -> None:
    """Names come from files: none may become markup, a header key, or another cell."""
    told, data, objective, _ = trained(ALONE, job(tmp_path), {})
    name = "a|b](http://x) <script>\n# c"
    source = SourceRecord(
        name=name, licences=["CC-BY-NC-4.0"], files=[], examples=20, dropped={}, drawn=20, validation=0, not_drawn=0,
        quality=None, share_requested=1, share_given=1, requested=20, given=Amount(examples=20), max_copies=1,
    )  # fmt: skip
    made = Manifest(
        caravan="0.1.0", content_hash="0" * 64, recipe={}, seed=0, unit="examples", token_counter="", requested=20,
        given=Amount(examples=20), validation=Amount(), embedded_samples=False, sources=[source], filters=[],
        benchmarks=[], strategy={}, libraries={},
    )  # fmt: skip
    rows = replace(data.rows, manifest=made)
    tokens = replace(data.tokens, account={name: data.tokens.account["a"]})
    agreement = loadback.Agreement(20, 100, 0.001, 0.0625, 99)
    told = told.model_copy(update={"model": "some-one/<b>base</b>"})
    card = model_card(told, rows, tokens, data.template, agreement, {"loss": 1.25, "eval": {"x|y": 2, "none": None}})
    header, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert "base_model" not in header
    assert "<script>" not in body
    assert "<b>" not in body
    assert "b\\](http" in body
    assert "\n# c" not in body
    line = next(line for line in body.splitlines() if "CC-BY-NC-4.0" in line)
    assert line.replace("\\|", "").count("|") == 7
    assert "| eval: x\\|y | 2 |" in body
    assert "Non-commercial" in body
    assert "greedy decoding takes the same token at 99 of them" in body
    told = told.model_copy(update={"model": "some-one/base@main"})
    assert '\nbase_model: "some-one/base"\n' in model_card(told, rows, tokens, data.template, agreement, {})
    write(ALONE, tmp_path / "out", told, replace(data, rows=rows), objective)
    assert manifest.read(tmp_path / "out") == made
