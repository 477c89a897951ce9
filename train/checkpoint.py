"""Checkpoints: sharded, asynchronous, atomic; the newest `keep` stay. One integer, the next step, is all a run needs.

    checkpoints/step-200/        whole: written aside as .step-200.tmp, brought to the disk, then renamed
        __0_0.distcp ...         each rank's shards, as torch.distributed.checkpoint writes them
        .metadata                where each piece of each tensor lies
        run.json                 the step, and what the run is: another one is not continued from here

What was trained is stored: all weights, or the adapters alone, and AdamW's state of them. A checkpoint can be read by
any number of processes. A process that is killed leaves at most a `.step-N.tmp`, which the next start removes.
"""

import json
import os
import pickle
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.storage import WriteResult

import caravan
from caravan.errors import UserError
from caravan.train.launch import World
from caravan.train.objective import Objective
from caravan.train.shard import reshard

FORMAT = 1
RECORD = "run.json"
WEIGHTS, OPTIMIZER = "weights.", "optimizer."


class Checkpoints:
    """The checkpoints of one run, `folder/step-N`: what is there under this name is whole.

    `identity` says which run it is, in JSON's types: its key `mixture` is the content hash of the rows. All methods are
    collective. Raises `UserError` for a folder that cannot be written, or that the nodes do not share.
    """

    def __init__(self, folder: Path, keep: int, world: World, identity: dict[str, Any]) -> None:
        self.folder = folder
        self._keep = keep
        self._world = world
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._saving: Future[Any] | None = None
        self._last: int | None = None  # the step that was saved or resumed last
        agree(world, None if world.rank else _clean(folder))
        if world.size > 1:
            self._check_shared()

    def resume(self, objective: Objective, optimizer: torch.optim.Optimizer) -> int:
        """Load the newest into model and optimizer and give the number of its next step; 0 where there is none.

        Raises `UserError` where the checkpoint is another run's, or cannot be read.
        """
        newest: int | None = self._world.gather(max(steps(self.folder), default=None))[0]
        if newest is None:
            return 0
        path = self.folder / f"step-{newest}"
        check_identity(path, self._identity, self._world, fix="name another --out, or go on as the run began")
        read(path, objective, optimizer, self._world)
        self._last = newest
        return newest

    def save(self, step: int, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
        """Begin to save what the next step, `step`, starts from; returns once the state was copied.

        Waits for the save before it. Raises that one's `UserError`.
        """
        self.wait()
        if step == self._last:
            return
        record = {
            "format": FORMAT,
            "caravan": caravan.__version__,
            "step": step,
            "world_size": self._world.size,
            "identity": self._identity,
        }
        saving = async_save(
            dict(_tensors(objective, optimizer)),
            storage_writer=_Writer(self.folder, step, record, self._keep),
            process_group=self._world.gloo,  # its own: collectives in two threads on one group would mix
            no_dist=_alone(),
        )
        assert isinstance(saving, Future)
        self._saving, self._last = saving, step

    def wait(self) -> None:
        """Until the last save is on the disk under its name. Raises its `UserError` on every rank, if it has one."""
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            saving.result()
        except CheckpointException as error:  # no Exception, but what every rank raises when any of them failed
            path, self._last = self.folder / f"step-{self._last}", None
            if not self._world.rank:
                shutil.rmtree(_aside(path), ignore_errors=True)
            raise _told(error, path) from None

    @property
    def failed(self) -> bool:
        """Whether this rank knows already that the last save went wrong: `wait` would raise at once."""
        return self._saving is not None and self._saving.done() and self._saving.exception() is not None

    def _check_shared(self) -> None:
        """Shards of other nodes must come to lie in the same folder: each rank looks for a file that rank 0 makes."""
        mark = self.folder / self._world.gather(f".{uuid.uuid4().hex}")[0]
        error = None
        try:
            if not self._world.rank:
                mark.touch()
            self._world.barrier()
            if not mark.exists():
                error = UserError("not the same folder on every node", where=str(self.folder), fix="share it: NFS, say")
        except OSError as cause:
            error = UserError(cause.strerror or "cannot be written", where=str(self.folder), fix="name another --out")
        try:
            agree(self._world, error)
        finally:
            if not self._world.rank:
                mark.unlink(missing_ok=True)


class _Writer(FileSystemWriter):
    """Writes into `.step-N.tmp`. Rank 0 finishes, after every rank has written its shards and told so."""

    def __init__(self, folder: Path, step: int, record: dict[str, Any], keep: int) -> None:
        self._whole = folder / f"step-{step}"
        self._record = record
        self._oldest_kept = keep
        super().__init__(_aside(self._whole))

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> torch.futures.Future[list[WriteResult]]:
        """Write this rank's shards. On a full disk torch's archive fails over what it could not write: say the disk."""
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Bring everything to the disk, give it its name, remove older checkpoints."""
        super().finish(metadata, results)
        aside, folder = _aside(self._whole), self._whole.parent
        (aside / RECORD).write_text(json.dumps(self._record, indent=2) + "\n", encoding="utf-8")
        to_disk(aside)
        aside.rename(self._whole)
        to_disk(folder)
        for step in sorted(steps(folder))[: -self._oldest_kept]:
            old = folder / f"step-{step}"
            old.rename(_aside(old))  # first the name: no half of a checkpoint ever bears it
            shutil.rmtree(_aside(old))


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder."""
    if not folder.is_dir():
        return []
    found = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.iterdir() if path.is_dir())
    return [int(match[1]) for match in found if match]


