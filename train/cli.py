"""The command `train`. Each command is a thin shell over one documented function; nothing heavy is imported here."""

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan import terminal
from caravan.terminal import Progress
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.options import options

app = typer.Typer(
    name="train",
    help="A mixture in, a fine-tuned model out: planned, checked, sharded, never lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
ConfigFile = Annotated[str | None, typer.Option("--config", help="A TOML file of options; flags count over it.")]
Mix = Annotated[str | None, typer.Argument(metavar="[MIX]", show_default="mix/mix.parquet")]
Run = Annotated[Path, typer.Argument(metavar="[RUN]", help="A run's folder.")]


class Tool(StrEnum):
    """Other trainers that the recipe can be written for."""

    trl = "trl"
    axolotl = "axolotl"
    llama_factory = "llama-factory"


# What `check` and `show` depend on: what is read and how it is cut and packed.
READING = (
    *(
        "model",
        "template",
        "max_length",
        "validation",
        "epochs",
        "batch_size",
        "batch_unit",
        "lr",
        "schedule",
        "warmup",
    ),
    *("weight_decay", "clip", "seed", "packing", "micro_batch_size", "precision", "nproc", "out"),
    *("activation_checkpointing", "lora_rank"),
)

# What a plan depends on.
SIZING = (
    *("model", "gpu_memory", "max_length", "micro_batch_size", "batch_size", "batch_unit", "epochs", "packing"),
    *("activation_checkpointing", "precision", "cpu_offload", "replicas", "lora_rank"),
)


def main() -> None:
    """Run the command; errors that a person can mend are one line and exit status 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until a run listens for itself, as Ctrl-C
    try:
        status = app(standalone_mode=False)
        if status == terminal.INTERRUPTED:
            raise SystemExit(status)
    except (Exception, KeyboardInterrupt) as error:
        terminal.exit_for(error, "run the same command again, it goes on from the last checkpoint")
    raise SystemExit(status if isinstance(status, int) else terminal.DONE)


@app.command()
@options(TrainConfig)
def fsdp(data: Mix = None, config: ConfigFile = None, json_: Json = False, **given: Any) -> int:
    """Supervised fine-tuning on a mixture, fully sharded: on all GPUs here, on several nodes, or on the CPU."""
    return _train(TrainConfig, config, given | {"data": data}, json_)


@app.command()
@options(DPOConfig)
def dpo(
    data: Annotated[str | None, typer.Argument(metavar="[PREFS]", show_default="prefs.parquet")] = None,
    config: ConfigFile = None,
    json_: Json = False,
    **given: Any,
) -> int:
    """Direct preference optimisation of a fine-tuned model: --model is where it starts, and the reference."""
    return _train(DPOConfig, config, given | {"data": data}, json_)


def _train(kind: type[TrainConfig], file: str | None, given: dict[str, Any], json_: bool) -> int:
    from caravan.train import config, place, spawn

    resolved = config.load(file, given, kind)
    if place.found(os.environ) is None and resolved.nnodes * (resolved.nproc or spawn.default_nproc()) > 1:
        return spawn.start(resolved, sys.argv[1:])
    from caravan.train import show
    from caravan.train.fit import fit

    trained = fit(resolved, Progress())
    if trained.rank == 0:
        show.trained(trained, json_)
    return terminal.INTERRUPTED if trained.stopped else terminal.DONE


@app.command()
@options(TrainConfig, only=SIZING)
def plan(
    gpus: Annotated[int, typer.Option(help="GPUs, over all nodes.", min=1)] = 8,
    gpu: Annotated[
        str | None, typer.Option(help="Their kind (A100, H100, ...); default: all with that memory.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Of a GPU hour.", min=0)] = None,
    examples: Annotated[
        int | None, typer.Option(help="Conversations in the mixture: for time and cost.", min=1)
    ] = None,
    mean_length: Annotated[float | None, typer.Option(help="Their mean length in tokens.", min=1)] = None,
    config: ConfigFile = None,
    json_: Json = False,
    **given: Any,
) -> int:
    """Say before any hardware is paid for what a run needs: memory by part, the largest micro-batch, time and cost.

    Exit status 1: it does not fit.
    """
    from caravan.train import plan as plans
    from caravan.train.config import load

    found = plans.plan(
        load(config, given, None), gpus=gpus, gpu=gpu, price=price, examples=examples, mean_length=mean_length
    )
    plans.show_plan(found, json_)
    return terminal.DONE if found.fits else terminal.FOUND


@app.command()
@options(TrainConfig, only=READING)
def check(
    data: Mix = None,
    config: ConfigFile = None,
    stanza: Annotated[
        Tool | None, typer.Option(help="Print the same recipe for another tool in place of the report.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Break a run of 8 steps in the middle, and compare all weights; trains.")
    ] = False,
    json_: Json = False,
    **given: Any,
) -> int:
    """Audit what a run would learn from, source by source, without weights. Exit status 1: something is wrong."""
    from caravan.train import audit, show
    from caravan.train.config import load

    resolved = load(config, given | {"data": data})
    if resume:
        from caravan.train.resumption import prove

        proof = prove(resolved, Progress())
        show.resumed(proof, json_)
        return terminal.DONE if proof.same else terminal.FOUND
    if stanza is not None:
        from caravan.train.stanza import stanza_of

        terminal.out(stanza_of(resolved, stanza.value, Progress()))
        return terminal.DONE
    found = audit.audit(resolved, Progress())
    show.checked(found, json_)
    return terminal.FOUND if found.failed else terminal.DONE


@app.command("show")
@options(TrainConfig, only=READING)
def show_(
    data: Mix = None,
    config: ConfigFile = None,
    number: Annotated[int, typer.Option("-n", "--number", help="Examples to show.", min=1)] = 3,
    source: Annotated[str | None, typer.Option(help="Of this source only.")] = None,
    json_: Json = False,
    **given: Any,
) -> int:
    """Print examples as a run would see them: what carries loss, special tokens, where a length cuts."""
    from caravan.train import show
    from caravan.train.config import load
    from caravan.train.examples import examples

    resolved = load(config, given | {"data": data})
    show.examples(examples(resolved, Progress(), number, source), resolved.max_length, json_)
    return terminal.DONE


@app.command()
def replay(run: Run = Path("run"), json_: Json = False) -> int:
    """Compute the rows of a failed step again, each alone. Exit status 1: a row is not finite by itself."""
    from caravan.train import show
    from caravan.train.replay import replay as again

    found = again(run, Progress())
    show.replayed(found, json_)
    return terminal.DONE if all(item.finite for item in found) else terminal.FOUND


@app.command()
def export(
    run: Run = Path("run"),
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The model's folder; default: RUN/model.")] = None,
    step: Annotated[int | None, typer.Option(help="The checkpoint of this step; default: the newest.", min=0)] = None,
) -> int:
    """Turn a run's checkpoint into a Hugging Face folder, loaded back and compared before it is called done."""
    from caravan.train.export import export_checkpoint

    progress = Progress()
    folder = out or run / "model"
    export_checkpoint(run, step, folder, progress)
    progress.say(f"exported to {folder}")
    return terminal.DONE


if __name__ == "__main__":
    main()
