"""The page for blind judging: a small server that keeps every vote before it says so.

Nothing that it sends names a model, a file or an item: answers stand on the left and on the right, and a pair is
known by a signature. A person's link (`/a/TOKEN/`) is their key; without links there is one annotator, `local`, on
this machine alone. A vote is taken only from the page itself: same origin, and a signature that only the page has.
"""

import json
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from caravan.errors import UserError
from caravan.eval.human import links
from caravan.eval.human.markup import shown
from caravan.eval.human.store import Judgement, Store, begin
from caravan.eval.pairs import read_pairs
from caravan.terminal import Progress, out

LOCAL = "local"
SECRET = "secret"
REASONS = ("", "invalid", "hard")
LARGEST = 64 * 1024  # bytes of a vote
LONGEST = 4000  # characters of a comment
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
ASSETS = {"app.js": "text/javascript", "style.css": "text/css"}


class _Refusal(Exception):  # noqa: N818
    """A request that gets no: the status, and the reason in plain words."""

    def __init__(self, status: int, why: str) -> None:
        self.status, self.why = status, why


@dataclass(frozen=True)
class _Study:
    """What the handlers need: the store, its secret, and who may come in without a link."""

    store: Store
    secret: bytes
    open_to: str | None
    hosts: frozenset[str]

    def annotator(self, request: Request) -> str:
        """Who is asking; refused without a right link, where one is needed."""
        given = request.path_params.get("token")
        name = self.open_to if given is None else links.holder(self.secret, given)
        if given is None and request.url.hostname not in self.hosts:  # a stranger's name that was made to point here
            name = None
        if name is None or name not in dict(self.store.annotators()):
            raise _Refusal(403, "This page needs your own link. Open the one that you were sent, whole.")
        return name

    def place(self, request: Request) -> int:
        """The place that a path names."""
        return min(int(request.path_params["place"]), 2**62)  # SQLite knows no larger one

    def pair(self, name: str, place: int) -> str:
        """What the page knows a pair by."""
        return links.sign(self.secret, "pair", f"{place} {name}")

    def form(self, name: str) -> str:
        """What a vote must carry: only the page has it."""
        return links.sign(self.secret, "form", name)


def app(store: Store, *, open_to: str | None = None, host: str = "127.0.0.1") -> Starlette:
    """The application over an open store. `open_to`: the annotator who needs no link, under a loopback `host`."""
    hosts = frozenset({"127.0.0.1", "localhost", "::1", host})
    study = _Study(store, links.secret(store.folder / SECRET), open_to, hosts)
    routes = [Route(f"/{name}", partial(_asset, name)) for name in ASSETS]
    for root in ("", "/a/{token}"):
        routes += [
            Route(f"{root}/", partial(_guarded, study, _page)),
            Route(f"{root}/progress", partial(_guarded, study, _progress)),
            Route(f"{root}/pair/{{place:int}}", partial(_guarded, study, _pair)),
            Route(f"{root}/pair/{{place:int}}", partial(_guarded, study, _vote), methods=["POST"]),
        ]
    return Starlette(routes=routes)


Handler = Callable[[_Study, Request, str], Awaitable[Response]]


async def _guarded(study: _Study, handler: Handler, request: Request) -> Response:
    try:
        response = await handler(study, request, study.annotator(request))
    except _Refusal as refused:
        response = Response(refused.why, refused.status, media_type="text/plain")
    response.headers.update(HEADERS)
    return response


async def _asset(name: str, _: Request) -> Response:
    return Response((files("caravan.eval.human") / name).read_bytes(), media_type=ASSETS[name], headers=HEADERS)


async def _page(study: _Study, request: Request, name: str) -> Response:
    page = Markup((files("caravan.eval.human") / "page.html").read_text(encoding="utf-8"))
    root = "../../" if "token" in request.path_params else ""
    return Response(page.format(root=root, name=name, form=study.form(name)), media_type="text/html")


async def _progress(study: _Study, _: Request, name: str) -> Response:
    return JSONResponse({"said": study.store.progress(name)})


async def _pair(study: _Study, request: Request, name: str) -> Response:
    place = study.place(request)
    found = study.store.shown(name, place)
    if found is None:
        raise _Refusal(404, "There is no such pair.")
    slot, pair = found
    both = (pair.a, pair.b) if slot.left == "A" else (pair.b, pair.a)
    latest = study.store.latest(name, place)
    answers = [{"html": shown(text), "text": text} for text in both]
    said = None if latest is None else asdict(latest)
    return JSONResponse(
        {"pair": study.pair(name, place), "prompt": pair.prompt, "answers": answers, "said": said},
    )


