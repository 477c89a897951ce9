"""Data sets from a hub on the loopback address, spoken to by the real libraries; and frames from memory."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caravan.converters.schema import RawRow
from caravan.curate.hub import fetch, frame_input
from caravan.curate.read import expand, read
from caravan.errors import UserError

TOKEN = "hf_do_not_print_this_token"
ROWS: list[Any] = [
    {"instruction": "Name a port.", "output": "Leixões"},
    {"instruction": "And an inn?", "output": "The Lion"},
]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
READ_ALL = """
import json, sys
from caravan.curate import hub
from caravan.curate.read import expand, read
from caravan.errors import UserError
for name in sys.argv[1:]:
    try:
        if name.startswith("download:"):
            folder = hub.download(name.removeprefix("download:"))
            print(json.dumps(sorted(p.name for p in folder.iterdir())))
        else:
            (one,) = expand(name, "source x")
            print(json.dumps([one.name, [item.value for item in read(one)]]))
    except UserError as error:
        print(json.dumps(str(error)))
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


class Hub:
    """Repositories by name: their files, or the status and error code that refuses them."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.behaviour = ""  # of the file transfer: stall, die, die once
        self.requests: list[str] = []
        self.tokens = set[str]()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def commit(self, repository: str) -> str:
        """As git: another one when the files are others."""
        return hashlib.sha1(repr(sorted(self.files[repository].items())).encode()).hexdigest()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.requests.append(f"{request.command} {path}")
        self.tokens.add(request.headers.get("Authorization", ""))
        parts = path.removeprefix("/api").strip("/").split("/")
        repository, rest = "/".join(parts[1:3]), parts[3:]
        if parts[0] != "datasets":
            send(request, 500, b"")
        elif repository in self.refused:
            status, code = self.refused[repository]
            send(request, status, b"{}", {"X-Error-Code": code})
        elif repository not in self.files:
            send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif rest[1:] and rest[1] not in ("main", self.commit(repository)):
            send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif rest[:1] == ["resolve"]:
            self.send_file(request, repository, "/".join(rest[2:]))
        elif rest[:1] == ["tree"]:
            send_json(request, tree(self.files[repository], "/".join(rest[2:])))
        else:
            names = [{"rfilename": name} for name in self.files[repository]]
            send_json(request, {"id": repository, "sha": self.commit(repository), "siblings": names, "tags": []})

    def send_file(self, request: BaseHTTPRequestHandler, repository: str, name: str) -> None:
        data = self.files[repository].get(name)
        commit = {"X-Repo-Commit": self.commit(repository)}
        if data is None:
            send(request, 404, b"", commit | {"X-Error-Code": "EntryNotFound"})
            return
        headers = commit | {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        if request.command == "HEAD" or not name.endswith((".jsonl", ".parquet")) or not self.behaviour:
            start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            send(request, 206 if start else 200, data[start:], headers)
            return
        half = len(data) // 2
        send(request, 200, data[:half], headers | {"Content-Length": str(len(data))})
        request.wfile.flush()
        if self.behaviour == "stall":
            time.sleep(30)
        if self.behaviour == "die once":
            self.behaviour = ""
        if self.behaviour == "die":
            threading.Thread(target=self.close, daemon=True).start()
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def tree(files: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    below = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    found: list[dict[str, Any]] = [
        {"type": "directory", "path": prefix + name, "oid": "0" * 40, "size": 0}
        for name in sorted({name.partition("/")[0] for name in below if "/" in name})
    ]
    return found + [
        {"type": "file", "path": prefix + name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in below.items()
        if "/" not in name
    ]


def send_json(request: BaseHTTPRequestHandler, value: Any) -> None:
    send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def send(request: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[Hub]:
    one = Hub()
    one.files["harbour/lines"] = {"README.md": b"# Lines\n", "data.jsonl": LINES}
    yield one
    one.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, url: str, *names: str, **environment: str) -> list[Any]:
    """What each name gives: [name, rows], a list of files, or the text of a `UserError`. Nothing else is printed."""
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home / "hf"),
        "CARAVAN_CACHE": str(home / "cache"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
    }
    code = [sys.executable, "-c", READ_ALL, *names]
    env = {"PATH": os.environ["PATH"], "HOME": str(home)} | settings | environment
    done = subprocess.run(code, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    assert TOKEN not in done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_rows_are_fetched_once_and_stay(hub: Hub, home: Path) -> None:
    name = "hub:harbour/lines"
    pinned = f"{name}@{hub.commit('harbour/lines')}:default/train"
    assert run(home, hub.url, name, name, pinned) == [[name, ROWS], [name, ROWS], [pinned, ROWS]]
    assert f"Bearer {TOKEN}" in hub.tokens
    assert {request.split("/")[1] for request in hub.requests} == {"api", "datasets"}
    assert sum(request.startswith("GET") and request.endswith("data.jsonl") for request in hub.requests) == 1
    hub.files["harbour/lines"]["data.jsonl"] = LINES + LINES
    assert run(home, hub.url, name, pinned) == [[name, ROWS * 2], [pinned, ROWS]]
    hub.close()
    dead = run(home, hub.url, name, pinned)
    assert "the hub does not answer (" in dead[0]
    assert dead[0].endswith("; try again later; HF_HUB_OFFLINE=1 uses what was fetched before")
    assert dead[1] == [pinned, ROWS]  # a commit does not change
    assert run(home, hub.url, name, "hub:harbour/other", HF_HUB_OFFLINE="1") == [
        [name, ROWS * 2],
        "source x: hub:harbour/other: not fetched before, and HF_HUB_OFFLINE is set; fetch it once with a network",
    ]


def test_configurations_and_splits(hub: Hub, home: Path) -> None:
    card = {"configs": [{"config_name": c, "data_files": f"{c}/*.parquet"} for c in ("sea", "land")]}
    hub.files["harbour/two"] = {
        "README.md": f"---\n{json.dumps(card)}\n---\n".encode(),
        "sea/train.parquet": parquet(ROWS[:1]),
        "land/train.parquet": parquet(ROWS[1:]),
    }
    hub.files["harbour/split"] = {"train.jsonl": LINES, "test.jsonl": LINES[: LINES.index(b"\n") + 1]}
    found = run(
        home,
        hub.url,
        "hub:harbour/two:sea",
        "hub:harbour/two@main:land/train",
        "hub:harbour/split/test",
        "hub:harbour/two",
        "hub:harbour/two:air",
        "hub:harbour/split/dev",
        "download:harbour/split",
    )
    assert found[:3] == [
        ["hub:harbour/two:sea", ROWS[:1]],
        ["hub:harbour/two@main:land/train", ROWS[1:]],
        ["hub:harbour/split/test", ROWS[:1]],
    ]
    for error, config in (
        (found[3], "hub:harbour/two: Config"),
        (found[4], "hub:harbour/two:air: BuilderConfig 'air'"),
    ):
        assert error.startswith(f"source x: {config}")
        assert "'sea'" in error
        assert "'land'" in error
        assert error.endswith("write hub:OWNER/NAME[@REVISION][:CONFIG][/SPLIT]")
    assert "Unknown split \"dev\". Should be one of ['train', 'test']" in found[5]
    assert found[6] == ["test.jsonl", "train.jsonl"]


def test_what_the_hub_refuses_is_one_line(hub: Hub, home: Path) -> None:
    hub.refused |= {
        "harbour/gated": (401, "GatedRepo"),
        "harbour/asked": (403, "GatedRepo"),
        "harbour/shut": (403, ""),
        "harbour/ill": (500, ""),
    }
    hub.files["harbour/code"] = {"code.py": b"raise SystemExit('run')\n", "code.jsonl": LINES}
    hub.files["harbour/broken"] = {"a.jsonl": b'{"a": 1}\n{"a": \n'}
    hub.files["harbour/bare"] = {"README.md": b"# Nothing\n"}
    names = ["none", "gated", "asked", "shut", "ill", "code", "broken", "bare", "lines@v9"]
    found = run(home, hub.url, *[f"hub:harbour/{name}" for name in names])
    errors = dict(zip(names, found, strict=True))
    assert all(isinstance(e, str) and e.startswith(f"source x: hub:harbour/{n}: ") for n, e in errors.items()), errors
    assert errors["none"].endswith("no such data set on the hub; check OWNER/NAME; if it is private, set HF_TOKEN")
    assert "gives access on request; ask for it at http://127.0.0.1" in errors["gated"]
    assert "gives access on request; ask for it at http://127.0.0.1" in errors["asked"]
    assert "the hub refuses access (403); set HF_TOKEN" in errors["shut"]
    assert "the hub does not answer (" in errors["ill"]
    assert "scripts are no longer supported" in errors["code"]
    assert errors["broken"].endswith("; download its files and give their paths")
    assert "no data files" in errors["bare"]
    assert "no revision 'v9'; see its branches and tags at" in errors["lines@v9"]
    assert not list((home / "cache/hub").iterdir())


@pytest.mark.slow
def test_a_transfer_that_breaks_goes_on_where_it_broke(hub: Hub, home: Path) -> None:
    hub.files["harbour/lines"]["data.jsonl"] = LINES * 1000
    hub.behaviour = "die once"
    assert run(home, hub.url, "hub:harbour/lines") == [["hub:harbour/lines", ROWS * 1000]]


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["stall", "die"])
def test_a_hub_that_fails_in_the_middle_of_a_file(hub: Hub, home: Path, behaviour: str) -> None:
    hub.behaviour = behaviour
    (error,) = run(home, hub.url, "hub:harbour/lines")
    assert "hub:harbour/lines: the hub does not answer (" in error
    assert not list((home / "cache/hub").iterdir())


@pytest.mark.parametrize(
    "name", ["hub:", "hub:lima", "hub:a/b/c/d", "hub:a/b@", "hub:a/b@x/y:z", "hub:a/b:", "hub:a/b c", "hub:a/b/-"]
)
def test_names_of_another_form_are_refused_without_a_request(name: str) -> None:
    with pytest.raises(UserError, match="not of the form hub:OWNER/NAME"):
        expand(name)


def test_frames_are_written_by_content() -> None:
    import datasets

    table = pa.Table.from_pylist(ROWS)
    inputs = [
        frame_input("harbour", pl.DataFrame(ROWS)),
        frame_input("harbour", table),
        frame_input("harbour", table.replace_schema_metadata({"made": "by hand"})),
        frame_input("harbour", datasets.Dataset.from_list([{"instruction": "", "output": ""}, *ROWS]).select([1, 2])),
    ]
    for one in inputs:
        assert one.name == "frame:harbour"
        assert list(read(one)) == [RawRow(1, ROWS[0]), RawRow(2, ROWS[1])]
    assert len({one.path for one in inputs[1:]}) == 1
    assert frame_input("harbour", pl.DataFrame(ROWS[:1])).path != inputs[0].path
    with pytest.raises(UserError, match="a list is no frame"):
        frame_input("harbour", ROWS)


def test_fetch_names_the_place_of_a_wrong_name() -> None:
    with pytest.raises(UserError) as caught:
        fetch("hub:lima", "source lima")
    assert caught.value.where == "source lima"
