"""Data sets from the hub, and frames from memory, as Parquet files in the cache that `read` takes.

    hub:OWNER/NAME[@REVISION][:CONFIG][/SPLIT]

REVISION is a branch, tag or commit without a slash, or one of the hub's own `refs/pr/N` and `refs/convert/parquet`
(default: the newest commit of main); CONFIG a configuration of the data set (default: its only or default one);
SPLIT a split (default: train). The `datasets` library fetches and parses, and so `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`
and `HF_HUB_OFFLINE` count as everywhere. Code that a data set brings along is never run.

What was fetched stays: a commit's rows are written once. Without a network, `HF_HUB_OFFLINE=1` gives what was fetched
last under the same name.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

import pyarrow as pa

from caravan.cache import cache_folder, file_sha256, key, written_aside
from caravan.curate.input import Input
from caravan.curate.shards import write_table
from caravan.errors import UserError

if TYPE_CHECKING:
    import datasets
    import polars

Frame = Union["polars.DataFrame", pa.Table, "datasets.Dataset"]

_FORM = "hub:OWNER/NAME[@REVISION][:CONFIG][/SPLIT]"
_SPEC = re.compile(
    r"hub:(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[\w.-]+|[\w.-]+))?"
    r"(?::(?P<config>[^/:@]+))?"
    r"(?:/(?P<split>\w[\w.-]*))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")
_OFFLINE = "HF_HUB_OFFLINE=1 uses what was fetched before"


class _Spec(NamedTuple):
    name: str
    repository: str
    revision: str | None
    config: str | None
    split: str


def fetch(name: str, where: str = "") -> Input:
    """One split of a data set on the hub as a Parquet file in the cache, fetched if it is not there yet.

    `where` names the place that holds the name, for errors. Raises `UserError` for a name of another form, when the
    hub does not answer, and when it does not know or give the data set, revision, configuration or split.
    """
    found = _SPEC.fullmatch(name)
    if found is None:
        raise UserError(f"{name}: not of the form {_FORM}", where=where, fix="write, for example, hub:GAIR/lima")
    spec = _Spec(name, found["repository"], found["revision"], found["config"], found["split"] or "train")
    folder = cache_folder() / "hub"
    folder.mkdir(exist_ok=True)
    latest = folder / f"{key(*spec[1:])}.latest"
    before = folder / latest.read_text() if latest.exists() else None
    if before is not None and before.exists() and _COMMIT.fullmatch(spec.revision or ""):
        return Input(before, name)
    with _library(spec, where):
        commit = _commit(spec)
        if commit is None and before is not None and before.exists():
            return Input(before, name)
        path = folder / f"{key(spec.repository, commit, spec.config, spec.split)}.parquet"
        if commit is None or not path.exists():
            _load(spec, commit, path)
        if commit is not None:
            with written_aside(latest) as aside:
                aside.write_text(path.name)
    return Input(path, name)


def download(repository: str, where: str = "") -> Path:
    """All files of a data set repository (OWNER/NAME) in a folder, as published. Raises `UserError` as `fetch` does."""
    spec = _Spec(f"hub:{repository}", repository, None, None, "")
    with _library(spec, where):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, repo_type="dataset", revision=_commit(spec)))


def frame_input(name: str, data: Frame) -> Input:
    """A frame of raw rows as a Parquet file in the cache, named by its content; reports call it `frame:NAME`."""
    folder = cache_folder() / "frames"
    folder.mkdir(exist_ok=True)
    draft = folder / f".{os.getpid()}-{key(name)}.parquet"
    try:
        write_table(_table(name, data), draft)
        path = folder / f"{file_sha256(draft)[:32]}.parquet"
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return Input(path, f"frame:{name}")


def _table(name: str, data: Frame) -> pa.Table:
    """Any of the three as an Arrow table; what is not imported cannot be the type of `data`."""
    polars, datasets = sys.modules.get("polars"), sys.modules.get("datasets")
    if isinstance(data, pa.Table):
        table = data
    elif polars is not None and isinstance(data, polars.DataFrame):
        table = data.to_arrow()
    elif datasets is not None and isinstance(data, datasets.Dataset):
        table = data.with_format("arrow")[:]
    else:
        raise UserError(
            f"a {type(data).__name__} is no frame",
            where=f"frame:{name}",
            fix="give a polars.DataFrame, a pyarrow.Table or a datasets.Dataset",
        )
    return table.replace_schema_metadata(None)


def _commit(spec: _Spec) -> str | None:
    """The commit that a revision means now; None when the library is told to stay offline."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(spec.repository, revision=spec.revision, timeout=10).sha
    except OfflineModeIsEnabled:
        return None


def _load(spec: _Spec, commit: str | None, path: Path) -> None:
    import datasets

    rows = datasets.load_dataset(spec.repository, spec.config, split=spec.split, revision=commit or spec.revision)
    with written_aside(path) as aside:
        rows.to_parquet(str(aside))


@contextmanager
def _library(spec: _Spec, where: str) -> Iterator[None]:
    """Use the hub's libraries: without telemetry and chatter, and with their errors in one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with _quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # they raise their own, httpx's, fsspec's, Arrow's and plain ones
        raise _explained(error, spec, where) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the libraries, and progress bars on a terminal alone; afterwards all as it was."""
    import datasets
    import huggingface_hub
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    with ExitStack() as after:
        for logger, level in ((datasets.logging, logging.CRITICAL), (huggingface_hub.logging, logging.ERROR)):
            after.callback(logger.set_verbosity, logger.get_verbosity())
            logger.set_verbosity(level)
        if not sys.stderr.isatty() and not datasets.are_progress_bars_disabled():
            after.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        if not sys.stderr.isatty() and not are_progress_bars_disabled():
            after.callback(enable_progress_bars)
            disable_progress_bars()
        yield


def _explained(error: Exception, spec: _Spec, where: str) -> UserError:
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/datasets/{spec.repository}"
    said = str(_root(error)).partition("Example of usage")[0]
    brief = " ".join(said.split())[:300] or type(_root(error)).__name__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.GatedRepoError) or (isinstance(error, DatasetNotFoundError) and "gated" in str(error)):
        what, fix = "its publisher gives access on request", f"ask for it at {page}, then set HF_TOKEN"
    elif isinstance(error, errors.RevisionNotFoundError):
        what, fix = f"no revision {spec.revision!r}", f"see its branches and tags at {page}"
    elif isinstance(error, errors.RepositoryNotFoundError | DatasetNotFoundError):
        what, fix = "no such data set on the hub", "check OWNER/NAME; if it is private, set HF_TOKEN"
    elif isinstance(error, DataFilesNotFoundError | EmptyDatasetError):
        what, fix = "no data files that the datasets library reads", f"look at {page}; give the files by their paths"
    elif isinstance(error, errors.OfflineModeIsEnabled) or constants.is_offline_mode():
        what, fix = "not fetched before, and HF_HUB_OFFLINE is set", "fetch it once with a network"
    elif status in (401, 403):
        what, fix = f"the hub refuses access ({status})", "set HF_TOKEN to a token that may read it"
    elif status or isinstance(_root(error), OSError) or type(_root(error)).__module__.startswith(("httpx", "httpcore")):
        what, fix = f"the hub does not answer ({brief})", f"try again later; {_OFFLINE}"
    elif isinstance(error, ValueError) and ("split" in brief or "config" in brief.lower()):  # these list the known
        what, fix = brief.rstrip("."), f"write {_FORM}"
    else:
        what, fix = f"the datasets library cannot read it ({brief})", "download its files and give their paths"
    return UserError(f"{spec.name}: {what}", where=where, fix=fix)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
