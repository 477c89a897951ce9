"""Logs of inspect_ai: `.eval` archives and their JSON form, versions 1 to 3.

An archive holds `header.json` (`_journal/start.json` alone while the run goes on) and a member for each sample and
epoch, `samples/ID_epoch_N.json`, or `samples/ID_epoch_N/sample.json` for large ones. A sample has scores by scorer,
whose value is a letter, a number, a truth value, a list or an object of these; NaN says that it was not scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval.comparing.reading import Archive, digest, json_file, mapping, number, plain, whole
from caravan.eval.comparing.runs import NO_SCORE, Figure, Row, Run, Table, checked, frame_of, joined, sample_stderr

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # correct, incorrect, partly correct, no answer
WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
GROUPS = ("subject", "category", "task", "language", "topic", "subset")  # names that tasks give to what groups items
VERSIONS = (1, 2, 3)
HEADER, START = "header.json", "_journal/start.json"


@dataclass(frozen=True)
class Log:
    """The parts of a log: its header, one sample after another, and why its figures cannot stand for its items."""

    path: Path
    header: Mapping[str, Any]
    samples: Sequence[Mapping[str, Any]]
    notes: list[str]


def read(path: Path) -> Run:
    """The run in one log."""
    log = _opened(path)
    spec = mapping(log.header.get("eval"))
    task = plain(spec.get("task") or "task")
    scored = _scored(log)
    tables, repeated = _tables(task, _about(spec), scored)
    notes = [f"{task}: {note}" for note in log.notes]
    if repeated:
        notes.append(f"{task}: samples that repeat an id and epoch: {repeated:,}; the first counts")
    figures = [figure for table in tables for figure in _figures(log, table)]
    return Run(plain(spec.get("model") or path.stem), "inspect_ai", str(path), tables, figures, notes)


def read_folder(path: Path) -> Run:
    """The logs in a folder, one run of one model."""
    archives = sorted(one for one in path.rglob("*.eval") if one.is_file())
    logs = archives or sorted(one for one in path.rglob("*.json") if one.is_file() and _is_log(one))
    if not logs:
        what = "no log of inspect_ai here, and no samples of lm-eval"
        raise UserError(what, where=str(path), fix="run lm-eval with --log_samples")
    return joined([read(one) for one in logs], path)


def _is_log(path: Path) -> bool:
    try:
        value = json_file(path)
    except UserError:  # somebody else's file in the same folder
        return False
    return isinstance(value, dict) and isinstance(value.get("eval"), dict)


def _opened(path: Path) -> Log:
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if not packed and path.suffix == ".eval":
        raise UserError("not a zip archive, which an .eval log is", where=str(path), fix="copy the log again, whole")
    header, samples = _unpacked(path) if packed else _whole(path)
    if not isinstance(header.get("eval"), dict):
        raise UserError("no 'eval' in its header: not a log of inspect_ai", where=str(path))
    notes = []
    if header.get("version") not in VERSIONS:
        notes.append(f"the log is of version {plain(header.get('version'))}, which is not known; read as version 3")
    if reason := _cut(header, samples):
        notes.append(reason)
    return Log(path, header, samples, notes)


def _unpacked(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    archive = Archive(path)
    try:
        name = next((name for name in (HEADER, START) if name in archive.names), None)
        if name is None:
            raise UserError(f"no {HEADER} in it: not a log of inspect_ai, or one cut off", where=str(path))
        header = mapping(archive.json(name))
        samples = [
            _needed(mapping(archive.json(name)))
            for name in archive.names
            if name.startswith("samples/") and (name.count("/") == 1 or name.endswith("/sample.json"))
        ]
    finally:
        archive.close()
    return header, samples


def _whole(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    value = mapping(json_file(path))
    samples = value.get("samples")
    return value, [_needed(mapping(one)) for one in samples] if isinstance(samples, list) else []


def _needed(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is kept of a sample: without the messages and events, which are nearly all of it."""
    messages = sample.get("messages")
    asked = []
    for message in messages if isinstance(messages, list) else []:
        if mapping(message).get("role") == "assistant":
            break
        asked.append([mapping(message).get("role"), mapping(message).get("content")])
    scores = sample.get("scores")
    if scores is None and isinstance(sample.get("score"), dict):  # version 1
        scores = {"score": sample["score"]}
    metadata = mapping(sample.get("metadata"))
    return {
        "id": plain(sample.get("id")),
        "epoch": whole(sample.get("epoch")) or 1,
        "scores": mapping(scores),
        "failed": sample.get("error") is not None,
        "group": next((plain(metadata[key]) for key in GROUPS if isinstance(metadata.get(key), str)), ""),
        "prompt": digest(asked) if asked else "",
        "data": digest([sample.get("input"), sample.get("choices"), sample.get("target")]),
    }


