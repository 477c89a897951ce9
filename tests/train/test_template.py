"""What is rendered, and which characters of it carry loss: the paper's template, and tokenizers' own of many habits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.train.chat_template import template_for
from caravan.train.template import Refused, Rendered, Template
from chats import BREAD, LLAMA3, SHOUTING, SPECIAL, TEMPLATES, talk
from tiny import tiny_tokenizer

ROLES: list[str] = ["system", "user", "assistant", "tool"]


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Template]:
    """The tokenizer template of a Jinja text."""
    made: dict[str, Template] = {}

    def template(jinja: str) -> Template:
        if jinja not in made:
            folder = tmp_path_factory.mktemp("tokenizer")
            made[jinja] = template_for("tokenizer", tiny_tokenizer(folder, jinja, special=SPECIAL))
        return made[jinja]

    return template


@pytest.fixture(scope="session")
def tulu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Template]:
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return tokenizer, template_for("tulu", tokenizer)


def supervised(rendered: Rendered) -> list[str]:
    return [rendered.text[start:end] for start, end, _ in rendered.spans]


def written(rendered: Rendered) -> list[str]:
    return [rendered.text[start:end] for start, end in rendered.contents]


# --- the paper's


def test_the_papers_template_to_the_character(tulu: tuple[Any, Template]) -> None:
    rendered = tulu[1].render(talk("s:Be brief.", "u:Hi\n", "a: Hello.", "t:[1]", "a:One."))
    assert rendered.text == (
        "<s><|system|>\nBe brief.\n<|user|>\nHi\n\n<|assistant|>\n Hello.</s>\n<|tool|>\n[1]\n<|assistant|>\nOne.</s>\n"
    )
    assert supervised(rendered) == [" Hello.</s>", "One.</s>"]
    assert [message for _, _, message in rendered.spans] == [2, 4]
    assert written(rendered) == ["Be brief.", "Hi\n", " Hello.", "[1]", "One."]
    assert rendered.notes == []


def test_no_bos_where_the_tokenizer_adds_none(tmp_path: Path) -> None:
    template = template_for("tulu", tiny_tokenizer(tmp_path, adds_bos=False))
    assert template.render(talk("u:Hi", "a:Yes.")).text == "<|user|>\nHi\n<|assistant|>\nYes.</s>\n"
    assert "bos_token" not in template.chat_template


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.text()), min_size=1, max_size=6), st.booleans())
def test_its_jinja_form_renders_the_same(
    tulu: tuple[Any, Template], turns: list[tuple[str, str]], prompt: bool
) -> None:
    tokenizer, template = tulu
    messages: list[Any] = [{"role": role, "content": content} for role, content in turns]
    text = tokenizer.apply_chat_template(
        messages, chat_template=template.chat_template, tokenize=False, add_generation_prompt=prompt
    )
    assert text == template.render(messages).text + ("<|assistant|>\n" if prompt else "")


def test_its_jinja_form_marks_what_carries_loss(tulu: tuple[Any, Template]) -> None:
    tokenizer, template = tulu
    messages = talk("u:Which river?", "a:The Rhine.", "u:How long?", "a:1,233 km.")
    marked = tokenizer.apply_chat_template(
        messages, chat_template=template.chat_template, return_dict=True, return_assistant_tokens_mask=True
    )
    ids = [i for i, mask in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(ids) == "The Rhine.</s>1,233 km.</s>" == "".join(supervised(template.render(messages)))


def test_an_answer_to_nothing_carries_no_loss(tulu: tuple[Any, Template]) -> None:
    rendered = tulu[1].render(talk("a:Welcome!", "u:Hi", "a:Hello."))
    assert supervised(rendered) == ["Hello.</s>"]
    assert rendered.notes == ["assistant_first"]
    assert supervised(tulu[1].render(talk("s:Greet people.", "a:Welcome!"))) == ["Welcome!</s>"]


def test_weights_decide_which_answers_carry_loss(tulu: tuple[Any, Template]) -> None:
    assert supervised(tulu[1].render(BREAD, [0, 0, 0, 1])) == ["Three months, sliced.</s>"]
    assert supervised(tulu[1].render(BREAD, [1, 1, 1, 0])) == ["About a week.</s>"], "a question never does"


def test_stop_tokens_and_fingerprints(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "a", TEMPLATES["chatml"], special=SPECIAL)
    tulu, chatml = template_for("tulu", tokenizer), template_for("tokenizer", tokenizer)
    assert tulu.stop_tokens == [tokenizer.eos_token_id]
    assert chatml.stop_tokens == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    other = template_for("tokenizer", tiny_tokenizer(tmp_path / "b", TEMPLATES["opened"], special=SPECIAL))
    assert len({tulu.fingerprint, chatml.fingerprint, other.fingerprint}) == 3
    again = template_for("tokenizer", tiny_tokenizer(tmp_path / "c", TEMPLATES["chatml"], special=SPECIAL))
    assert again.fingerprint == chatml.fingerprint


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="end of sequence is None"):
        template_for("tulu", tokenizer)


# --- tokenizers' own

GOLDEN = {
    "chatml": (
        "<|im_start|>user\nHow long does rye bread keep?<|im_end|>\n<|im_start|>assistant\nAbout a week.<|im_end|>\n"
        "<|im_start|>user\nAnd in the freezer?<|im_end|>\n<|im_start|>assistant\nThree months, sliced.<|im_end|>\n",
        ["About a week.<|im_end|>", "Three months, sliced.<|im_end|>"],
    ),
    "llama2": (
        "<s>[INST] How long does rye bread keep? [/INST] About a week. </s>"
        "<s>[INST] And in the freezer? [/INST] Three months, sliced. </s>",
        [" About a week. </s>", " Three months, sliced. </s>"],
    ),
    "llama3": (
        "<s><|start|>user<|end|>\n\nHow long does rye bread keep?<|eot|>"
        "<|start|>assistant<|end|>\n\nAbout a week.<|eot|>"
        "<|start|>user<|end|>\n\nAnd in the freezer?<|eot|><|start|>assistant<|end|>\n\nThree months, sliced.<|eot|>",
        ["About a week.<|eot|>", "Three months, sliced.<|eot|>"],
    ),
    "mistral": (
        "<s>[INST] How long does rye bread keep? [/INST]About a week.</s>"
        "[INST] And in the freezer? [/INST]Three months, sliced.</s>",
        ["About a week.</s>", "Three months, sliced.</s>"],
    ),
    "gemma": (
        "<s><|start|>user\nHow long does rye bread keep?<|end|>\n<|start|>model\nAbout a week.<|end|>\n"
        "<|start|>user\nAnd in the freezer?<|end|>\n<|start|>model\nThree months, sliced.<|end|>\n",
        ["About a week.<|end|>", "Three months, sliced.<|end|>"],
    ),
    "thinking": (
        "<|im_start|>user\nHow long does rye bread keep?<|im_end|>\n<|im_start|>assistant\nAbout a week.<|im_end|>\n"
        "<|im_start|>user\nAnd in the freezer?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nThree months, sliced.<|im_end|>\n",
        ["About a week.<|im_end|>", "Three months, sliced.<|im_end|>"],
    ),
    "opened": (
        "<|user|>How long does rye bread keep?<|assistant|>About a week.</s>"
        "<|user|>And in the freezer?<|assistant|>Three months, sliced.</s>",
        ["About a week.</s>", "Three months, sliced.</s>"],
    ),
    "headers_only": (
        "<|user|>\nHow long does rye bread keep?<|assistant|>\nAbout a week."
        "<|user|>\nAnd in the freezer?<|assistant|>\nThree months, sliced.",
        ["About a week.<|user|>", "Three months, sliced."],
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_carries_loss_in_templates_of_many_habits(own: Callable[[str], Template], name: str) -> None:
    rendered = own(TEMPLATES[name]).render(BREAD)
    text, answers = GOLDEN[name]
    assert rendered.text == text
    assert supervised(rendered) == answers
    assert written(rendered) == [message["content"] for message in BREAD]
    assert rendered.notes == (["no_stop_token"] if name == "headers_only" else [])


def test_texts_are_found_trimmed_and_as_json(own: Callable[[str], Template]) -> None:
    messages = talk("s: Be exact. ", "u:\n\nThe weather? ", 't:{"sky": "blue"}\n', "a:  Fine.\n\n")
    rendered = own(LLAMA3).render(messages)
    assert written(rendered) == ["Be exact.", "The weather?", '{\\"sky\\": \\"blue\\"}\\n', "Fine."]
    assert supervised(rendered) == ["Fine.<|eot|>"]
    assert rendered.notes == []
    assert "Today: 26 Jul 2024" in rendered.text, "the same tomorrow"


def test_a_system_text_is_found_wherever_the_template_puts_it(own: Callable[[str], Template]) -> None:
    messages = talk("s:Be brief.", *(f"{m['role'][0]}:{m['content']}" for m in BREAD))
    late = own(TEMPLATES["mistral"]).render(messages)
    assert written(late) == [BREAD[0]["content"], BREAD[1]["content"], "Be brief.", *(m["content"] for m in BREAD[2:])]
    assert supervised(late) == GOLDEN["mistral"][1]
    first = own(TEMPLATES["llama2"]).render(messages)
    assert first.text.startswith("<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHow long")
    assert supervised(first) == GOLDEN["llama2"][1]


def test_thinking_counts_where_it_is_kept_and_not_where_it_is_dropped(own: Callable[[str], Template]) -> None:
    messages = talk("u:2 + 2?", "a:<think>\neasy\n</think>\n\nFour.", "u:3 + 3?", "a:<think>\nsame\n</think>\n\nSix.")
    rendered = own(TEMPLATES["thinking"]).render(messages)
    assert supervised(rendered) == ["Four.<|im_end|>", "<think>\nsame\n</think>\n\nSix.<|im_end|>"]
    assert rendered.notes == ["rewritten"]
    alone = own(TEMPLATES["thinking"]).render(messages[2:])
    assert supervised(alone) == ["<think>\nsame\n</think>\n\nSix.<|im_end|>"]
    assert alone.notes == []
    crowded = own(TEMPLATES["thinking"]).render(talk("u:3 + 3?", "a:<think>same</think>Six."))
    assert supervised(crowded) == ["<think>\nsame\n</think>\n\nSix.<|im_end|>"]
    assert crowded.notes == ["rewritten"]


def test_what_the_generation_prompt_opens_is_not_learnt(own: Callable[[str], Template]) -> None:
    rendered = own(TEMPLATES["opened"]).render(talk("u:3 + 3?", "a:<think>\nsame\n</think>Six."))
    assert supervised(rendered) == ["same\n</think>Six.</s>"]


@pytest.mark.parametrize("name", ["llama2", "mistral", "gemma"])
def test_a_template_that_raises_refuses_the_row_with_its_words(own: Callable[[str], Template], name: str) -> None:
    messages = talk("s:Be brief.", "u:Hi", "a:Yes.") if name == "gemma" else talk("u:Hi", "u:Hello?", "a:Yes.")
    with pytest.raises(Refused) as refused:
        own(TEMPLATES[name]).render(messages)
    assert refused.value.code == "template_refused"
    assert refused.value.detail in ("no system role here", "roles must alternate")


def test_an_answer_that_is_not_what_was_written_is_refused(own: Callable[[str], Template]) -> None:
    with pytest.raises(Refused, match=r"template_rewrites: message 2 \(assistant\)"):
        own(SHOUTING).render(BREAD)


def test_a_dropped_answer_carries_no_loss(own: Callable[[str], Template]) -> None:
    last_question = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    rendered = own(last_question).render(BREAD)
    assert (rendered.spans, rendered.notes) == ([], ["answer_not_rendered"])
    twice = "{% for m in messages %}{{ m['content'] + '/' + m['content'] }}{% endfor %}"
    with pytest.raises(Refused, match="answer_twice"):
        own(twice).render(BREAD)


def test_templates_that_cannot_be_used_say_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no chat template; use --template tulu"):
        template_for("tokenizer", tiny_tokenizer(tmp_path / "none"))
    with pytest.raises(UserError, match="does not take even one question: not today"):
        template_for("tokenizer", tiny_tokenizer(tmp_path / "no", "{{ raise_exception('not today') }}"))
    with pytest.raises(UserError, match="does not take even one question"):
        template_for("tokenizer", tiny_tokenizer(tmp_path / "bad", "{% for m in messages %}"))
    with pytest.raises(UserError, match="does not take even one question"):
        template_for("tokenizer", tiny_tokenizer(tmp_path / "sly", "{{ messages.__class__.__mro__ }}"))


SPELLED = [
    "<|im_end|>\n<|im_start|>user\n",
    "</s>",
    "<|user|>\n",
    "[INST]",
    "<think>\n",
    "</think>",
    "\ue0000\ue001",
    " \n",
]
CONTENT = st.lists(st.sampled_from(SPELLED) | st.text(), max_size=4).map("".join)
STOPS = {"chatml": "<|im_end|>", "llama2": " </s>", "llama3": "<|eot|>", "mistral": "</s>", "gemma": "<|end|>"}
TRIMS = {"llama2", "llama3", "gemma"}


@settings(deadline=None, max_examples=200)
@given(pairs=st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3), name=st.sampled_from(sorted(STOPS)))
def test_whatever_people_write_it_is_found(
    own: Callable[[str], Template], pairs: list[tuple[str, str]], name: str
) -> None:
    messages = [m for question, answer in pairs for m in talk(f"u:{question}", f"a:{answer}")]
    rendered = own(TEMPLATES[name]).render(messages)
    shown = [m["content"].strip() if name in TRIMS else m["content"] for m in messages]
    assert written(rendered) == shown
    space = " " if name == "llama2" else ""  # which that template puts before an answer
    assert supervised(rendered) == [space + answer + STOPS[name] for answer in shown[1::2]]


@settings(deadline=None, max_examples=200)
@given(pairs=st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3))
def test_where_thinking_is_dropped_only_the_answers_own_text_is_learnt(
    own: Callable[[str], Template], pairs: list[tuple[str, str]]
) -> None:
    messages = [m for question, answer in pairs for m in talk(f"u:{question}", f"a:{answer}")]
    rendered = None
    try:
        rendered = own(TEMPLATES["thinking"]).render(messages)
    except Refused as error:
        refused = error.code
    if rendered is None:
        assert (refused, any("</think>" in answer for _, answer in pairs)) == ("template_rewrites", True)
        return
    for start, end, number in rendered.spans:
        said, wrote = rendered.text[start:end].removesuffix("<|im_end|>"), messages[number]["content"]
        assert "".join(said.split()) in "".join(wrote.split())
