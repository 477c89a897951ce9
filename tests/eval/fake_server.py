"""A real OpenAI-compatible server on loopback, for tests: it says what a function of yours tells it to, or misbehaves.

    with FakeServer(lambda asked: "Paris") as server:
        ...ask server.url...
    assert len(server.seen) == 1

The function gets each request as an `Asked` and gives a text, a `Said` (with how it ended, token counts, the likeliest
first tokens), or a `Fault`. `asked.times` counts earlier requests of the same body, so that faults which pass are
`Fault(...) if asked.times < 2 else "Paris"`. It is called in the server's thread, one request at a time.
"""

import asyncio
import gc
import json
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Asked:
    """A request: `number` counts all from 0, `times` those before it with the same path and body."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    number: int
    times: int

    @property
    def prompt(self) -> str:
        """The text asked: the prompt, or the last message of a chat."""
        if "messages" in self.body:
            return str(self.body["messages"][-1]["content"])
        return str(self.body.get("prompt", ""))


@dataclass(frozen=True)
class Said:
    """An answer. `top` are the first token's candidates (natural log-probabilities), sent when they were asked for."""

    text: str
    finish: str = "stop"
    top: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int | None = 100
    answer_tokens: int | None = 5
    seconds: float = 0.0  # it takes so long to say it


@dataclass(frozen=True)
class Fault:
    """What goes wrong: an HTTP `status` with a body, a `stall` without end, the connection `closed` before the answer
    or `cut` in the middle of it, or a body of your own that need be no JSON (`status` 200)."""

    kind: Literal["status", "stall", "closed", "cut"] = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "out of order"}}'


Answers = Callable[[Asked], "str | Said | Fault"]


class FakeServer:
    """Serves from a thread of its own until the block ends. `answered` are numbers of requests answered to the end."""

    def __init__(self, answer: Answers, *, models: list[dict[str, Any]] | None = None) -> None:
        self._answer, self._models = answer, models
        self.seen: list[Asked] = []
        self.answered: list[int] = []
        self.most_at_once = 0
        self._now = 0
        self._times: Counter[str] = Counter()
        self._port = 0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """The address, up to and with /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop = None
        with warnings.catch_warnings():  # a client that was killed may leave a socket that asyncio never handed on
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 26)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        await asyncio.sleep(0.01)  # who was accepted last is a task then
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # transports close their sockets in the loop's next rounds

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in head[1:] if line)}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "GET":
            found = self._models is not None and path == "/v1/models"
            await _send(writer, 200 if found else 404, json.dumps({"object": "list", "data": self._models}))
            return True
        same = path + content.decode()
        asked = Asked(path, headers, json.loads(content), len(self.seen), self._times[same])
        self._times[same] += 1
        self.seen.append(asked)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._say(asked, self._answer(asked), writer)
        finally:
            self._now -= 1

    async def _say(self, asked: Asked, said: str | Said | Fault, writer: asyncio.StreamWriter) -> bool:
        if isinstance(said, Fault):
            if said.kind == "stall":
                await asyncio.sleep(3600)
            if said.kind == "cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b'{"choices": [')
                await writer.drain()
            if said.kind != "status":
                return False
            await _send(writer, said.status, said.body, said.headers)
            return True
        said = Said(said) if isinstance(said, str) else said
        if said.seconds:
            await asyncio.sleep(said.seconds)
        await _send(writer, 200, json.dumps(_body(asked, said)))
        self.answered.append(asked.number)
        return True


def _body(asked: Asked, said: Said) -> dict[str, Any]:
    chat = asked.path.endswith("/chat/completions")
    choice: dict[str, Any] = {"index": 0, "finish_reason": said.finish}
    if chat:
        choice["message"] = {"role": "assistant", "content": said.text}
        if asked.body.get("logprobs"):
            top = [{"token": t, "logprob": p} for t, p in said.top.items()][: asked.body["top_logprobs"]]
            choice["logprobs"] = {"content": [{"token": said.text, "logprob": -1.0, "top_logprobs": top}]}
            choice["logprobs"]["content"][0] |= top[0] if top else {}
    else:
        choice["text"] = said.text
        if asked.body.get("logprobs"):
            choice["logprobs"] = {"top_logprobs": [dict(list(said.top.items())[: asked.body["logprobs"]])]}
    usage = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.answer_tokens}
    return {"object": "chat.completion" if chat else "text_completion", "choices": [choice], "usage": usage}


async def _send(writer: asyncio.StreamWriter, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
    data = body.encode("utf-8", "surrogatepass")
    lines = [f"HTTP/1.1 {status} -", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)
    await writer.drain()
