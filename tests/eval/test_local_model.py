"""A model computed here answers as it would if each prompt were computed whole and alone, in whatever batches."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from caravan.converters.schema import Message
from caravan.errors import UserError
from caravan.eval.benchmark import Ask
from caravan.eval.model import Request
from caravan.eval.models.local import LocalModel, open_model
from caravan.eval.models.writing import draw
from caravan.train.template import TuluTemplate
from whole_prompts import BOS, EOS, LETTERS, SENTENCES, SHOTS, Reference, answered, folder_of, questions

WAYS = {
    "llama": "shared",
    "qwen2": "shared",
    "gpt_neox": "shared",
    "opt": "shared",
    "gpt2": "shared",
    "qwen3_moe": "shared",
    "bloom": "expanded",  # attention of its own, with biases by distance
    "mistral": "expanded",  # a window of 24 tokens
    "gemma2": "expanded",  # windows in every second layer, capped scores
    "gemma3_text": "expanded",
    "mamba": "whole",  # a recurrent state
}
TURNS = "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '\\n' }}{% endfor %}"
USUAL = ("llama", "gpt2", "bloom", "mistral", "gemma2", "mamba")  # the others are tried with the slow tests
HEADER = TURNS + "{{ '<|assistant|>\\n' }}"
LONG = (" the baker opens her shop", " nobody knows", " C", " a river and how many bridges cross it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = folder_of(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


@pytest.fixture(scope="module")
def llama(folder: Callable[[str], Path]) -> Callable[..., LocalModel]:
    return lambda **more: open_model(str(folder("llama")), **more)


def _close(found: tuple[float, ...], wanted: list[float]) -> bool:
    return all(abs(a - b) < 2e-4 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("family", [pytest.param(f, marks=() if f in USUAL else pytest.mark.slow) for f in WAYS])
def test_answers_as_whole_prompts_alone(family: str, folder: Callable[[str], Path]) -> None:
    model, reference = open_model(str(folder(family))), Reference(folder(family))
    assert model._network.way == WAYS[family]
    assert bool(model.notes) == (WAYS[family] != "shared")
    requests = [
        *questions(7, choices=LETTERS),
        *questions(3, stem="", choices=LETTERS),
        *questions(3, choices=LONG),
        *questions(7, new_tokens=12),
    ]
    found = answered(model, requests)
    for number, request in enumerate(requests):
        ids = model.tokens(request.prompt)
        if request.choices:
            own = [model.tokens(request.prompt + choice)[len(ids) :] for choice in request.choices]
            assert _close(found[number].logprobs, [reference.logprob(ids, choice) for choice in own])
        else:
            wanted = reference.greedy(ids, 12)
            assert found[number].text == reference.text(wanted)
            assert found[number].ended == ("stop" if wanted[-1] == 1 else "length")


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
def test_texts_are_those_of_generate(family: str, folder: Callable[[str], Path]) -> None:
    model, reference = open_model(str(folder(family))), Reference(folder(family))
    requests = questions(4, new_tokens=20)
    found = answered(model, requests)
    for number, request in enumerate(requests):
        ids = torch.tensor([model.tokens(request.prompt)])
        wanted = reference.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        assert found[number].text == reference.text(wanted[0, ids.shape[1] :].tolist())


words = st.lists(st.sampled_from(" ".join(SENTENCES).split()), min_size=1, max_size=12).map(" ".join)
prompts = st.lists(st.tuples(st.sampled_from(["", SHOTS[:400], SHOTS]), words), min_size=1, max_size=9)


@settings(max_examples=12, deadline=None)
@given(prompts, st.integers(1, 600), st.booleans())
def test_answers_do_not_depend_on_batches(
    llama: Callable[..., LocalModel], some: list[tuple[str, str]], tokens: int, writes: bool
) -> None:
    requests = [
        Request(stem + text, new_tokens=6 if writes else 0, choices=() if writes else LETTERS) for stem, text in some
    ]
    one = answered(llama(batch_tokens=1), requests)
    other = answered(llama(batch_tokens=tokens), requests)
    for number, answer in one.items():
        assert other[number].text == answer.text
        assert _close(other[number].logprobs, list(answer.logprobs))
        best = [max(range(len(a.logprobs)), key=a.logprobs.__getitem__, default=0) for a in (answer, other[number])]
        assert best[0] == best[1]


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_run_that_goes_on_gives_the_same_bits(family: str, folder: Callable[[str], Path]) -> None:
    requests = [*questions(9, choices=LETTERS), *questions(5, choices=LONG), *questions(9, new_tokens=8)]
    model = open_model(str(folder(family)), batch_tokens=150)
    whole = answered(model, requests)
    chance = random.Random(3)
    for share in (0.1, 0.5, 0.9):
        done = frozenset(n for n in range(len(requests)) if chance.random() < share)
        assert answered(model, requests, done) == {n: a for n, a in whole.items() if n not in done}
    assert answered(model, requests, frozenset(range(len(requests)))) == {}


def test_processes_share_the_work_and_give_the_same_bits(folder: Callable[[str], Path]) -> None:
    requests = [*questions(12, choices=LETTERS), *questions(12, new_tokens=5), Request("x " * 600, choices=LETTERS)]
    whole = answered(open_model(str(folder("llama")), batch_tokens=100), requests)
    for world in (2, 3):
        parts = []
        for rank in range(world):
            model = open_model(str(folder("llama")), batch_tokens=100, rank=rank, world=world)
            parts.append(dict(pair for some in model.answers(requests, set()) for pair in some))
        assert sum(map(len, parts)) == len(requests)
        assert {n: a for part in parts for n, a in part.items()} == whole
        assert all(len(part) > 3 for part in parts)


def test_a_common_beginning_is_computed_once(llama: Callable[..., LocalModel]) -> None:
    model = llama()
    seen: list[int] = []
    model._network.model.get_input_embeddings().register_forward_pre_hook(lambda _, ids: seen.append(ids[0].numel()))
    requests = questions(20, choices=LETTERS)
    answered(model, requests)
    lengths = [len(model.tokens(request.prompt)) for request in requests]
    assert sum(seen) < sum(lengths) / 4


def test_stop_strings_end_a_text_and_are_not_in_it(folder: Callable[[str], Path]) -> None:
    model, reference = open_model(str(folder("llama"))), Reference(folder("llama"))
    (request,) = questions(1, new_tokens=30)
    whole = reference.text(reference.greedy(model.tokens(request.prompt), 30))
    assert len(whole) > 20
    for start in range(0, len(whole) - 4, 3):  # at every place: within tokens, across them
        stop = whole[start : start + 3]
        answer = answered(model, [replace(request, stop=("never in it", stop))])[0]
        assert (answer.text, answer.ended) == (whole[: whole.index(stop)], "stop")
    answer = answered(model, [replace(request, stop=(whole[12:14], whole[5:8], ""))])[0]
    assert answer.text == whole[: min(whole.index(whole[12:14]), whole.index(whole[5:8]))]


def test_the_end_of_sequence_ends_a_text(tmp_path: Path) -> None:
    place = folder_of("llama", tmp_path / "model")
    request = replace(questions(1)[0], new_tokens=8)
    token = Reference(place).greedy(open_model(str(place)).tokens(request.prompt), 8)[3]
    config = place / "generation_config.json"
    config.write_text(f'{{"eos_token_id": [1, {token}]}}', encoding="utf-8")
    before, after = answered(open_model(str(place)), [request])[0], Reference(place)
    ids = after.greedy(open_model(str(place)).tokens(request.prompt), 8)
    assert (before.text, before.ended) == (after.text(ids[: ids.index(token)]), "stop")


def test_a_text_keeps_the_space_that_it_begins_with(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    place = folder_of("llama", tmp_path / "model")
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", EOS], show_progress=False)
    words.train_from_iterator(SENTENCES, trainer)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=EOS).save_pretrained(place)  # type: ignore[no-untyped-call]
    model = open_model(str(place))
    prompt = "The baker opens"
    found = answered(model, [Request(prompt, new_tokens=n) for n in range(1, 9)])
    ids = model.tokens(prompt)
    for n in range(8):
        written = Reference(place).greedy(ids, n + 1)
        whole = model._tokenizer.own.decode([*ids, *written], skip_special_tokens=True)
        assert prompt + found[n].text == whole


@pytest.mark.parametrize("template", [HEADER, "{{ bos_token }}" + HEADER, None])
@pytest.mark.parametrize("adds", [True, False])
def test_one_bos_at_most(tmp_path: Path, template: str | None, adds: bool) -> None:
    place = folder_of("llama", tmp_path / "model", chat_template=template, adds_bos=adds)
    model = open_model(str(place))
    ask = Ask("Which river?", ending="\nAnswer:", opener="The answer is:", stop=("\n",), chat_stop=("\n\n",))
    prompt = model.render(ask)
    begins = adds if template is None else template.startswith("{{ bos")  # a template writes its own
    assert [n for n, token in enumerate(model.tokens(prompt)) if token == 0] == ([0] if begins else [])
    if template is None:
        assert prompt == "Which river?\nAnswer:"
        assert model.stops(ask) == ("\n",)
    else:
        assert prompt.endswith("<|user|>\nWhich river?\n<|assistant|>\nThe answer is:")
        assert model.stops(ask) == ("\n\n",)
    assert [token for token in model.tokens(f"{BOS}Which") if token == 0] == [0]


def test_an_exported_folder_is_asked_in_the_template_it_was_trained_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    place = folder_of("llama", run / "model")
    reference = Reference(place)
    template = TuluTemplate(reference.tokenizer)
    reference.tokenizer.chat_template = template.chat_template
    reference.tokenizer.save_pretrained(place)
    (place / "manifest.json").write_text("{}", encoding="utf-8")
    model = open_model(str(run))  # the run's folder will do
    message: Message = {"role": "user", "content": "Which river?"}
    assert model.render(Ask("Which river?")) == template.render([message]).text + "<|assistant|>\n"
    assert model.identity == open_model(str(place)).identity
    assert model.identity != open_model(str(place), form="plain").identity
    assert model.identity != open_model(str(place), dtype="bfloat16").identity
    assert open_model(str(place), form="plain").render(Ask("Which", ending=" one?")) == "Which one?"


def test_the_papers_form_needs_no_template(folder: Callable[[str], Path]) -> None:
    model = open_model(str(folder("llama")), form="tulu")
    prompt = model.render(Ask("Which river?", opener="The answer is:"))
    assert prompt == f"{BOS}<|user|>\nWhich river?\n<|assistant|>\nThe answer is:"
    assert model.tokens(prompt).count(0) == 1


def test_spaces_at_the_end_of_a_prompt_belong_to_the_choices(folder: Callable[[str], Path]) -> None:
    model, reference = open_model(str(folder("llama"))), Reference(folder("llama"))
    (answer,) = answered(model, [Request("The answer is \n", choices=("A", "B"))]).values()
    ids = model.tokens("The answer is")
    own = [model.tokens(f"The answer is \n{letter}")[len(ids) :] for letter in "AB"]
    assert _close(answer.logprobs, [reference.logprob(ids, choice) for choice in own])


def test_what_does_not_fit_fails_and_says_so(llama: Callable[..., LocalModel]) -> None:
    model = llama()
    assert model.context == 512
    long, fits = "x " * 600 + "x", "x " * 100 + "x"
    length = len(model.tokens(fits))
    found = answered(
        model,
        [
            Request(long, choices=LETTERS),
            Request(fits, choices=LETTERS),
            Request(long, new_tokens=5),
            Request(fits, new_tokens=2000),
            Request("", choices=LETTERS),
            Request("", new_tokens=3),
        ],
    )
    for number in (0, 2):
        assert found[number].ended == "failed"
        assert f"{len(model.tokens(long)):,} tokens" in found[number].error
        assert "512" in found[number].error
    assert [len(found[n].logprobs) for n in (1, 4)] == [4, 4]
    assert found[3] == answered(model, [Request(fits, new_tokens=512 - length)])[0]
    assert found[5].ended != "failed"


def test_logits_that_are_no_numbers_fail(tmp_path: Path) -> None:
    place = folder_of("llama", tmp_path / "model")
    weights = load_file(place / "model.safetensors")
    weights["lm_head.weight"][7] = float("nan")
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    found = answered(open_model(str(place)), [*questions(2, choices=LETTERS), *questions(2, new_tokens=3)])
    assert {(a.ended, a.error) for a in found.values()} == {("failed", "the model's logits are not finite numbers")}


def _twins(folder: Path, place: Path, one: int, other: int) -> str:
    """A copy of a model that finds two tokens equally likely, always."""
    shutil.copytree(folder, place)
    weights = load_file(place / "model.safetensors")
    weights["lm_head.weight"][other] = weights["lm_head.weight"][one]
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    return str(place)


def test_near_ties_are_asked_again_alone_and_marked(folder: Callable[[str], Path], tmp_path: Path) -> None:
    model = open_model(str(folder("llama")))
    requests = questions(12, choices=LETTERS)
    plain = answered(model, requests)
    assert not any(answer.near_tie for answer in plain.values())
    a, b = (model._tokenizer.ids(letter, special=False)[0] for letter in LETTERS[:2])
    twins = _twins(folder("llama"), tmp_path / "letters", a, b)
    one, other = (answered(open_model(twins, batch_tokens=n), requests) for n in (1, 1000))
    tied = [n for n, answer in one.items() if answer.near_tie]
    assert tied == [n for n, answer in one.items() if max(answer.logprobs[:2]) > max(answer.logprobs[2:])]
    assert tied
    assert all(other[n] == one[n] for n in tied)  # the very bits: both were computed whole and alone
    texts = questions(6, new_tokens=10)
    token = Reference(folder("llama")).greedy(model.tokens(texts[0].prompt), 5)[4]
    twins = _twins(folder("llama"), tmp_path / "texts", token, 333 if token != 333 else 334)
    one, other = (answered(open_model(twins, batch_tokens=n), texts) for n in (1, 1000))
    assert one == other
    assert one[0].near_tie
    assert one[0].text
    rough = answered(open_model(twins, dtype="bfloat16"), texts)
    assert not any(answer.near_tie for answer in rough.values())


def test_sixteen_bits_are_near(folder: Callable[[str], Path]) -> None:
    requests = questions(8, choices=LETTERS)
    fine, rough = (answered(open_model(str(folder("llama")), dtype=t), requests) for t in ("float32", "bfloat16"))
    for number, answer in fine.items():
        assert max(abs(a - b) for a, b in zip(answer.logprobs, rough[number].logprobs, strict=True)) < 0.3


def test_batches_that_do_not_fit_into_memory_are_halved(
    llama: Callable[..., LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [*questions(9, choices=LETTERS), *questions(9, new_tokens=4)]
    model = llama()
    wanted, rows, refused = answered(model, requests), model._network.rows, []

    def narrow(before: Any, some: Any, *more: Any) -> Any:
        if len(some) > 2:
            refused.append(len(some))
            raise torch.OutOfMemoryError("no more")
        return rows(before, some, *more)

    monkeypatch.setattr(model._network, "rows", narrow)
    found = answered(model, requests)
    assert refused
    assert {n: a.text for n, a in found.items()} == {n: a.text for n, a in wanted.items()}
    assert all(_close(found[n].logprobs, list(wanted[n].logprobs)) for n in wanted)

    def full(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(model._network, "rows", full)
    assert {a.error for a in answered(model, requests).values()} == {"out of memory, even alone"}


def test_samples_depend_on_their_seed_alone(llama: Callable[..., LocalModel]) -> None:
    (request,) = questions(1, new_tokens=8, temperature=0.8, top_p=0.95)
    requests = [replace(request, seed=seed) for seed in range(12)]
    one, other = answered(llama(), requests), answered(llama(batch_tokens=1), requests)
    assert [a.text for a in one.values()] == [one[n].text for n in range(12)]
    assert {n: a.text for n, a in one.items()} == {n: a.text for n, a in other.items()}
    assert len({answer.text for answer in one.values()}) > 6
    mixed = answered(llama(), [*requests[3:5], *questions(3, new_tokens=8)])
    assert [mixed[n].text for n in (0, 1)] == [one[3].text, one[4].text]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=2, max_size=8), st.floats(0.2, 2), st.floats(0.05, 1))
def test_draws_are_in_proportion(values: list[float], temperature: float, top_p: float) -> None:
    logits = torch.tensor(values)
    shares = (logits.double() / temperature).softmax(-1)
    grid = [(n + 0.5) / 400 for n in range(400)]
    drawn = [draw(logits, temperature, top_p, u) for u in grid]
    counts = torch.bincount(torch.tensor([token for token, _ in drawn]), minlength=len(values)) / 400
    kept = counts > 0.01
    if top_p == 1:
        kept[:] = True
    else:
        ranked = shares.sort(descending=True).values
        least = ranked[min(int((ranked.cumsum(0) < top_p).sum()), len(values) - 1)]
        assert bool((shares[kept] >= least - 1e-12).all())
        kept = shares >= least
    wanted = torch.where(kept, shares, 0.0)
    assert float((counts - wanted / wanted.sum()).abs().max()) < 0.01
    for (token, distance), u in zip(drawn, grid, strict=True):
        if u + distance / 2 < 1:
            assert draw(logits, temperature, top_p, u + distance / 2)[0] == token


def test_a_text_is_cut_by_tokens(llama: Callable[..., LocalModel]) -> None:
    model, text = llama(), SENTENCES[0]
    for n in (2, 5, 9):  # the BOS is counted and written, as the published code does
        assert (BOS + text).startswith(model.cut(text, n))
        assert len(model.tokens(model.cut(text, n).removeprefix(BOS))) == n
    assert model.cut(text, 1000) == text


def _no_weights(place: Path) -> None:
    (place / "model.safetensors").rename(place / "pytorch_model.bin")


def _cut_off(place: Path) -> None:
    (place / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes()[:5000])


def _half(place: Path) -> None:
    weights = load_file(place / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, place / "model.safetensors", {"format": "pt"})


def _code(place: Path) -> None:
    config = (place / "config.json").read_text(encoding="utf-8")
    told = config.replace('"model_type": "llama"', '"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}')
    (place / "config.json").write_text(told, encoding="utf-8")
    (place / "own.py").write_text("raise SystemExit('this code was run')", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_weights, "no \\*.safetensors"),
        (_cut_off, "no causal language model"),
        (_half, "up_proj.weight is not in its weights"),
        (_code, "no usable config.json"),
        (lambda place: (place / "tokenizer.json").write_text("{"), "not a tokenizer"),
    ],
)
def test_a_broken_folder_is_one_line(
    folder: Callable[[str], Path], tmp_path: Path, spoil: Callable[[Path], Any], says: str
) -> None:
    place = tmp_path / "model"
    shutil.copytree(folder("llama"), place)
    spoil(place)
    with pytest.raises(UserError, match=says):
        open_model(str(place))


def test_a_form_that_is_not_there_is_refused(folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no chat template"):
        open_model(str(folder("llama")), form="chat")
    with pytest.raises(UserError, match="no such folder"):
        open_model(str(tmp_path / "nothing"))
    place = folder_of("llama", tmp_path / "model", chat_template="{{ raise_exception('never') }}")
    with pytest.raises(UserError, match="does not take a question"):
        open_model(str(place))
    assert answered(open_model(str(place), form="plain"), questions(1, choices=LETTERS))[0].ended == "stop"
