import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from caravan.errors import UserError
from caravan.eval.human import links
from caravan.eval.human.server import LARGEST, app, serve
from caravan.eval.human.store import Judgement, Store, begin, open_store
from caravan.eval.pairs import read_pairs
from human_made import MODELS, outputs, served

HERE = "http://127.0.0.1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = begin(tmp_path / "store", read_pairs(*outputs(tmp_path)))
    for name in ("local", "Ada", "Ben"):
        opened.invite(name, "")
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(app(store, open_to="local"), base_url=HERE) as found:
        yield found


def root(store: Store, name: str) -> str:
    return f"/a/{links.token(links.secret(store.folder / 'secret'), name)}/"


def vote(client: TestClient, path: str, place: int, **changes: Any) -> Any:
    """Vote as the page does, with changes."""
    page = client.get(path).text
    form = page.split('name="form" content="')[1].split('"')[0]
    body = {
        "pair": client.get(f"{path}pair/{place}").json()["pair"],
        "form": form,
        "key": f"key-{place:04}",
        "preference": -1,
        "left_ok": True,
        "right_ok": False,
        "reason": "",
        "comment": "",
        "seconds": 2.5,
    }
    headers = {"Origin": HERE, "Content-Type": "application/json"} | changes.pop("headers", {})
    content = changes.pop("content", None) or json.dumps(body | changes).encode("utf-8", "surrogatepass")
    return client.post(f"{path}pair/{place}", content=content, headers=headers)


def test_a_vote_is_kept_and_comes_back(client: TestClient, store: Store) -> None:
    answer = vote(client, "/", 1, comment="schön", preference=2)
    assert answer.json() == {"said": ["", "judged", "", "", "", ""]}
    assert store.latest("local", 1) == Judgement(2, True, False, "", "schön", 2.5)
    assert client.get("/pair/1").json()["said"]["comment"] == "schön"
    assert client.get("/progress").json() == {"said": ["", "judged", "", "", "", ""]}


def test_a_pair_that_cannot_be_judged_is_kept_with_the_reason(client: TestClient, store: Store) -> None:
    assert vote(client, "/", 0, reason="hard", preference=2).status_code == 200
    assert store.latest("local", 0) == Judgement(None, None, None, "hard", "", 2.5)


def test_the_page_shows_what_the_vote_will_mean(client: TestClient, store: Store) -> None:
    for name in ("Ada", "Ben"):
        for place in range(6):
            slot, pair = store.shown(name, place) or pytest.fail("nothing there")
            told = client.get(f"{root(store, name)}pair/{place}").json()
            sides = (pair.a, pair.b) if slot.left == "A" else (pair.b, pair.a)
            assert tuple(answer["text"] for answer in told["answers"]) == sides
            assert told["prompt"] == pair.prompt


def test_nothing_that_is_sent_names_a_model_an_item_or_a_side(client: TestClient, store: Store) -> None:
    page = root(store, "Ada")
    sent = [client.get(path) for path in (page, f"{page}progress", *(f"{page}pair/{n}" for n in range(6)))]
    sent += [client.get("/app.js"), client.get("/style.css"), vote(client, page, 0)]
    for response in sent:
        whole = f"{response.headers} {response.text}".lower()
        assert response.status_code == 200
        for word in (*MODELS, "oak", "birch", "item-", "jsonl"):
            assert word not in whole
    told = json.loads(sent[2].text)
    assert set(told) == {"pair", "prompt", "answers", "said"}
    assert [set(answer) for answer in told["answers"]] == [{"html", "text"}] * 2


