"""One training run from configuration to exported model: what `train fsdp` and `train dpo` do, and a notebook can."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caravan.terminal import Progress
from caravan.train import curve, dpo, hub, loop, plan, prepare
from caravan.train.config import TrainConfig
from caravan.train.export import export
from caravan.train.launch import StopFlag, join

MODEL = "model"


@dataclass(frozen=True)
class Trained:
    """What came of a run. `model` is None for one that saved and stopped early, `stopped` says why."""

    folder: Path
    model: Path | None
    steps: int
    total: int
    stopped: str | None
    figures: dict[str, Any]
    predicted_gib: float
    peak_gib: float
    rank: int


def fit(config: TrainConfig, progress: Progress | None = None) -> Trained:
    """Train as the configuration says, or go on where an earlier run with the same one stopped.

    Runs in every process of a group (see `launch`), or alone. Writes the run's folder: `train.toml`, `metrics.jsonl`,
    `checkpoints/step-N`, `left_out.parquet`, `loss.svg` and the exported `model/`. Raises `UserError` for bad input,
    for a run that cannot fit the devices, for a checkpoint of another run, and for a loss that is not finite.
    """
    progress = progress or Progress(quiet=True)
    predicted = plan.check_fits(config)
    with join(config) as world, StopFlag(config.time_budget) as stop:
        if world.rank:
            progress = Progress(quiet=True)
        if not world.local_rank:
            hub.find_model(config.model)  # fetched by one process a node
        world.barrier()
        folder = hub.find_model(config.model)
        data = prepare.read_data(config, folder, progress)
        objective = prepare.build(config, folder, data, world)
        if isinstance(objective, dpo.Dpo):
            objective.refer(data, config, folder, world, progress)
        result = loop.run(config, data, objective, world, stop, progress)
        out = Path(config.out)
        if result.stopped is None:
            export(
                objective,
                world,
                out / MODEL,
                config=config,
                tokenizer=data.tokenizer,
                template=data.template,
                rows=data.rows,
                tokens=data.tokens,
                results=result.figures,
            )
        if not world.rank:
            curve.write(out)
        return Trained(
            folder=out,
            model=out / MODEL if result.stopped is None else None,
            steps=result.steps,
            total=result.total,
            stopped=result.stopped,
            figures=result.figures,
            predicted_gib=predicted,
            peak_gib=result.peak_gib,
            rank=world.rank,
        )
