import asyncio
import io
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.models.client import Client, Endpoint, Failed, Sampling, opened
from caravan.eval.models.reply import Malformed, Reply, read_reply
from caravan.eval.models.side_by_side import side_by_side
from fake_server import Answers, Asked, FakeServer, Fault, Said

T = TypeVar("T")
KEY = "sk-caravan-0123456789abcdef"
HELLO = [{"role": "user", "content": "Which river runs through Basel?"}]
SHORT = Sampling(16)


def endpoint(server: FakeServer, **changes: Any) -> Endpoint:
    return Endpoint(server.url, "small-1b", **({"timeout": 5.0, "pause": 0.001, "retries": 3} | changes))


def ask(there: Endpoint, call: Callable[[Client], Awaitable[T]], **how: Any) -> T:
    async def go() -> T:
        async with opened(there, **how) as client:
            return await call(client)

    return asyncio.run(go())


def chat(answer: Answers, **changes: Any) -> tuple[Reply, list[Asked]]:
    with FakeServer(answer) as server:
        return ask(endpoint(server, **changes), lambda c: c.chat(HELLO, SHORT)), server.seen


def test_a_chat_is_asked_as_the_protocol_has_it() -> None:
    with FakeServer(lambda _: Said("The Rhine.", "length", {"The": -0.1, " The": -3.0})) as server:
        sampling = Sampling(7, 0.8, 0.95, ("\n",), 12, top=20)
        reply = ask(endpoint(server), lambda c: c.chat(HELLO, sampling))
    assert reply == Reply("The Rhine.", "length", (("The", -0.1), (" The", -3.0)), 100, 5)
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "small-1b",
        "messages": HELLO,
        "max_tokens": 7,
        "temperature": 0.8,
        "top_p": 0.95,
        "stop": ["\n"],
        "seed": 12,
        "logprobs": True,
        "top_logprobs": 20,
    }


def test_plain_completions_take_text_or_ids() -> None:
    with FakeServer(lambda _: Said(" A", top={" A": -0.2, " B": -1.9})) as server:
        text = ask(endpoint(server), lambda c: c.complete("Answer:", Sampling(1, top=20)))
        ids = ask(endpoint(server), lambda c: c.complete([1, 5, 7], SHORT))
    assert text.top == ((" A", -0.2), (" B", -1.9))
    assert ids.top == ()
    assert [s.path for s in server.seen] == ["/v1/completions"] * 2
    assert server.seen[0].body == {
        "model": "small-1b",
        "prompt": "Answer:",
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 20,
    }
    assert server.seen[1].body["prompt"] == [1, 5, 7]


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (408, 409, 425, 429, 500, 502, 503, 529)),
        Fault("closed"),
        Fault("cut"),
        Fault(status=200, body="<html>busy</html>"),
        Fault(status=200, body="[1]"),
        Fault(status=200, body='{"choices": []}'),
        Fault(status=200, body='{"choices": [{"message": {"content": 5}}]}'),
        Fault(status=200, body='{"error": {"code": 502, "message": "upstream"}}'),
        Fault(status=200, body="[" * 100_000),
    ],
)
def test_what_may_pass_is_tried_again(fault: Fault) -> None:
    reply, seen = chat(lambda asked: fault if asked.times < 2 else "The Rhine.")
    assert reply.text == "The Rhine."
    assert len(seen) == 3


def test_a_stall_is_given_up_and_tried_again() -> None:
    reply, seen = chat(lambda asked: Fault("stall") if not asked.times else "The Rhine.", timeout=0.2)
    assert (reply.text, len(seen)) == ("The Rhine.", 2)


def test_what_does_not_pass_fails_with_its_reason() -> None:
    with FakeServer(lambda _: Fault(status=503)) as server, pytest.raises(Failed, match=r"503: out of order, 4 times"):
        ask(endpoint(server), lambda c: c.chat(HELLO, SHORT))
    assert len(server.seen) == 4


def test_nobody_there() -> None:
    with FakeServer(lambda _: "") as server:
        gone = endpoint(server, retries=1)
    with pytest.raises(Failed, match="cannot be reached, 2 times"):
        ask(gone, lambda c: c.chat(HELLO, SHORT))


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 405, 413, 422])
def test_a_refusal_is_final_and_one_line(status: int) -> None:
    fault = Fault(status=status, headers={"Location": "http://127.0.0.1:1/"}, body='{"error": "no\\nsuch model"}')
    with FakeServer(lambda _: fault) as server, pytest.raises(UserError, match=f"{status}.*no such model") as caught:
        ask(endpoint(server), lambda c: c.chat(HELLO, SHORT))
    assert len(server.seen) == 1
    assert server.url in caught.value.where
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_spent_quota_is_not_waited_for() -> None:
    body = '{"error": {"code": "insufficient_quota", "message": "no credit"}}'
    with FakeServer(lambda _: Fault(status=429, body=body)) as server, pytest.raises(UserError, match="quota is spent"):
        ask(endpoint(server), lambda c: c.chat(HELLO, SHORT))
    assert len(server.seen) == 1


