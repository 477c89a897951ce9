import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask
from caravan.eval.model import Model, Request
from caravan.eval.models.reply import Reply
from caravan.eval.models.server import ServerModel, open_server, read_choice, read_text
from fake_server import Answers, Asked, FakeServer, Fault, Said
from tiny import BOS, tiny_tokenizer

LETTERS = (" A", " B", " C", " D")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def model(server: FakeServer, **how: Any) -> ServerModel:
    found = open_server(server.url, "small-1b", **({"timeout": 5.0, "retries": 1} | how))
    found.endpoint = replace(found.endpoint, pause=0.001)
    return found


def answers(asked: Model, requests: Sequence[Request], done: frozenset[int] = frozenset()) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    for some in asked.answers(requests, done):
        for number, answer in some:
            assert number not in found
            found[number] = answer
    return dict(sorted(found.items()))


def test_letters_of_one_new_token() -> None:
    """The likeliest of "A", " A" and so on; never the prompt's own log-probabilities."""
    top = {" B": math.log(0.5), "B": math.log(0.1), " A": math.log(0.3), "\n": math.log(0.05), " D": math.log(0.01)}
    with FakeServer(lambda _: Said(" B", "length", top)) as server:
        asked: Model = model(server, form="plain")
        found = answers(asked, [Request("1 + 1?\nAnswer:", LETTERS)])
    (seen,) = server.seen
    assert seen.path == "/v1/completions"
    assert seen.body["max_tokens"] == 1
    assert seen.body["logprobs"] == 20
    assert not {"echo", "prompt_logprobs"} & set(seen.body)
    a, b, c, d = found[0].logprobs
    assert found[0].ended == "stop"
    assert [math.exp(p) for p in (a, b, d)] == pytest.approx([0.3, 0.6, 0.01])
    assert math.log(0.01) - 1e-12 < c < d


def test_letters_through_a_chat() -> None:
    with FakeServer(lambda _: Said("C", "length", {"C": -0.1, "A": -2.5})) as server:
        found = answers(model(server), [Request("1 + 1?\nAnswer:", LETTERS)])
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body["messages"] == [{"role": "user", "content": "1 + 1?\nAnswer:"}]
    assert (seen.body["logprobs"], seen.body["top_logprobs"]) == (True, 20)
    assert max(range(4), key=found[0].logprobs.__getitem__) == 2


def test_no_letter_among_the_candidates_is_a_failure_not_an_answer() -> None:
    with FakeServer(lambda _: Said("The", top={"The": -0.1, "I": -3.0})) as server:
        found = answers(model(server), [Request("?", LETTERS)])
    assert found[0].ended == "failed"
    assert "'The'" in found[0].error
    assert found[0].logprobs == ()


@given(st.dictionaries(st.sampled_from(["A", " A", "▁B", "ĠB", "C", "D ", "x", "AB", "a", ""]), st.floats(-30, 0)))
def test_a_choice_that_is_not_listed_never_wins(top: dict[str, float]) -> None:
    pairs = tuple(sorted(top.items(), key=lambda p: (-p[1], p[0])))
    answer = read_choice(Reply("", top=pairs), LETTERS)
    words = [token.strip(" ▁Ġ") for token in top]
    if not set(words) & set("ABCD"):
        assert answer.ended == "failed"
        return
    (best, *_) = sorted(range(4), key=lambda n: -answer.logprobs[n])
    assert "ABCD"[best] in words
    for n, word in enumerate("ABCD"):
        if word in words:
            assert answer.logprobs[n] >= max(p for t, p in top.items() if t.strip(" ▁Ġ") == word) - 1e-9
        else:
            assert answer.logprobs[n] < min(top.values())
    assert all(p <= 0 for p in answer.logprobs)


def test_a_near_tie_is_said() -> None:
    assert read_choice(Reply("", top=(("A", -0.700), ("B", -0.705))), LETTERS).near_tie
    assert not read_choice(Reply("", top=(("A", -0.5), ("B", -1.0))), LETTERS).near_tie
    assert not read_choice(Reply("", top=(("A", -0.5),)), LETTERS).near_tie


@pytest.mark.parametrize("choice", [" The moon is made of rock.", " yes", ""])
def test_choices_of_several_tokens_are_refused(choice: str) -> None:
    with FakeServer(lambda _: "") as server, pytest.raises(UserError, match="likelihood of one token"):
        answers(model(server), [Request("?", (" A", choice))])
    assert not server.seen