def check_identity(path: Path, identity: dict[str, Any], world: World, fix: str) -> None:
    """Raise `UserError`, naming each difference, unless the checkpoint is of the run that `identity` describes."""
    error: UserError | None
    try:
        record = json.loads((path / RECORD).read_bytes())
        if record["format"] != FORMAT:
            error = UserError(
                f"a checkpoint of format {record['format']}; this is caravan {caravan.__version__}, format {FORMAT}",
                where=str(path),
                fix=f"go on with caravan {record['caravan']}",
            )
        else:
            told = _differences(record["identity"], identity)
            error = UserError("of another run: " + "; ".join(told), where=str(path), fix=fix) if told else None
    except OSError as cause:
        error = _damaged(path, f"{RECORD}: {cause.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError):
        error = _damaged(path, f"{RECORD} is not what was written")
    agree(world, error)


def _differences(began: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys([*began, *now]) if began.get(name) != now.get(name)]
    told = []
    if "mixture" in names:
        told.append(f"it began with another mixture (content {_shown(began, 'mixture')}, now {_shown(now, 'mixture')})")
        names = [name for name in names if name not in ("mixture", "tokens")]  # other rows are other tokens
    return told + [f"{name} was {_shown(began, name)}, now {_shown(now, name)}" for name in names]


def _shown(identity: dict[str, Any], name: str) -> str:
    value = identity.get(name)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32,}", value):
        return value[:12]
    return "not set" if value is None else str(value)


def read(path: Path, objective: Objective, optimizer: torch.optim.Optimizer | None, world: World) -> None:
    """Read a checkpoint into the model, and into the optimizer if there is one; each rank its own shards. Collective.

    Any number of ranks wrote it. Raises `UserError` for what cannot be read.
    """
    reshard(objective)
    metadata, error = None, None
    try:
        with (path / ".metadata").open("rb") as file:
            metadata = _Checked(file).load()
    except OSError as cause:
        error = _damaged(path, f".metadata: {cause.strerror}")
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError):
        error = _damaged(path, ".metadata is not what was written")
    agree(world, error)
    assert metadata is not None
    if optimizer is not None:
        _make_state(objective, optimizer, metadata.state_dict_metadata)
    wanted = dict(_tensors(objective, optimizer))
    try:
        load(wanted, storage_reader=FileSystemReader(path), process_group=world.gloo, no_dist=_alone())
    except CheckpointException as failure:
        rank, (why, _) = min(failure.failures.items())
        raise _damaged(path, f"{(str(why).splitlines() or [type(why).__name__])[0]} (rank {rank})") from None