def test_everything_comes_from_here_under_a_strict_policy(client: TestClient) -> None:
    for path in ("/", "/app.js", "/style.css", "/pair/0", "/a/wrong/"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
    for path in ("/", "/app.js", "/style.css"):
        assert "//" not in client.get(path).text.replace(" // ", "").replace("\n// ", "")  # no address of elsewhere


def test_a_link_opens_its_own_page_alone(client: TestClient, store: Store) -> None:
    ada, ben = root(store, "Ada"), root(store, "Ben")
    assert "Ada" in client.get(ada).text
    token = ada.split("/")[2]
    name, _, signature = token.partition(".")
    for wrong in (name, f"{name}.", f"{name}.{signature[:-1]}", f"{ben.split('/')[2].partition('.')[0]}.{signature}"):
        assert client.get(f"/a/{wrong}/").status_code == 403
        assert client.get(f"/a/{wrong}/pair/0").status_code == 403
    stranger = links.token(links.secret(store.folder / "secret"), "Cy")  # signed, but never invited
    assert client.get(f"/a/{stranger}/").status_code == 403
    assert vote(client, ben, 0).status_code == 200
    assert store.progress("Ada") == [""] * 6


def test_without_somebody_local_the_bare_page_is_closed(store: Store) -> None:
    with TestClient(app(store), base_url=HERE) as client:
        for path in ("/", "/progress", "/pair/0"):
            assert client.get(path).status_code == 403
        assert client.get(root(store, "Ada")).status_code == 200


def test_a_name_that_was_made_to_point_here_gets_nothing(client: TestClient, store: Store) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/pair/0", headers={"Host": "evil.example:80"}).status_code == 403
    for host in ("localhost:99", "[::1]", "127.0.0.1:1234"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    assert client.get(root(store, "Ada"), headers={"Host": "judge.example"}).status_code == 200  # behind a proxy


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"headers": {"Origin": "http://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"headers": {"Origin": ""}}, 403),
        ({"headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ({"headers": {"Sec-Fetch-Site": "same-site"}}, 403),
        ({"headers": {"Content-Type": "text/plain"}}, 415),
        ({"form": "guessed"}, 409),
        ({"form": None}, 409),
        ({"pair": "another"}, 409),
        ({"preference": 3}, 400),
        ({"preference": True}, 400),
        ({"preference": None}, 400),
        ({"preference": 1.0}, 400),
        ({"left_ok": None}, 400),
        ({"right_ok": 1}, 400),
        ({"reason": "bored"}, 400),
        ({"reason": []}, 400),
        ({"comment": None}, 400),
        ({"seconds": "soon"}, 400),
        ({"seconds": float("nan")}, 400),
        ({"seconds": 10**400}, 400),
        ({"key": "short"}, 400),
        ({"key": 12345678}, 400),
        ({"content": b"[1]"}, 400),
        ({"content": b"{"}, 400),
        ({"content": b"\xff"}, 400),
        ({"content": b"[" * 60_000}, 400),
        ({"comment": "x" * LARGEST}, 413),
    ],
)
def test_what_is_no_vote_from_the_page_is_refused_and_not_kept(
    client: TestClient, store: Store, changes: dict[str, Any], status: int
) -> None:
    assert vote(client, "/", 0, **changes).status_code == status
    assert store.votes() == []


@pytest.mark.parametrize("place", [6, 10**30])
def test_there_is_no_pair_beyond_the_last(client: TestClient, place: int) -> None:
    assert client.get(f"/pair/{place}").status_code == 404
    assert client.get("/pair/-1").status_code == 404


def test_a_vote_is_cut_to_what_can_be_kept(client: TestClient, store: Store) -> None:
    assert vote(client, "/", 0, comment="y" * 9000 + "\ud800", seconds=-4).status_code == 200
    said = store.latest("local", 0) or pytest.fail("not kept")
    assert (said.comment, said.seconds) == ("y" * 4000, 0.0)
    assert vote(client, "/", 0, comment="\ud800", key="another-key").status_code == 200


def test_a_form_of_one_person_is_none_for_another(client: TestClient, store: Store) -> None:
    form = client.get("/").text.split('name="form" content="')[1].split('"')[0]
    assert vote(client, root(store, "Ada"), 0, form=form).status_code == 409


def test_a_name_is_text_on_the_page(tmp_path: Path) -> None:
    opened = begin(tmp_path / "s", read_pairs(*outputs(tmp_path)))
    opened.invite("<script>alert(1)</script>", "")
    with TestClient(app(opened), base_url=HERE) as client:
        page = client.get(root(opened, "<script>alert(1)</script>")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    opened.close()


def send(client: httpx.Client, link: str, place: int, key: str) -> None:
    form = client.get(link).text.split('name="form" content="')[1].split('"')[0]
    pair = client.get(f"{link}pair/{place}").json()["pair"]
    body = {"form": form, "pair": pair, "key": key, "preference": 0, "left_ok": True, "right_ok": True}
    told = body | {"reason": "", "comment": key, "seconds": 1}
    origin = link.split("/a/")[0]
    assert client.post(f"{link}pair/{place}", json=told, headers={"Origin": origin}).status_code == 200


def test_a_vote_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    a, b = outputs(tmp_path)
    with served(a, b, tmp_path / "s", ["Ada"]) as server, httpx.Client() as client:
        link = server.links["Ada"]
        send(client, link, 0, "first-key")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with served(a, b, tmp_path / "s", [], port=0) as server, httpx.Client() as client:
        again = server.links["Ada"]
        assert again.split("/a/")[1] == link.split("/a/")[1]  # the link still holds
        assert client.get(f"{again}progress").json()["said"][0] == "judged"
        send(client, again, 0, "second-key")
    store = open_store(tmp_path / "s")
    assert [vote.said.comment for vote in store.votes()] == ["first-key", "second-key"]
    store.close()


def test_many_people_at_once_lose_nothing(tmp_path: Path) -> None:
    a, b = outputs(tmp_path)
    names = ["Ada", "Ben", "Cy", "Dora"]

    def work(link: str) -> None:
        with httpx.Client() as client:
            for place in range(6):
                send(client, link, place, f"key-{place:04}")

    with served(a, b, tmp_path / "s", names) as server:
        threads = [threading.Thread(target=work, args=(server.links[name],)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    store = open_store(tmp_path / "s")
    assert len(store.votes()) == 24
    assert all(store.progress(name) == ["judged"] * 6 for name in names)
    store.close()


def test_the_local_page_needs_no_link_and_is_printed(tmp_path: Path) -> None:
    with served(*outputs(tmp_path), tmp_path / "s") as server:
        assert httpx.get(server.links["local"]).status_code == 200


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"host": "0.0.0.0"}, "nobody is invited"),
        ({"annotators": ["  "]}, "not a name"),
        ({"annotators": ["a\nb"]}, "not a name"),
        ({"annotators": ["x" * 61]}, "not a name"),
        ({"annotators": ["local"]}, "'local' is who judges without a link"),
        ({"host": "192.0.2.1", "annotators": ["Ada"]}, "cannot listen"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, options: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        serve(*outputs(tmp_path), store=tmp_path / "s", **{"port": 0, **options})


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on port {port}"):
            serve(*outputs(tmp_path), store=tmp_path / "s", port=port)