def test_a_text_with_its_sampling() -> None:
    with FakeServer(lambda _: Said("blue\nQ: next", "length")) as server:
        stop = ("\nQ:", "\n\n", "###", "</s>", "END")
        requests = [Request("Sky?", (), 32, stop), Request("Sky?", (), 32, (), 0.8, 0.95, 2**47 + 5)]
        found = answers(model(server, form="plain"), requests)
    greedy, drawn = sorted((s.body for s in server.seen), key=lambda b: float(b["temperature"]))
    assert found == {0: Answer("blue"), 1: Answer("blue\nQ: next", ended="length")}
    assert greedy["stop"] == list(stop[:4])
    assert not {"seed", "top_p"} & set(greedy)
    assert (drawn["temperature"], drawn["top_p"], drawn["seed"]) == (0.8, 0.95, 5)
    assert "stop" not in drawn


@pytest.mark.parametrize(
    ("text", "finish", "stop", "answer"),
    [
        ("a END b", "length", ("END",), Answer("a ")),
        ("a STOP b END", "stop", ("END", "STOP"), Answer("a ")),
        ("", "stop", (), Answer("")),
        ("half", "length", ("END",), Answer("half", ended="length")),
        ("half", "", (), Answer("half")),
        ("", "content_filter", (), Answer(ended="failed", error="the server ended it: content_filter")),
        ("ha", "abort", (), Answer(ended="failed", error="the server ended it: abort")),
    ],
)
def test_how_a_text_ended(text: str, finish: str, stop: tuple[str, ...], answer: Answer) -> None:
    assert read_text(Reply(text, finish), stop) == answer


def test_with_a_tokenizer_the_chat_is_rendered_here_and_openers_work(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path, TEMPLATE)
    ask = Ask("Sky?", opener="The answer is:", choices=LETTERS, stop=("\n",), chat_stop=("Q:",))
    with FakeServer(lambda _: Said(" A", top={" A": -0.1})) as server:
        asked = model(server, tokenizer=str(tmp_path))
        prompt = asked.render(ask)
        answers(asked, [Request(prompt, LETTERS)])
    assert prompt == f"{BOS}<|user|>\nSky?\n<|assistant|>\nThe answer is:"
    (seen,) = server.seen
    assert seen.path == "/v1/completions"
    assert seen.body["prompt"] == asked.tokens(prompt)
    assert asked.tokens(prompt).count(tokenizer.bos_token_id) == 1
    assert asked.stops(ask) == ("Q:",)
    assert "rendered here" in asked.identity


def test_without_one_the_opener_is_left_out_and_that_is_said() -> None:
    ask = Ask("Sky?", opener="The answer is:", stop=("\n",), chat_stop=("Q:",))
    with FakeServer(lambda _: "") as server:
        chat, plain = model(server), model(server, form="plain")
    assert (chat.render(ask), chat.stops(ask), chat.tokens("Sky?")) == ("Sky?", ("Q:",), [])
    assert (plain.render(Ask("Sky?", "\nA:")), plain.stops(ask)) == ("Sky?\nA:", ("\n",))
    assert "openers left out" in chat.identity
    assert chat.identity != plain.identity
    with pytest.raises(UserError, match="--tokenizer"):
        chat.cut("a b c", 1)


def test_a_tokenizer_without_template_means_plain_text(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path)
    with FakeServer(lambda _: " blue") as server:
        asked = model(server, tokenizer=str(tmp_path))
        answers(asked, [Request("The sky is", (), 4)])
        with pytest.raises(UserError, match="no chat template"):
            model(server, tokenizer=str(tmp_path), form="chat")
    assert server.seen[0].body["prompt"] == tokenizer("The sky is")["input_ids"]
    assert server.seen[0].body["prompt"][0] == tokenizer.bos_token_id
    text = "The baker opens her shop at six."
    assert asked.cut(text, 3).startswith(tokenizer.bos_token), "the published code writes it into the passage"
    assert text.startswith(asked.cut(text, 3).removeprefix(tokenizer.bos_token))
    assert asked.cut(text, 1000) == text


def test_a_word_that_is_one_token_by_the_tokenizer_may_be_a_choice(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, special=("yes", "no"))
    with FakeServer(lambda _: Said(" no", top={" no": -0.3, "yes": -1.5})) as server:
        found = answers(model(server, tokenizer=str(tmp_path)), [Request("?", (" yes", " no"))])
        with pytest.raises(UserError, match="likelihood of one token"):
            answers(model(server, tokenizer=str(tmp_path)), [Request("?", (" perhaps", " no"))])
    assert found[0].logprobs == (-1.5, -0.3)


