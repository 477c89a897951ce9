"""The trainer against the textbook: losses and gradient norms of 20 steps, to a relative 1e-5 in fp32.

One process, two processes, accumulated, packed, chunked, checkpointed, each alone and all together; six families, tied
and untied; on ragged conversations.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import transformers

import reference
from caravan.curate.single import convert
from caravan.terminal import Progress
from caravan.train import launch, prepare, spawn
from caravan.train.config import TrainConfig
from caravan.train.fit import fit
from equality_worker import STEPS, config_of, data_of, run_case
from tiny import FAMILIES, tiny_model

MODES: dict[str, dict[str, Any]] = {
    "one conversation at a time": {"packing": False},
    "packed": {},
    "one bin a step": {"micro_batch_size": 16},
    "chunked": {"chunk": 3},
    "checkpointed": {"activation_checkpointing": "full"},
    "selectively checkpointed": {"activation_checkpointing": "selective"},
    "all": {"chunk": 3, "activation_checkpointing": "full", "micro_batch_size": 2},
}


def yardstick(folder: Path, seed: int) -> reference.Curve:
    data = data_of(seed)
    order = prepare.order_of(config_of(str(folder), "none"), data.tokens, 1, 1)
    steps = [[item for items in order.step(n) for item in items] for n in range(STEPS)]
    return reference.train(folder, data.tokens, steps, lr=1e-3, total=STEPS)


def check(out: Path, expected: reference.Curve) -> None:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == pytest.approx(expected.losses, rel=1e-5), out.name
    assert [line["grad_norm"] for line in lines] == pytest.approx(expected.norms, rel=1e-5), out.name
    found = torch.load(out / "weights.pt", weights_only=True)
    assert found.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():  # AdamW blows up the rounding of gradients near zero: whole tensors
        assert float((found[name] - weight).norm()) < 1e-3 * max(float(weight.norm()), 1.0), name


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_mode_of_one_process_is_the_textbook(family: str, tied: bool, tmp_path: Path) -> None:
    folder = tiny_model(family, tmp_path / "model", tied)
    expected = yardstick(folder, seed=1)
    assert expected.losses[-1] < expected.losses[0]
    modes = MODES if family == "llama" else {"all": MODES["all"]}
    with launch.join(config_of("none", "none")) as world:
        for mode, options in modes.items():
            out = tmp_path / mode
            run_case({"model": str(folder), "out": str(out), "seed": 1, "options": options}, world)
            check(out, expected)


def test_two_processes_are_the_textbook(tmp_path: Path) -> None:
    """All families, tied and untied, in one pair of processes: sharded, packed, accumulated, and all together."""
    cases: list[dict[str, Any]] = []
    for family in FAMILIES:
        for tied in (False, True):
            folder = tiny_model(family, tmp_path / f"{family}-{tied}", tied)
            modes = ["packed", "one conversation at a time", "all"] if family == "llama" else ["all"]
            cases += [
                {"model": str(folder), "out": f"{folder}-{mode}", "seed": 2, "options": MODES[mode]} for mode in modes
            ]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    worker = str(Path(__file__).with_name("equality_worker.py"))
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("OMP_NUM_THREADS", "1")
        code = spawn.run([sys.executable, worker, str(tmp_path / "cases.json")], TrainConfig(nproc=2))
    assert code == 0
    expected: dict[str, reference.Curve] = {}
    for case in cases:
        named = case["model"]
        if named not in expected:
            expected[named] = yardstick(Path(named), seed=2)
        check(Path(case["out"]), expected[named])


@pytest.mark.real
@pytest.mark.parametrize(
    ("family", "tokenizer"),
    [("llama", "tinyllama-1.1b-3T"), ("mistral", "mistral-7b-v0.1"), ("gpt2", "gpt2-base"), ("qwen2", "llama2-7b-hf")],
)
def test_real_conversations_with_real_tokenizers_are_the_textbook(
    family: str, tokenizer: str, tmp_path: Path, real_data: Path
) -> None:
    """Rows of Alpaca, Dolly and ShareGPT, through the whole of `fit`: tokens, packing, the loop, the export."""
    folder = tmp_path / "model"
    vocabulary = len(transformers.AutoTokenizer.from_pretrained(real_data / "tokenizers" / tokenizer))
    tiny_model(family, folder, vocab=vocabulary)
    for file in (real_data / "tokenizers" / tokenizer).iterdir():
        if file.name != "config.json":
            shutil.copy(file, folder)
    files = ("alpaca/llamafactory_alpaca_en_demo.json", "sharegpt/fastchat_dummy_conversation.json", "dolly")
    frames = [convert(real_data / file).frame.head(60).select("messages", "source") for file in files]
    named = [
        frame.with_columns(pl.lit(file.split("/")[0]).alias("source"))
        for frame, file in zip(frames, files, strict=True)
    ]
    pl.concat(named).write_parquet(tmp_path / "rows.parquet")
    config = config_of(
        str(folder),
        str(tmp_path / "run"),
        data=str(tmp_path / "rows.parquet"),
        max_length=256,
        max_steps=STEPS,
        epochs=3,
    )
    data = prepare.read_data(config, folder, Progress(quiet=True))
    order = prepare.order_of(config, data.tokens, 1, 1)
    steps = [[item for items in order.step(n) for item in items] for n in range(STEPS)]
    expected = reference.train(folder, data.tokens, steps, lr=1e-3, total=STEPS)
    fit(config)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == pytest.approx(expected.losses, rel=1e-5)
    assert [line["grad_norm"] for line in lines] == pytest.approx(expected.norms, rel=1e-5)
