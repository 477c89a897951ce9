"""What is handed to a run and is broken, cut off or absurd: one line that names it, before anything is lost."""

import json
import math
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import config as configs
from caravan.train import hub, launch, model, show
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.fit import fit
from caravan.train.prepare import read_data, read_tokenizer
from caravan.train.replay import Replayed
from caravan.train.rows import read_rows
from conversations import write_conversations
from tiny import tiny_model, tiny_tokenizer

QUIET = Progress(quiet=True)
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_tokenizer(tmp_path / "model")
    return tiny_model("llama", tmp_path / "model")


def run(folder: Path, **more: Any) -> TrainConfig:
    """A run of one step over a few conversations."""
    place = folder.parent
    options: dict[str, Any] = {"max_length": 256, "precision": "fp32", "epochs": 1, "batch_size": 8}
    options |= {"data": str(write_conversations(place / "talks.parquet", 8)), "model": str(folder)}
    return TrainConfig.model_validate(options | {"out": str(place / "run")} | more)


def reconfigure(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | more), encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hidden_size": "32"}, "hidden_size"),
        ({"num_attention_heads": 3}, "not a multiple"),
        ({"num_attention_heads": 0}, "no usable config.json"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantised"),
    ],
)
def test_a_config_that_no_model_can_have(wrong: dict[str, Any], says: str, folder: Path) -> None:
    reconfigure(folder, **wrong)
    with pytest.raises(UserError, match=says):
        model.read_config(folder)


def test_a_config_that_names_what_is_not_there(folder: Path) -> None:
    reconfigure(folder, hidden_act="bogus")
    with pytest.raises(UserError, match="asks for 'bogus'"):
        model.skeleton(model.read_config(folder))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_list_where_a_tokenizer_wants_an_object(file: str, folder: Path) -> None:
    (folder / file).write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match=r"no usable tokenizer or config\.json"):
        read_tokenizer(folder)


def headed(header: bytes, size: int | None = None) -> Callable[[bytes], bytes]:
    return lambda whole: struct.pack("<Q", len(header) if size is None else size) + header + whole[:64]


@pytest.mark.parametrize(
    "broken",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-4],
        lambda _: b"",
        headed(b"[1]"),
        headed(b'{"a": 1 }'),
        headed(b'{"a":{"dtype":"F32","shape":5,"data_offsets":[0,4]}}'),
        headed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[900000,900004]}}'),
        headed(b"{}", 2**64 - 1),
    ],
)
def test_weights_that_are_cut_off_or_garbage(broken: Callable[[bytes], bytes], folder: Path) -> None:
    file = folder / WEIGHTS
    file.write_bytes(broken(file.read_bytes()))
    with pytest.raises(UserError, match=f"{WEIGHTS}: not a safetensors file, or cut off"):
        model.load_weights(model.skeleton(model.read_config(folder)), folder)


def test_weights_that_are_no_numbers_are_told_as_that(folder: Path) -> None:
    file = folder / WEIGHTS
    whole = file.read_bytes()
    first = 8 + struct.unpack("<Q", whole[:8])[0]
    file.write_bytes(whole[:first] + b"\xff" * (len(whole) - first))
    with pytest.raises(UserError, match="not finite: its weights are broken"):
        fit(run(folder))


@pytest.mark.parametrize(("family", "dropout"), [("gpt2", "resid_pdrop"), ("opt", "dropout")])
def test_a_model_with_dropout_is_trained(family: str, dropout: str, tmp_path: Path) -> None:
    """As GPT-2 and OPT have it on the hub: two forwards of the probe then differ, and nothing is wrong."""
    tiny_tokenizer(tmp_path / "model")
    folder = tiny_model(family, tmp_path / "model")
    reconfigure(folder, **{dropout: 0.1})
    assert fit(run(folder)).model is not None


def test_a_model_that_the_training_broke_is_told_as_that(folder: Path) -> None:
    with pytest.raises(UserError, match="the trained model computes numbers that are not finite"):
        fit(run(folder, weight_decay=1e300))


def test_a_name_that_the_model_cannot_have_is_told_before_the_training(folder: Path) -> None:
    other = folder.parent / "run" / "model"
    other.mkdir(parents=True)
    (other / "notes.txt").touch()
    with pytest.raises(UserError, match="is no export"):
        fit(run(folder))
    assert not (folder.parent / "run" / "checkpoints").exists()


def test_a_share_that_holds_out_everything_is_told_as_that(folder: Path) -> None:
    asked, good, bad = ([{"role": role, "content": role}] for role in ("user", "assistant", "assistant"))
    path = folder.parent / "prefs.parquet"
    pl.DataFrame({"prompt": [asked], "chosen": [good], "rejected": [bad]}).write_parquet(path)
    config = DPOConfig(data=str(path), model=str(folder), max_length=256, validation_share=1 - 1e-12)
    with pytest.raises(UserError, match="holds out every prompt"):
        read_data(config, folder, QUIET)


def test_weights_in_a_struct_are_not_passed_over(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]
    path = tmp_path / "talks.parquet"
    pl.DataFrame({"messages": [talk], "tags": [{"weights": [0, 1]}]}).write_parquet(path)
    with pytest.raises(UserError, match=r"tags\.weights is in a column of Struct"):
        read_rows(str(path), QUIET)
    pl.DataFrame({"messages": [talk], "tags": ['{"weights":' + "[" * 9000]}).write_parquet(path)
    with pytest.raises(UserError, match="tags is not JSON"):
        read_rows(str(path), QUIET)


@pytest.mark.parametrize(
    "wrong", ["lr = inf", "weight_decay = inf", "lora_alpha = inf", "epochs = 1000000000", 'out = "a\\u0000b"']
)
@pytest.mark.parametrize("kind", [TrainConfig, DPOConfig])
def test_a_value_that_nothing_can_be_done_with(wrong: str, kind: type[TrainConfig], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(wrong, encoding="utf-8")
    with pytest.raises(UserError, match=wrong.split()[0]):
        configs.load(str(tmp_path / "run.toml"), {}, kind)


def test_a_file_of_options_that_is_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("lr = " + "[" * 9000, encoding="utf-8")
    with pytest.raises(UserError, match="not TOML"):
        configs.load(str(tmp_path / "run.toml"), {})


@pytest.mark.parametrize("threads", ["x", "0", "-1", "", "2,1"])
def test_whatever_is_said_of_threads_a_run_begins(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    with launch.join(TrainConfig(precision="fp32")) as world:
        assert world.size == 1


def test_what_replay_prints_is_one_object_of_plain_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    show.replayed([Replayed(["a"], 3, 1.0, 2.0), Replayed(["b"], 3, math.nan, math.inf)], True)
    rows = json.loads(capsys.readouterr().out, parse_constant=refuse)["rows"]
    assert [(row["row_ids"], row["loss"], row["finite"]) for row in rows] == [(["b"], None, False), (["a"], 1.0, True)]


@pytest.mark.parametrize(("status", "says"), [(404, "answers 404"), (500, "answers 500"), (200, "no such model")])
def test_what_the_hub_answers_is_told(status: int, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>")

        do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        try:
            with pytest.raises(UserError, match=says):
                hub.find_model("nobody/nothing")
        finally:
            server.shutdown()
