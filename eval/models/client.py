"""A thin client of OpenAI-compatible servers (vLLM, SGLang, llama.cpp, hosted ones): what evaluate asks, no more.

Tried again, with growing pauses: 408, 409, 425, 429, 5xx, a request that takes longer than `timeout`, a connection
that breaks, a reply that is not what it should be. `Retry-After` is honoured, by all requests of the client. Every
other refusal is final. Two kinds of errors come out:

- `Failed`: this request got no answer; others may.
- `UserError`: no request can succeed. The key or the model is not known there (401, 402, 403, 404), the quota is spent,
  nothing was ever answered, or the server has stopped answering.

The key is read from an environment variable when the client opens. It is sent to the endpoint alone (redirects are
not followed), and is in no text, error or `repr` of ours.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from caravan.errors import UserError
from caravan.eval.models.reply import Malformed, Reply, read_reply

AGAIN = {408, 409, 425, 429}  # and 500 to 599
HOPELESS = {401, 402, 403, 404}
LONGEST_PAUSE = 60.0  # seconds, unless the server itself asks for more
LONGEST_WAIT = 600.0  # what a server may ask for
LARGEST_REPLY = 32 << 20  # bytes
ENOUGH = 8  # requests that fail one after another, before a server counts as gone

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
AUTHORIZATION = "Authorization"


class Failed(Exception):  # noqa: N818
    """A request got no answer."""


class _Again(Exception):  # noqa: N818
    """A try failed in a way that may pass; `after`: seconds that the server asks to wait.

    `charged`: the server may have answered, and charged for it, before it failed.
    """

    def __init__(self, what: str, *, after: float = 0.0, charged: bool = False) -> None:
        self.after, self.charged = after, charged
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a server. `url` goes up to and with `/v1`; `key_env` names the variable that holds the key.

    `concurrency` requests run at a time. A try may take `timeout` seconds; it is followed by at most `retries` others,
    the first after about `pause` seconds, each later one after twice as long. Raises `UserError` for an address that is
    none, or that holds a password or a query, where keys are easily left.
    """

    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 600.0
    retries: int = 8
    pause: float = 0.5

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise UserError("the address is no http(s)://HOST/v1", where="--url", fix="check it")
        if "@" in parts.netloc or parts.query or parts.fragment:
            fix = f"take it out; a key is read from the environment variable {self.key_env}"
            raise UserError("the address holds a user name, a query or a fragment", where="--url", fix=fix)
        if not self.model:
            raise UserError("no model is named", fix="give the name by which the server knows it")
        if self.concurrency < 1 or self.retries < 0 or not (self.timeout > 0 and self.pause >= 0):
            raise UserError("concurrency, timeout and retries must be above nought", where="endpoint")

    @property
    def label(self) -> str:
        """The address in one spelling, for cache keys and manifests."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. `top`: so many likeliest first tokens are wanted, with their log-probabilities."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top: int = 0

    def body(self) -> dict[str, Any]:
        """The fields that both kinds of request share."""
        body: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        if self.top_p != 1.0:
            body["top_p"] = self.top_p
        if self.stop:
            body["stop"] = list(self.stop)
        if self.seed is not None:
            body["seed"] = self.seed
        return body


@dataclass(slots=True)
class _State:
    """What a client has seen of its server."""

    answered: int = 0
    refused: int = 0
    failed_in_a_row: int = 0
    resume_at: float = 0.0  # monotonic: nobody asks before
    changes: set[str] = field(default_factory=set)


@asynccontextmanager
async def opened(endpoint: Endpoint, *, enough: int = 1, proven: bool = False) -> AsyncIterator["Client"]:
    """A client, closed at the end of the block. `enough` and `proven`: see `Client`."""
    # Through a proxy of the environment nothing on this machine is meant to go.
    host = urlsplit(endpoint.url).hostname
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(endpoint.timeout),
        limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
        trust_env=host not in LOOPBACK,
    ) as http:
        yield Client(endpoint, http, read_key(endpoint.key_env), enough=enough, proven=proven)


def read_key(name: str) -> str:
    """The key in an environment variable, "" without one; `UserError` (which does not show it) if it is none."""
    value = os.environ.get(name, "").strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UserError("holds no key: spaces or characters that no header can carry", where=f"${name}", fix="set it")
    return value


class Client:
    """Asks one endpoint. A refusal (400) is a `UserError` once `enough` requests were refused and none was answered.

    `proven`: requests of this kind were answered before, so that a refusal is the request's own.
    """

    def __init__(
        self, endpoint: Endpoint, http: httpx.AsyncClient, key: str, *, enough: int = 1, proven: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._http, self._key = http, key
        self._enough, self._seen = enough, _State(answered=int(proven))

    def __repr__(self) -> str:
        return f"Client({self.endpoint.label!r}, {self.endpoint.model!r})"

    @property
    def changes(self) -> list[str]:
        """What the server made us ask in another way, such as without a temperature."""
        return sorted(self._seen.changes)

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Sampling,
        charged: Callable[[], None] = lambda: None,
    ) -> Reply:
        """An answer to a conversation. `charged` is called for each failed try that may cost money all the same."""
        body = {"model": self.endpoint.model, "messages": list(messages), **sampling.body()}
        if sampling.top:
            body |= {"logprobs": True, "top_logprobs": sampling.top}
        return await self._ask("/chat/completions", body, charged)

    async def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Reply:
        """What follows a text, or tokens by their ids."""
        asked = prompt if isinstance(prompt, str) else list(prompt)
        body = {"model": self.endpoint.model, "prompt": asked, **sampling.body()}
        if sampling.top:
            body["logprobs"] = sampling.top
        return await self._ask("/completions", body)

    async def models(self) -> list[dict[str, Any]] | None:
        """What the server says of its models; None where it does not tell. `Failed` if it cannot be reached."""
        try:
            response = await self._http.get(f"{self.endpoint.label}/models", headers=self._headers())
            if response.status_code in (401, 403):
                self._hopeless(response.status_code, self._said(response.content))
            found = response.json()["data"] if response.status_code == httpx.codes.OK else None
        except httpx.HTTPError as error:
            raise Failed(type(error).__name__) from None
        except (ValueError, LookupError, TypeError):
            return None
        return [m for m in found if isinstance(m, dict)] if isinstance(found, list) else None

    async def _ask(self, path: str, body: dict[str, Any], charged: Callable[[], None] = lambda: None) -> Reply:
        tried = 0
        while True:
            await self._wait()
            try:
                reply = await self._try(path, self._changed(body))
            except _Again as error:
                if error.charged:
                    charged()
                if tried >= self.endpoint.retries:
                    self._gone(str(error))
                await self._pause(body, tried, error.after)
                tried += 1
                continue
            if reply is not None:
                self._seen.answered += 1
                self._seen.failed_in_a_row = 0
                return reply

    async def _try(self, path: str, body: dict[str, Any]) -> Reply | None:
        """One request; None when it should be asked again in another way, at once."""
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                status, headers, content = await self._send(path, body)
        except TimeoutError:
            raise _Again(f"no answer within {self.endpoint.timeout:g} s", charged=True) from None
        except httpx.ConnectError:
            raise _Again("the server cannot be reached") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _Again(f"the connection broke ({type(error).__name__})", charged=True) from None
        if status == httpx.codes.OK:
            try:
                return read_reply(content, chat=path.startswith("/chat"), top="logprobs" in body)
            except Malformed as error:
                raise _Again(self._clean(f"a reply that is none: {error}"), charged=True) from None
        said = self._said(content)
        if status == httpx.codes.TOO_MANY_REQUESTS and b"insufficient_quota" in content:
            raise UserError(f"the quota is spent: {said}", where=self.endpoint.label, fix="see to the account")
        if status in AGAIN or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise _Again(f"{status}: {said}", after=_retry_after(headers.get("retry-after", "")))
        if status in HOPELESS or status < httpx.codes.BAD_REQUEST:
            self._hopeless(status, said)
        if not self._may_change(body, content):
            self._refuse(status, said)
        return None

    async def _send(self, path: str, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        data, content = json.dumps(body).encode(), bytearray()
        headers = {"Content-Type": "application/json", **self._headers()}
        url = self.endpoint.label + path
        async with self._http.stream("POST", url, content=data, headers=headers) as response:
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > LARGEST_REPLY:
                    raise _Again("a reply without end", charged=True)
        return response.status_code, response.headers, bytes(content)

    def _headers(self) -> dict[str, str]:
        return {AUTHORIZATION: f"Bearer {self._key}"} if self._key else {}

    async def _wait(self) -> None:
        while (left := self._seen.resume_at - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _pause(self, body: dict[str, Any], tried: int, after: float) -> None:
        """Twice as long each time, less up to a half that hangs on the request: not all come back at once."""
        if after:
            self._seen.resume_at = max(self._seen.resume_at, time.monotonic() + after)
        whole = min(self.endpoint.pause * 2**tried, LONGEST_PAUSE)
        spread = blake2b(f"{tried} {body}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
        await asyncio.sleep(whole * (0.5 + int.from_bytes(spread) / 2**33))

    # Models that think refuse `max_tokens`, which they call otherwise, and any temperature but their own.
    def _may_change(self, body: dict[str, Any], content: bytes) -> bool:
        for name, change in CHANGES.items():
            if name in body and _parameter(content) == name:
                self._seen.changes.add(change)
                return True
        return False

    def _changed(self, body: dict[str, Any]) -> dict[str, Any]:
        changed = dict(body)
        if CHANGES["max_tokens"] in self._seen.changes:
            changed["max_completion_tokens"] = changed.pop("max_tokens")
        if CHANGES["temperature"] in self._seen.changes:
            changed.pop("temperature")
        return changed

    def _hopeless(self, status: int, said: str) -> NoReturn:
        if status in (401, 403):
            have = f"set {self.endpoint.key_env}" if not self._key else f"check the key in {self.endpoint.key_env}"
            raise UserError(f"the server answers {status}: {said}", where=self.endpoint.label, fix=have)
        fix = f"check the address, which goes up to and with /v1, and the model's name {self.endpoint.model!r}"
        if status == httpx.codes.PAYMENT_REQUIRED:
            fix = "see to the account"
        raise UserError(f"the server answers {status}: {said}", where=self.endpoint.label, fix=fix)

    def _refuse(self, status: int, said: str) -> NoReturn:
        self._seen.refused += 1
        what = f"refused ({status}): {said}"
        if not self._seen.answered and self._seen.refused >= self._enough:
            raise UserError(f"the request is {what}", where=self.endpoint.label, fix="see what the server takes")
        raise Failed(what)

    def _gone(self, what: str) -> NoReturn:
        self._seen.failed_in_a_row += 1
        what = f"{what}, {self.endpoint.retries + 1} times"
        if self._seen.failed_in_a_row >= ENOUGH:
            fix = "see to the server, then run the same command again: it goes on"
            raise UserError(f"the server has stopped answering: {what}", where=self.endpoint.label, fix=fix)
        raise Failed(what)

    def _said(self, content: bytes) -> str:
        """The message in an error's body."""
        text = content[:20_000].decode("utf-8", "replace")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return self._clean(text)
        error = value.get("error", value) if isinstance(value, dict) else value
        for name in ("message", "detail"):
            if isinstance(error, dict) and isinstance(error.get(name), str):
                return self._clean(error[name])
        return self._clean(error if isinstance(error, str) else text)

    def _clean(self, text: str) -> str:
        """A server's words, on one line and cut short, without the key, which some servers repeat."""
        text = text.replace(self._key, "[key]") if self._key else text
        return " ".join(text.split())[:300] or "nothing said"


CHANGES = {
    "max_tokens": "max_completion_tokens in place of max_tokens",
    "temperature": "no temperature, which the server refuses",
}


def _parameter(content: bytes) -> str:
    """The parameter that an error names as the one that is not taken."""
    try:
        error = json.loads(content)["error"]
        code, name = error.get("code"), error.get("param")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""
    return name if code in ("unsupported_parameter", "unsupported_value") and isinstance(name, str) else ""


def _retry_after(value: str) -> float:
    """Seconds to wait, of a header that holds seconds or a date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else 0.0