async def _vote(study: _Study, request: Request, name: str) -> Response:
    _same_origin(request)
    place = study.place(request)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise _Refusal(413, "The vote is too large.")
    try:
        given = json.loads(body)
        key, said = _key(given), _judgement(given)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise _Refusal(400, "The vote is not complete.") from None
    if given.get("form") != study.form(name) or given.get("pair") != study.pair(name, place):
        raise _Refusal(409, "This page belongs to another study, or is out of date. Load it again.")
    if study.store.shown(name, place) is None:
        raise _Refusal(404, "There is no such pair.")
    study.store.add(key, name, place, said)
    return JSONResponse({"said": study.store.progress(name)})


def _same_origin(request: Request) -> None:
    """Refuse a vote that another page sent. Browsers name the origin of every POST, and scripts cannot forge it."""
    origin = request.headers.get("origin", "")
    if origin.partition("://")[2] != request.headers.get("host") or request.headers.get(
        "sec-fetch-site", "same-origin"
    ) not in ("same-origin", "none"):
        raise _Refusal(403, "Votes are taken from the page itself only.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refusal(415, "A vote is JSON.")


def _key(given: dict[str, Any]) -> str:
    key = given["key"]
    if not isinstance(key, str) or not 8 <= len(key) <= 64:
        raise ValueError(key)
    return key


def _judgement(given: dict[str, Any]) -> Judgement:
    """A vote as it came, checked; what is not whole raises."""
    reason, comment, seconds = given["reason"], given["comment"], float(given["seconds"])
    if reason not in REASONS or not isinstance(comment, str) or not math.isfinite(seconds):
        raise ValueError(reason)
    comment = comment.encode("utf-16", "surrogatepass").decode("utf-16", "replace")[:LONGEST]
    seconds = min(max(seconds, 0.0), 86400.0)
    if reason:
        return Judgement(None, None, None, reason, comment, seconds)
    preference, left_ok, right_ok = given["preference"], given["left_ok"], given["right_ok"]
    if type(preference) is not int or not -2 <= preference <= 2 or {type(left_ok), type(right_ok)} != {bool}:
        raise ValueError(preference)
    return Judgement(preference, left_ok, right_ok, "", comment, seconds)


def serve(
    a: Path,
    b: Path,
    *,
    store: Path,
    annotators: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8321,
    data_dir: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Serve the page until it is interrupted; the links are printed on standard output.

    `annotators` are names, or NAME:GROUP; those invited to this store before keep their links. Without any, one person
    on this machine judges as `local`. On another host than loopback everybody needs a link. `port` 0 takes a free one.
    """
    import uvicorn

    progress = progress or Progress()
    pairs = read_pairs(a, b, data_dir)
    for note in pairs.notes:
        progress.warn(note)
    opened = begin(store, pairs)
    try:
        loopback = _is_loopback(host)
        open_to = _invited(opened, annotators, loopback)
        with _listen(host, port) as listening:
            address = f"http://{_named(host)}:{listening.getsockname()[1]}"
            progress.say(f"{len(pairs.pairs):,} pairs to judge; votes are kept in {store}; stop with Ctrl-C")
            if not loopback:
                progress.warn("texts and votes cross the network unencrypted: put a proxy with TLS before this page")
            key = links.secret(store / SECRET)
            for name, _ in opened.annotators():
                own = "" if name == open_to else f"a/{links.token(key, name)}/"
                out(f"{name}  {address}/{own}")
            config = uvicorn.Config(
                app(opened, open_to=open_to, host=host),
                log_level="warning",
                access_log=False,  # paths hold the links
                server_header=False,
                timeout_graceful_shutdown=3,
            )
            with suppress(KeyboardInterrupt):  # how it is meant to be stopped
                uvicorn.Server(config).run(sockets=[listening])
            progress.say("stopped; every vote is kept")
    finally:
        opened.close()


def _invited(store: Store, annotators: Sequence[str], loopback: bool) -> str | None:
    """Invite people; the name of the one who needs no link, if there is one."""
    for text in annotators:
        name, _, team = (part.strip() for part in text.partition(":"))
        if not name or len(name) > 60 or len(team) > 60 or not (name + team).isprintable():
            raise UserError(f"not a name: {text!r}", fix="write NAME or NAME:GROUP, of at most 60 characters each")
        if name == LOCAL:
            raise UserError(f"{LOCAL!r} is who judges without a link", fix="choose another name")
        store.invite(name, team)
    others = [name for name, _ in store.annotators() if name != LOCAL]
    if not loopback and not others:
        raise UserError("nobody is invited", fix="name the people who may come in: --annotator NAME")
    if others and not any(name == LOCAL for name, _ in store.annotators()):
        return None
    if loopback:
        store.invite(LOCAL, "")
        return LOCAL
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _named(host: str) -> str:
    """The host as a link names it."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        what = f"cannot listen on port {port} ({error.strerror})"
        raise UserError(what, where=host, fix="choose another with --port") from None
