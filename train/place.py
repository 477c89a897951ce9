"""Where a process stands in a run that something else started: torchrun, a Kubernetes PyTorchJob, or Slurm's `srun`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from caravan.errors import UserError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PORTS = range(12_000, 32_000)  # below those that systems give to outgoing connections


@dataclass(frozen=True)
class Place:
    """One process among `size`, and where process 0 listens.

    `counted`: the starter chose how many processes run on this node, so fewer than GPUs are meant.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    host: str = ""
    port: int = 0
    counted: bool = False


def found(environ: Mapping[str, str]) -> Place | None:
    """The place that the environment names; None where this process is alone and may start others itself.

    Raises `UserError` for an environment that is set by half, or holds nonsense.
    """
    if "RANK" in environ or "WORLD_SIZE" in environ:
        place = _from_torchrun(environ)
    elif environ.get("SLURM_STEP_ID", "").isdecimal() and int(environ["SLURM_STEP_ID"]) < 0xFFFF_FFF0:
        place = _from_slurm(environ)  # a batch script and an interactive shell have no such step, or a reserved number
    else:
        return None
    if not 0 <= place.rank < place.size or place.local_rank < 0:
        raise UserError(f"rank {place.rank} of {place.size} processes", fix="ranks run from 0; check the launcher")
    return place if place.size > 1 or place.counted else None


def _from_torchrun(environ: Mapping[str, str]) -> Place:
    missing = [name for name in NEEDED if not environ.get(name)]
    if missing:
        there = [name for name in NEEDED if environ.get(name)]
        raise UserError(
            f"the environment has {', '.join(there)} but not {', '.join(missing)}",
            fix=f"set all of {', '.join(NEEDED)} as torchrun does, or none of them",
        )
    return Place(
        rank=_number(environ, "RANK"),
        size=_number(environ, "WORLD_SIZE"),
        local_rank=_number(environ, "LOCAL_RANK", 0),
        host=environ["MASTER_ADDR"],
        port=_number(environ, "MASTER_PORT"),
        counted="LOCAL_WORLD_SIZE" in environ,
    )


def _from_slurm(environ: Mapping[str, str]) -> Place:
    """From the variables of the step, not of the job: a step may be smaller than its job."""
    size = _number(environ, "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS")
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    number = _number(environ, "SLURM_JOB_ID", 0) + _number(environ, "SLURM_STEP_ID")
    return Place(
        rank=_number(environ, "SLURM_PROCID"),
        size=size,
        local_rank=_number(environ, "SLURM_LOCALID", 0),
        host=environ.get("MASTER_ADDR") or first_host(nodes),
        port=_number(environ, "MASTER_PORT", PORTS[number % len(PORTS)]),
    )


def first_host(nodes: str) -> str:
    """The first of Slurm's node list: of `node[03-05,9],x1` it is node03."""
    first = re.match(r"(?:[^\s,\[\]]|\[[^\s\[\]]+\])+(?=,|$)", nodes)
    if first is None:
        raise UserError(
            f"not a node list: {nodes!r}", where="SLURM_STEP_NODELIST", fix="set MASTER_ADDR to the first node"
        )
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0])


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name)
    if not text and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise UserError("not a number" if text else "is not set", where=name, fix="check what started this process")
    return int(text)
