"""Small runs and logs of our own, in the layouts of this program, inspect_ai and lm-eval."""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from caravan.eval.items import SCHEMA

Score = float | None


def own_run(
    folder: Path,
    scores: Mapping[str, Sequence[Score]],
    *,
    model: str = "oak-7b",
    ids: Sequence[str] | None = None,
    prompt: str = "p",
    scores_file: Sequence[Mapping[str, Any]] | None = (),
    metrics: Mapping[str, Sequence[float]] | None = None,
    **columns: Any,
) -> Path:
    """A run's folder: for each group its items' scores; None is an item that failed."""
    rows, number = [], 0
    for group, values in scores.items():
        for value in values:
            named = {"accuracy": value, **{name: own[number] for name, own in (metrics or {}).items()}}
            row = {
                "benchmark": "towns",
                "variant": "5-shot",
                "protocol": "strict",
                "id": ids[number] if ids else f"{group}/{number}",
                "group": group,
                "cluster": "",
                "status": "failed" if value is None else "scored",
                "extracted": "A" if value else "B",
                "score": value,
                "metrics": [{"name": k, "value": v} for k, v in named.items() if v is not None],
                "prompt_hash": f"{prompt}{number}",
            }
            rows.append(row | {k: v[number] if isinstance(v, list) else v for k, v in columns.items()})
            number += 1
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "items.parquet")
    if scores_file is not None:
        (folder / "scores.json").write_text(json.dumps({"model": model, "scores": list(scores_file)}))
    return folder


def sample(
    own_id: int | str, value: Any = "C", *, epoch: int = 1, scorer: str = "match", **more: Any
) -> dict[str, Any]:
    """A sample of inspect_ai with one score."""
    scores = {scorer: {"value": value, "answer": "the answer", "explanation": "why"}}
    base = {"id": own_id, "epoch": epoch, "input": f"question {own_id}", "target": "yes", "scores": scores}
    asked = {"role": "user", "content": f"question {own_id}", "id": "xyz"}
    return base | {"messages": [asked, {"role": "assistant", "content": "yes"}]} | more


def header(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The header of a log of inspect_ai, which publishes `metrics` of the scorer `match`."""
    published = {name: {"name": name, "value": value, "params": {}} for name, value in metrics.items()}
    whole = {
        "version": 2,
        "status": "success",
        "eval": {
            "task": "rivers",
            "model": "elm/elm-2",
            "dataset": {"samples": 100, "sample_ids": [s["id"] for s in samples]},
            "config": {"epochs": 1},
        },
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(samples),
            "scores": [{"name": "match", "scorer": "match", "metrics": published}],
        },
    }
    return whole | more


def json_log(path: Path, head: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Path:
    """A log in its JSON form."""
    path.write_text(json.dumps({**head, "samples": list(samples)}))
    return path


def eval_log(
    path: Path, head: Mapping[str, Any] | None, samples: Sequence[Mapping[str, Any]], *, large: bool = False
) -> Path:
    """A log as an archive; `large` gives samples a folder of their own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": {"task": "rivers", "model": "elm"}}))
        for one in samples:
            name = f"samples/{one['id']}_epoch_{one['epoch']}"
            archive.writestr(f"{name}/sample.json" if large else f"{name}.json", json.dumps(one))
        if large:
            archive.writestr("samples/1_epoch_1/messages/0.json", "[]")
        if head is not None:
            archive.writestr("header.json", json.dumps(head))
    return path


def zstd_log(path: Path, members: Mapping[str, bytes]) -> Path:
    """An archive whose members are packed with Zstandard, put together by hand as this Python cannot."""
    body, directory = b"", b""
    for name, data in members.items():
        packed, own = zstandard.compress(data), name.encode()
        common = (20).to_bytes(2, "little") + bytes(2) + (93).to_bytes(2, "little") + bytes(4)
        common += zlib.crc32(data).to_bytes(4, "little")
        common += len(packed).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        common += len(own).to_bytes(2, "little")
        directory += b"PK\x01\x02" + (20).to_bytes(2, "little") + common + bytes(12) + len(body).to_bytes(4, "little")
        directory += own
        extra = b"\x99\x99\x04\x00abcd"
        body += b"PK\x03\x04" + common + len(extra).to_bytes(2, "little") + own + extra + packed
    end = b"PK\x05\x06" + bytes(4) + 2 * len(members).to_bytes(2, "little")
    end += len(directory).to_bytes(4, "little") + len(body).to_bytes(4, "little") + bytes(2)
    path.write_bytes(body + directory + end)
    return path


DATE = "2031-04-05T06-07-08.123456"


def line(doc: int, used: str = "none", **values: Any) -> dict[str, Any]:
    """A sample of lm-eval."""
    base = {
        "doc_id": doc,
        "doc": {"question": f"q{doc}"},
        "target": "x",
        "arguments": {"gen_args_0": {"arg_0": f"p{doc}"}},
    }
    base |= {"resps": [["out"]], "filtered_resps": ["out"], "filter": used, "metrics": list(values)}
    return base | {"doc_hash": f"d{doc}", "prompt_hash": f"p{doc}", "target_hash": "t"} | values


def lm_eval(
    folder: Path,
    tasks: Mapping[str, Sequence[Mapping[str, Any]]],
    published: Mapping[str, Mapping[str, Any]],
    *,
    model: str = "fir/fir-3b",
    date: str = DATE,
    counts: Mapping[str, int] | None = None,
    **more: Any,
) -> Path:
    """A folder of lm-eval with samples of each task and a results file."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, lines in tasks.items():
        text = "".join(json.dumps(one) + "\n" for one in lines)
        (folder / f"samples_{task}_{date}.jsonl").write_text(text)
    docs = {task: len({one["doc_id"] for one in lines}) for task, lines in tasks.items()} | dict(counts or {})
    told = {
        "results": published,
        "configs": {},
        "n-samples": {task: {"original": 1000, "effective": n} for task, n in docs.items()},
        "model_name": model,
    }
    (folder / f"results_{date}.json").write_text(json.dumps(told | more))
    return folder