def _cut(header: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> str:
    """Why the log's figures cannot be held against its items; "" where they can."""
    results = mapping(header.get("results"))
    status = header.get("status", "started")
    completed = whole(results.get("completed_samples"))
    valid = sum(not sample["failed"] for sample in samples)
    if not samples:
        return "the log keeps no samples"
    if status != "success":
        told = {"cancelled": "was cancelled", "error": "ended in an error", "started": "had not ended"}
        of = f" of {total:,}" if (total := _asked(header)) else ""
        return f"the run {told.get(str(status), 'did not succeed')}: {len(samples):,}{of} samples are in the log"
    if header.get("invalidated") is True:
        return "the log was marked as invalid"
    if completed is not None and completed != valid:
        return f"its figures are of {completed:,} samples, but {valid:,} are in the log"
    return ""


def _asked(header: Mapping[str, Any]) -> int | None:
    spec = mapping(header.get("eval"))
    dataset, config = mapping(spec.get("dataset")), mapping(spec.get("config"))
    ids = dataset.get("sample_ids")
    n = len(ids) if isinstance(ids, list) else whole(dataset.get("samples"))
    return None if n is None else n * (whole(config.get("epochs")) or 1)


def _about(spec: Mapping[str, Any]) -> dict[str, str]:
    dataset, config = mapping(spec.get("dataset")), mapping(spec.get("config"))
    told = {
        "version": spec.get("task_version"),
        "data": dataset.get("name") or dataset.get("location"),
        "task arguments": spec.get("task_args") or None,
        "solver": spec.get("solver"),
        "epochs": config.get("epochs"),
    }
    return {name: plain(value, 80) for name, value in told.items() if value is not None}


Values = dict[str, dict[str, list[tuple[Mapping[str, Any], float | None, str]]]]


def _scored(log: Log) -> Values:
    """By metric, by id: the sample of each epoch with its value and answer."""
    parts = [(sample, list(_values(sample["scores"]))) for sample in log.samples]
    found: Values = {name: {} for _, values in parts for name, _, _ in values}
    for sample, values in parts:
        own = {name: (value, answer) for name, value, answer in values}
        for name, by_id in found.items():
            value, answer = own.get(name, (None, ""))
            by_id.setdefault(sample["id"], []).append((sample, None if sample["failed"] else value, answer))
    return found


def _values(scores: Mapping[str, Any]) -> Iterator[tuple[str, float | None, str]]:
    """Each value of a sample: the scorer's name, or SCORER/KEY where its value is an object or a list."""
    for name, score in scores.items():
        value, answer = mapping(score).get("value"), plain(mapping(score).get("answer"), 60)
        if isinstance(value, (dict, list)):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((plain(f"{name}/{key}"), as_number(one), answer) for key, one in pairs)
        else:
            yield plain(name), as_number(value), answer


def as_number(value: Any) -> float | None:
    """The number that a score's value stands for; None where it stands for none."""
    if not isinstance(value, str):
        return number(value)
    known = LETTERS.get(value, WORDS.get(value.lower()))
    if known is not None:
        return known
    try:
        return number(float(value))
    except ValueError:
        return None


def _tables(task: str, about: Mapping[str, str], scored: Values) -> tuple[list[Table], int]:
    tables, repeats = [], 0
    for position, (metric, by_id) in enumerate(scored.items()):
        rows, repeated = [], 0
        for own_id, epochs in by_id.items():
            first = {sample["epoch"]: (sample, value, answer) for sample, value, answer in reversed(epochs)}
            repeated += len(epochs) - len(first)
            rows.append(_row(own_id, [first[epoch] for epoch in sorted(first)]))
        frame, _ = frame_of(sorted(rows, key=_natural))
        scorer = metric.partition("/")[0]
        headline = not any(other.partition("/")[0] == scorer for other in list(scored)[:position])
        tables.append(Table(task, "", metric, frame, headline, about=about))
        repeats = max(repeats, repeated)
    return tables, repeats


def _row(own_id: str, epochs: Sequence[tuple[Mapping[str, Any], float | None, str]]) -> Row:
    """The item: the mean over its epochs that have a value."""
    sample, _, answer = epochs[0]
    values = [value for _, value, _ in epochs if value is not None]
    status = "scored" if values else "failed" if all(one["failed"] for one, _, _ in epochs) else NO_SCORE
    mean = sum(values) / len(values) if values else None
    return Row(own_id, sample["group"], "", mean, status, answer, sample["prompt"], sample["data"])


def _natural(row: Row) -> tuple[int, int, str]:
    return (0, int(row.id), row.id) if row.id.isdecimal() and len(row.id) < 19 else (1, 0, row.id)


def _figures(log: Log, table: Table) -> Iterator[Figure]:
    """Means and standard errors that the log publishes for a table."""
    values = table.frame["score"].drop_nulls().to_numpy()
    without = len(table.frame) - len(values)
    for score in _published(log.header, table.metric):
        for name, one in mapping(score.get("metrics")).items():
            what = f"{table.benchmark} {table.metric} {plain(name)}"
            metric, kind = mapping(one), plain(name).rpartition("/")[2]
            published = number(metric.get("value"))
            recomputed = None
            if len(values) and kind in ("accuracy", "mean"):
                recomputed = float(values.mean())
            elif len(values) and kind == "stderr":
                recomputed = sample_stderr(values) or 0.0  # inspect_ai prints 0 for a single sample
            refused = _cut(log.header, log.samples) or _no_mean(log, score, metric, kind)
            figure = checked(what, published, recomputed, refused)
            if figure.verdict == "differs" and without:
                figure = checked(what, published, recomputed, f"samples without a value here: {without:,}")
            yield figure


def _no_mean(log: Log, score: Mapping[str, Any], metric: Mapping[str, Any], kind: str) -> str:
    """Why a figure is not the mean of the items, or its standard error; "" where it is."""
    config = mapping(mapping(log.header.get("eval")).get("config"))
    params = mapping(metric.get("params") or metric.get("options"))
    if kind not in ("accuracy", "mean", "stderr") or metric.get("group") or params.get("cluster"):
        return "no plain mean of the items, nor its standard error"
    reducer = score.get("reducer")
    if any(sample["epoch"] > 1 for sample in log.samples):
        if reducer is None and config.get("epochs_reducer") == []:
            return "epochs count as items of their own in it"
        if reducer not in (None, "mean"):
            return f"epochs are put together by {plain(reducer)}"
    return ""


def _published(header: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
    """The header's scores for a table: of the scorer, or of one key of its values."""
    results = mapping(header.get("results"))
    scores = results.get("scores")
    if not isinstance(scores, list):  # version 1
        name = mapping(results.get("scorer")).get("name")
        return [results] if name is not None and metric in ("score", name) else []
    scorer, _, key = metric.partition("/")
    found = [mapping(score) for score in scores]
    own = [score for score in found if score.get("scorer") == scorer and score.get("name") == (key or scorer)]
    return own or [score for score in found if score.get("name") in (metric, scorer if not key else None)]