def test_a_refusal_among_answers_is_the_requests_own() -> None:
    def answer(asked: Asked) -> str | Fault:
        return Fault(status=400, body='{"message": "the prompt is too long"}') if "long" in asked.prompt else "ok"

    async def one(client: Client, text: str) -> str:
        try:
            return (await client.chat([{"role": "user", "content": text}], SHORT)).text
        except Failed as error:
            return str(error)

    with FakeServer(answer) as server:
        found = [r for some in side_by_side(endpoint(server), ["a", "long", "b"], one) for r in some]
        assert dict(found) == {"a": "ok", "b": "ok", "long": "refused (400): the prompt is too long"}
        with pytest.raises(UserError, match="the request is refused"):
            list(side_by_side(endpoint(server), ["long 1", "long 2"], one))
        ((_, again),) = next(side_by_side(endpoint(server), ["long 3"], one, proven=True))
    assert again.startswith("refused")


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_honoured_by_all_requests(date: bool) -> None:
    times: list[float] = []
    after = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if date else "0.5"

    def answer(asked: Asked) -> str | Fault:
        times.append(time.monotonic())
        return Fault(status=429, headers={"Retry-After": after}) if not asked.number else "ok"

    async def one(client: Client, text: str) -> str:
        return (await client.chat([{"role": "user", "content": text}], SHORT)).text

    with FakeServer(answer) as server:
        found = [r for some in side_by_side(endpoint(server, concurrency=1), ["a", "b"], one) for r in some]
    assert found == [("a", "ok"), ("b", "ok")]
    assert times[1] - times[0] >= 0.45


@pytest.mark.parametrize("after", ["soon", "-5", "nan", "", "Fri, 99 Foo"])
def test_a_retry_after_of_nonsense_does_no_harm(after: str) -> None:
    fault = Fault(status=503, headers={"Retry-After": after})
    assert chat(lambda asked: fault if not asked.times else "ok")[0].text == "ok"


def test_models_that_think_are_asked_in_their_own_way() -> None:
    def answer(asked: Asked) -> str | Fault:
        for name in ("max_tokens", "temperature"):
            if name in asked.body:
                error = {"code": "unsupported_parameter", "param": name, "message": f"no {name} here"}
                return Fault(status=400, body=json.dumps({"error": error}))
        return f"at most {asked.body['max_completion_tokens']}"

    changes: list[str] = []

    async def twice(client: Client) -> list[str]:
        replies = await asyncio.gather(client.chat(HELLO, SHORT), client.chat(HELLO, Sampling(17)))
        changes.extend(client.changes)
        return [reply.text for reply in replies]

    with FakeServer(answer) as server:
        assert ask(endpoint(server), twice) == ["at most 16", "at most 17"]
    assert len(changes) == 2
    assert "temperature" in changes[1]


def test_never_more_at_once_than_allowed_and_all_of_them_answered() -> None:
    async def one(client: Client, number: int) -> int:
        return int((await client.chat([{"role": "user", "content": str(number)}], SHORT)).text)

    with FakeServer(lambda asked: Said(asked.prompt, seconds=0.01)) as server:
        found = [r for some in side_by_side(endpoint(server, concurrency=3), range(40), one) for r in some]
    assert sorted(found) == [(n, n) for n in range(40)]
    assert server.most_at_once == 3
    assert len(server.seen) == 40


def test_what_was_finished_comes_before_the_error() -> None:
    async def one(client: Client, number: int) -> str:
        return (await client.chat([{"role": "user", "content": str(number)}], SHORT)).text

    with FakeServer(lambda asked: Fault(status=403) if asked.prompt == "7" else asked.prompt) as server:
        found: list[tuple[int, str]] = []
        with pytest.raises(UserError, match="403"):
            for some in side_by_side(endpoint(server, concurrency=1), range(20), one):
                found += some
    assert found == [(n, str(n)) for n in range(7)]


def test_an_iterator_that_is_closed_ends_its_requests() -> None:
    async def one(client: Client, number: int) -> str:
        return (await client.chat([{"role": "user", "content": str(number)}], SHORT)).text

    before = threading.active_count()
    with FakeServer(lambda asked: "ok" if asked.prompt == "0" else Fault("stall")) as server:
        iterator = side_by_side(endpoint(server, timeout=60.0), range(1000), one)
        assert next(iterator) == [(0, "ok")]
        iterator.close()  # type: ignore[attr-defined]
        assert len(server.seen) < 20
    assert threading.active_count() == before


