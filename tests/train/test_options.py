"""Flags made from a configuration model: each field is one, and only what was typed is given on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from caravan.train import config as configs
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.options import options

GIVEN = {
    "max_length": (["--max-length", "4096"], 4096),
    "lr": (["--lr", "1e-5"], 1e-5),
    "schedule": (["--schedule", "linear"], "linear"),
    "packing": (["--no-packing"], False),
    "compile": (["--compile"], True),
    "time_budget": (["--time-budget", "0.5"], 0.5),
    "trackers": (["--trackers", "wandb", "--trackers", "tensorboard"], ["wandb", "tensorboard"]),
    "model": (["--model", "gpt2"], "gpt2"),
}


def app_for(kind: type[TrainConfig]) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    @options(kind)
    def command(
        data: Annotated[str | None, typer.Argument()] = None,
        file: Annotated[str | None, typer.Option("--config")] = None,
        **given: Any,
    ) -> None:
        """Train."""
        print(json.dumps({"data": data, "file": file, "given": given}))  # noqa: T201

    return app


def run(kind: type[TrainConfig], *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app_for(kind), list(arguments), env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("kind", [TrainConfig, DPOConfig])
def test_each_field_is_an_option_that_gives_nothing_when_it_is_not_typed(kind: type[TrainConfig]) -> None:
    parsed = json.loads(run(kind))
    assert parsed["given"] == dict.fromkeys(set(kind.model_fields) - {"data"})
    assert (parsed["data"], parsed["file"]) == (None, None)
    assert configs.load(None, parsed["given"], kind) == kind.model_validate({})


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_typed_arrives_as_its_type_and_fits_the_model(name: str) -> None:
    flags, value = GIVEN[name]
    given = json.loads(run(TrainConfig, *flags))["given"]
    assert given.pop(name) == value
    assert type(configs.load(None, {name: value}).model_dump()[name]) is type(value)
    assert set(given.values()) == {None}


def test_a_file_gives_way_to_what_is_typed_even_where_that_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("packing = false\nepochs = 7\nlr = 1e-4\n", encoding="utf-8")
    given = json.loads(run(TrainConfig, "mix", "--packing", "--epochs", "2"))["given"]
    config = configs.load(str(file), given)
    assert (config.packing, config.epochs, config.lr) == (True, 2, 1e-4)


def test_every_default_and_every_choice_stands_in_the_help() -> None:
    shown = {}
    for part in run(TrainConfig, "--help").split("\n  --")[1:]:
        shown["--" + part.split()[0]] = "".join(part.split())  # the terminal breaks lines anywhere
    for name, field in TrainConfig.model_fields.items():
        if name == "data":
            continue
        said = shown["--" + name.replace("_", "-")]
        assert "".join(str(field.description).split()) in said
        if field.default is None or field.default is False or field.default == []:
            assert "[default" not in said
        else:
            default = name if field.default is True else field.default
            assert f"[default:{default:g}]" in said if isinstance(default, float) else f"[default:{default}]" in said
    assert "cosine|linear|constant" in shown["--schedule"]
    assert "tensorboard|wandb" in shown["--trackers"]
    assert "--no-packing" in shown["--packing"]


@pytest.mark.parametrize("flags", [["--schedule", "cubic"], ["--trackers", "x"], ["--epochs", "two"], ["--nonsense"]])
def test_a_wrong_value_names_the_option(flags: list[str]) -> None:
    assert flags[0] in run(TrainConfig, *flags, code=2)


def test_making_the_options_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from caravan.train import config, options, place, spawn\n"
        "options.options(config.TrainConfig)(lambda **given: None)\n"
        "heavy = {'torch', 'transformers', 'polars', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