def test_todays_date_is_in_no_prompt(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, "Today is {{ strftime_now('%d %b %Y') }}. {{ messages[0].content }}")
    with FakeServer(lambda _: "") as server:
        assert model(server, tokenizer=str(tmp_path)).render(Ask("Sky?")) == "Today is 26 Jul 2024. Sky?"


def test_a_template_that_refuses_is_one_line(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, "{{ raise_exception('only for tools') }}")
    with FakeServer(lambda _: "") as server, pytest.raises(UserError, match="only for tools"):
        model(server, tokenizer=str(tmp_path)).render(Ask("Sky?"))


@pytest.mark.parametrize("files", [{}, {"tokenizer.json": "{}", "config.json": "{}"}])
def test_a_folder_that_is_no_tokenizer(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with FakeServer(lambda _: "") as server, pytest.raises(UserError, match=str(tmp_path)):
        model(server, tokenizer=str(tmp_path))


def test_the_context_is_asked_where_the_server_tells(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, TEMPLATE)
    listed = [{"id": "other", "max_model_len": 5}, {"id": "small-1b", "max_model_len": 2048}]
    with FakeServer(lambda _: "", models=listed) as server:
        assert model(server, tokenizer=str(tmp_path)).context == 2048
    with FakeServer(lambda _: "") as server:
        assert model(server, tokenizer=str(tmp_path)).context is None


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, TEMPLATE)
    with FakeServer(lambda _: "") as server:
        gone = server.url
    for tokenizer in (None, str(tmp_path)):
        with pytest.raises(UserError, match="cannot be reached"):
            open_server(gone, "small-1b", tokenizer=tokenizer)


def test_what_was_done_is_not_asked_again_and_answers_do_not_hang_on_it() -> None:
    requests = [Request(f"Number {n}?", (), 8) for n in range(12)]
    with FakeServer(lambda asked: f"It is {asked.prompt[7:-1]}.") as server:
        whole = answers(model(server), requests)
        rest = answers(model(server), requests, frozenset(range(0, 12, 2)))
        assert answers(model(server), requests, frozenset(range(12))) == {}
    assert whole == {n: Answer(f"It is {n}.") for n in range(12)}
    assert rest == {n: whole[n] for n in range(1, 12, 2)}
    assert len(server.seen) == 18


FAULTS: list[Callable[[Asked], Fault]] = [
    lambda _: Fault(status=429, headers={"Retry-After": "0"}),
    lambda _: Fault("closed"),
    lambda _: Fault("cut"),
    lambda _: Fault(status=200, body="}"),
    lambda asked: Fault(status=500, body=json.dumps({"error": asked.prompt})),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_pass_change_nothing(fault: Callable[[Asked], Fault]) -> None:
    requests = [Request(f"Number {n}?", (), 8) for n in range(6)]

    def answer(asked: Asked) -> str | Fault:
        return fault(asked) if not asked.times else asked.prompt

    with FakeServer(answer) as server:
        assert answers(model(server), requests) == {n: Answer(f"Number {n}?") for n in range(6)}
    assert len(server.seen) == 12


def test_requests_that_fail_for_good_are_failed_answers_beside_the_others() -> None:
    def answer(asked: Asked) -> str | Fault:
        if asked.prompt == "Number 3?":
            return Fault(status=400, body='{"error": {"message": "longer than the context"}}')
        return Fault("closed") if asked.prompt == "Number 5?" else asked.prompt

    with FakeServer(answer) as server:
        found = answers(model(server), [Request(f"Number {n}?", (), 8) for n in range(8)])
    assert [n for n, a in found.items() if a.ended == "failed"] == [3, 5]
    assert "longer than the context" in found[3].error
    assert "broke" in found[5].error


def test_a_server_that_dies_leaves_what_was_answered() -> None:
    answers_of: Answers = lambda asked: "ok" if asked.number < 20 else Fault("closed")  # noqa: E731
    found: dict[int, Answer] = {}
    with FakeServer(answers_of) as server:
        with pytest.raises(UserError, match="stopped answering"):
            for some in model(server, retries=0).answers([Request(f"{n}?", (), 8) for n in range(500)], frozenset()):
                found |= dict(some)
        assert sum(a.ended == "stop" for a in found.values()) == 20
        assert len(server.seen) < 60