_FIX_READ = "remove it: a run goes on from the checkpoint before it"


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"the checkpoint cannot be read: {what}", where=str(path), fix=_FIX_READ)


def _tensors(objective: Objective, optimizer: torch.optim.Optimizer | None) -> Iterator[tuple[str, Tensor]]:
    """What a checkpoint holds, by name: each parameter that is trained, tied ones once, and its optimizer's state."""
    reshard(objective)  # or parameters are whole where a forward without backward left them so
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            yield WEIGHTS + name, parameter.detach()
            if optimizer is not None:
                yield from ((f"{OPTIMIZER}{name}.{key}", value) for key, value in optimizer.state[parameter].items())


def _make_state(objective: Objective, optimizer: torch.optim.Optimizer, stored: dict[str, Any]) -> None:
    """Give a new optimizer, which makes its state at its first step, the tensors that a checkpoint is read into."""
    on_device = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
    parameters = dict(objective.named_parameters())
    for key, entry in stored.items():
        name, _, part = key.removeprefix(OPTIMIZER).rpartition(".")
        if not key.startswith(OPTIMIZER) or name not in parameters or not isinstance(entry, TensorStorageMetadata):
            continue
        parameter, dtype = parameters[name].detach(), entry.properties.dtype
        if part != "step" and entry.size == parameter.shape:
            state = torch.zeros_like(parameter, dtype=dtype)
        else:
            state = torch.zeros(entry.size, dtype=dtype, device=parameter.device if on_device else "cpu")
        optimizer.state[parameters[name]][part] = state


class _Checked(pickle.Unpickler):
    """Lets nothing but descriptions of tensors through: a checkpoint from elsewhere must not run code.

    `torch.distributed.checkpoint` pickles `.metadata`, and reads it without such a check; the shards are read with
    `weights_only`.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The class of this name, or `UnpicklingError`."""
        found = None
        if "." not in name:
            found = super().find_class(module, name)
        described = module in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
        if described and isinstance(found, type) and found.__module__ == module:
            return found
        if module == "torch" and (found is torch.Size or isinstance(found, torch.dtype)):
            return found
        if (module, name) == ("torch.serialization", "_get_layout"):
            return found
        if module in ("pathlib", "pathlib._local") and name in ("PosixPath", "WindowsPath"):
            return found
        raise pickle.UnpicklingError(f"{module}.{name}")


def agree(world: World, error: UserError | None) -> None:
    """Raise the first rank's error on every rank, if any has one: nobody waits for a rank that is gone. Collective."""
    told = world.gather(None if error is None else [error.what, error.where, error.fix])
    for what, where, fix in filter(None, told):
        raise UserError(what, where=where, fix=fix)


def to_disk(folder: Path) -> None:
    """Make a folder and the files in it outlive a loss of power."""
    for path in (*(p for p in sorted(folder.iterdir()) if p.is_file()), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _clean(folder: Path) -> UserError | None:
    """Make the folder, and remove from it what a kill left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".step-*.tmp"):
            shutil.rmtree(left)
    except OSError as error:
        where = str(error.filename or folder)
        return UserError(error.strerror or "cannot be written", where=where, fix="name another --out")
    return None


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _told(error: CheckpointException, path: Path) -> Exception:
    """The first rank's failure to save, for people; one of our own making as the bug that it is."""
    rank, (cause, _) = min(error.failures.items())
    if isinstance(cause, OSError):
        fix = "free some space, or name another --out; older checkpoints are as before"
        return UserError(f"{cause.strerror or cause} (rank {rank})", where=str(path), fix=fix)
    bug = RuntimeError(f"checkpoint {path}, rank {rank}: {type(cause).__name__}: {cause}")
    bug.__cause__ = cause
    return bug


def _alone() -> bool:
    """Whether there is no process group, which torch would warn of at each call: it is what we mean."""
    if dist.is_initialized():
        return False
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
    return True