def test_it_works_where_a_loop_is_running() -> None:
    async def one(client: Client, number: int) -> str:
        return (await client.chat([{"role": "user", "content": str(number)}], SHORT)).text

    async def notebook() -> list[tuple[int, str]]:
        return [r for some in side_by_side(endpoint(server), [1], one) for r in some]

    with FakeServer(lambda asked: asked.prompt) as server:
        assert asyncio.run(notebook()) == [(1, "1")]


def test_a_server_that_stops_answering_ends_the_work() -> None:
    async def one(client: Client, number: int) -> str:
        try:
            return (await client.chat([{"role": "user", "content": str(number)}], SHORT)).text
        except Failed:
            return "failed"

    with FakeServer(lambda asked: "ok" if asked.number < 5 else Fault("closed")) as server:
        found: list[str] = []
        with pytest.raises(UserError, match=r"stopped answering.*goes on"):
            for some in side_by_side(endpoint(server, retries=1, concurrency=2), range(500), one):
                found += [r for _, r in some]
    assert found.count("ok") == 5
    assert len(server.seen) < 50


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host/v1", "http://", "http://host:99999/v1", "http://[::1/v1"],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UserError, match="no http"):
        Endpoint(url, "m")


@pytest.mark.parametrize("url", ["https://me:secret@host/v1", "https://host/v1?key=secret", "https://host/v1#secret"])
def test_an_address_with_a_secret_is_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        Endpoint(url, "m")
    assert "secret" not in str(caught.value)


def test_one_spelling_for_one_address() -> None:
    assert Endpoint("http://LocalHost:80/v1/", "m").label == Endpoint("http://localhost:80/v1", "m").label


class Everything(logging.Handler):
    """All that anything logs, at any level."""

    def __init__(self) -> None:
        super().__init__(0)
        self.text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.text.write(f"{record.getMessage()} {record.args}\n")


def test_the_key_is_sent_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, which knows it, repeats it in its errors."""
    monkeypatch.setenv("JUDGE_KEY", KEY + "\n")
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    found: list[str] = []
    try:
        for status in (400, 401, 404, 500):
            body = json.dumps({"error": {"message": f"not with {KEY}"}})
            with FakeServer(lambda _, s=status, b=body: Fault(status=s, body=b)) as server:  # type: ignore[misc]
                there = endpoint(server, key_env="JUDGE_KEY", retries=0)
                with pytest.raises((UserError, Failed)) as caught:
                    ask(there, lambda c: c.chat(HELLO, SHORT))
                found += [str(caught.value), repr(caught.value), repr(there)]
            assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
        with FakeServer(lambda _: "ok") as server:
            found.append(ask(endpoint(server, key_env="JUDGE_KEY"), _repr))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "[key]" in found[0]
    assert len(handler.text.getvalue()) > 100
    assert KEY not in "".join(found) + handler.text.getvalue()


async def _repr(client: Client) -> str:
    return f"{client!r} {vars(client)['_seen']!r} {(await client.chat(HELLO, SHORT))!r}"


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    _, (seen,) = chat(lambda _: "ok")
    assert "authorization" not in seen.headers
    with pytest.raises(UserError, match="set OPENAI_API_KEY"):
        chat(lambda _: Fault(status=401))


def test_a_key_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret\nvalue")
    with pytest.raises(UserError, match=r"\$OPENAI_API_KEY") as caught:
        chat(lambda _: "ok")
    assert "secret" not in str(caught.value)


def test_no_proxy_stands_between_us_and_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert chat(lambda _: "ok")[0].text == "ok"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "text", "logprobs", "top_logprobs", "token", "logprob"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.booleans())
def test_whatever_comes_is_a_reply_or_malformed(value: Any, chat: bool, top: bool) -> None:
    for body in (
        value,
        {"choices": [value]},
        {"choices": [{"text": "x", "message": {"content": "x"}, "logprobs": value}]},
    ):
        try:
            reply = read_reply(json.dumps(body).encode(), chat=chat, top=top)
        except Malformed:
            continue
        reply.text.encode()
        assert all(p <= 0 for _, p in reply.top)
        assert bool(reply.top) == top


def test_the_forms_in_which_servers_say_it() -> None:
    parts = {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]}
    nothing = {"choices": [{"message": {"content": None}, "finish_reason": "length"}], "usage": {"prompt_tokens": True}}
    half = b'{"choices": [{"message": {"content": "\\ud83d half"}}]}'
    content = [{"token": "A", "logprob": -0.5, "top_logprobs": [{"token": "B", "logprob": None}]}]
    new = {"choices": [{"text": "A", "logprobs": {"content": content}}]}
    assert read_reply(json.dumps(parts).encode(), chat=True, top=False).text == "ab"
    assert read_reply(json.dumps(nothing).encode(), chat=True, top=False) == Reply("", "length")
    assert read_reply(half, chat=True, top=False).text == "\ufffd half"
    assert read_reply(json.dumps(new).encode(), chat=False, top=True).top == (("A", -0.5),)
