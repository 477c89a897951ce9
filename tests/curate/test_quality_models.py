"""The quality parts that need a model: likelihood, embedding, classifier."""

import json
import shutil
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertLMHeadModel, BertModel

from caravan.curate.engine import StartMethod
from caravan.curate.exchanges import Exchanges, Texts
from caravan.curate.filters import quality
from caravan.curate.models import fasttext
from caravan.curate.models.folder import batches
from caravan.curate.models.language import LanguageModel
from caravan.curate.models.sentence import SentenceModel
from caravan.curate.quality_parts import classifier, embedding, likelihood
from caravan.curate.single import gather_data
from caravan.errors import UserError
from tiny import SENTENCES, tiny_model, tiny_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
WORDS = st.sampled_from(["the", "baker", "opens", "Der", "Zug", "fährt", "42", ",", ".", "\n", "你好", "<s>", "😀"])
texts = st.one_of(st.just(""), st.lists(WORDS, max_size=60).map(" ".join), st.text(max_size=30))


def exchanges(prompts: Sequence[str], answers: Sequence[str], follows: Sequence[bool] = ()) -> Exchanges:
    flags = np.array(follows or [False] * len(answers), np.bool_)
    asked, said = (Texts(pl.Series(texts, dtype=pl.String)) for texts in (prompts, answers))
    return Exchanges(asked, said, flags)


@pytest.fixture(scope="module", params=["plain", "template"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm")
    tiny_tokenizer(path, TEMPLATE if request.param == "template" else None)
    return tiny_model("llama", path)


def log_likelihood(folder: Path, before: str, text: str) -> float:
    """Of the first tokens of a text after another, by the library's own classes, in double precision."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    start, said = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (before, text))
    said = said[:64]
    with torch.inference_mode():
        logits = model(torch.tensor([start + said])).logits[0].log_softmax(-1)
    return float(sum(logits[len(start) - 1 + n, token] for n, token in enumerate(said)))


def test_likelihood_is_the_gain_of_the_answer_by_its_prompt(folder: Path) -> None:
    prompt, answer = SENTENCES[1], SENTENCES[0] + SENTENCES[2]
    if "chat_template.jinja" in {path.name for path in folder.iterdir()}:
        shells = [f"<|user|>\n{p}</s>\n<|assistant|>\n" for p in (prompt, "")]
    else:
        shells = [f"<s>{p}\n\n" for p in (prompt, "")]
    expected = log_likelihood(folder, shells[0], answer) - log_likelihood(folder, shells[1], answer)
    (gains,) = LanguageModel(folder, "cpu").gains([prompt], [answer], 64)
    assert gains.size == 64
    assert gains.sum() == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def score(folder: Path) -> Any:
    return likelihood.scorer(likelihood.Settings(model=str(folder), device="cpu"))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_likelihood_of_an_answer_does_not_depend_on_the_others(
    score: Any, rows: list[tuple[str, str]], random: Any
) -> None:
    together = score(exchanges(*zip(*rows, strict=True)))
    mixed = list(range(len(rows)))
    random.shuffle(mixed)
    again = score(exchanges(*zip(*(rows[i] for i in mixed), strict=True)))
    alone = [float(score(exchanges([prompt], [answer]))[0]) for prompt, answer in rows]
    assert together.tolist() == alone
    assert again.tolist() == [alone[i] for i in mixed]
    assert all(0.3 <= value <= 1 for value in alone)
    assert all(
        value == 1 for value, (prompt, _) in zip(alone, rows, strict=True) if not Texts(pl.Series([prompt])).read[0]
    )


def test_padded_batches_say_the_same(folder: Path) -> None:
    """As on a GPU: many rows at once, padded."""
    model = LanguageModel(folder, "cpu")
    prompts, answers = [*SENTENCES, "", "a"], [*SENTENCES[::-1], "the sheep", ""]
    alone = model.gains(prompts, answers, 64)
    model.loaded.alone = False
    together = model.gains(prompts, answers, 64)
    some = model.gains(prompts[3:6], answers[3:6], 64)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for one, other in zip(together[3:6], some, strict=True):
        assert one.tolist() == other.tolist()


@given(st.lists(st.integers(0, 3000), max_size=80), st.booleans())
def test_batches(lengths: list[int], alone: bool) -> None:
    found = list(batches(lengths, alone))
    assert sorted(i for batch, _ in found for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch, (rows, width) in found:
        assert 1 <= len(batch) <= rows
        for i in batch:
            assert [shape for _, shape in batches([lengths[i]], alone)] == [(rows, width)]  # whatever else there is
            assert lengths[i] <= width


def test_long_texts_are_cut(score: Any) -> None:
    long = "1 2 3 4 " * 600
    first, second, third = score(exchanges([long, "x" * 500 + long, long], [long, long, long[:1000] + "sheep"]))
    assert first == second == third


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was taught which answer goes with which prompt."""
    path = tmp_path_factory.mktemp("learnt")
    tokenizer = tiny_tokenizer(path, TEMPLATE)
    tiny_model("llama", path, hidden=64)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
    shown = [f"<|user|>\n{p}</s>\n<|assistant|>\n{a}" for p, a in PAIRS]
    shown += [f"<|user|>\n</s>\n<|assistant|>\n{a}" for _, a in PAIRS]
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in shown]
    width = max(map(len, rows))
    ids = torch.tensor([row + [2] * (width - len(row)) for row in rows])
    labels = torch.where(ids == 2, -100, ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(120):
            loss = model(input_ids=ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.save_pretrained(path)
    return path


PAIRS = [("a river", "the"), ("a town", "one"), ("a grain", "two"), ("a train", "rye"), ("a sheep", "and")]
PAIRS += [("bread", "10"), ("water", "bas"), ("an hour", "for")]


def test_an_answer_to_another_prompt_is_found(learnt: Path) -> None:
    score = likelihood.scorer(likelihood.Settings(model=str(learnt), device="cpu"))
    prompts, answers = [p for p, _ in PAIRS], [a for _, a in PAIRS]
    right = score(exchanges(prompts, answers))
    wrong = score(exchanges(prompts, answers[1:] + answers[:1]))
    assert right.min() > 0.7
    assert wrong.max() < 0.5


def test_an_answer_may_take_up_the_exchange_before(learnt: Path) -> None:
    score = likelihood.scorer(likelihood.Settings(model=str(learnt), device="cpu"))
    prompts, answers = ["a river", "?"], ["Hm.", "the"]
    assert score(exchanges(prompts, answers, [False, True]))[1] != score(exchanges(prompts, answers, [False, False]))[1]


def rows_of(pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    rows = [[{"role": "user", "content": p}, {"role": "assistant", "content": a}] for p, a in pairs]
    kind = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return pl.DataFrame({"messages": rows, "tags": ["{}"] * len(rows)}, schema={"messages": kind, "tags": pl.String})


def test_the_quality_filter_measures_it_where_it_is_named(learnt: Path) -> None:
    batch = rows_of([*PAIRS, (PAIRS[0][0], PAIRS[1][1])])
    without = quality.measure(batch, quality.Settings())
    named = quality.Settings(parts={"likelihood": {"model": str(learnt), "device": "cpu"}})
    found = quality.measure(batch, named)
    assert without["quality_likelihood"].null_count() == batch.height
    assert found["quality_likelihood"][0] > 0.7 > 0.5 > found["quality_likelihood"][8]
    np.testing.assert_allclose(found["quality"], without["quality"] * found["quality_likelihood"])


def test_the_fingerprint_follows_the_files(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    prints = [likelihood.fingerprint(likelihood.Settings(model=str(path))) for path in (folder, copy)]
    assert prints[0] == prints[1]
    (copy / "notes.md").write_text("of no account")
    assert likelihood.fingerprint(likelihood.Settings(model=str(copy))) == prints[0]
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        before = likelihood.fingerprint(likelihood.Settings(model=str(copy)))
        with (copy / name).open("ab") as file:
            file.write(b" ")
        assert likelihood.fingerprint(likelihood.Settings(model=str(copy))) != before


def spoil(folder: Path, how: str) -> None:
    config = folder / "config.json"
    if how == "no config":
        config.unlink()
    elif how == "pickled":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif how == "cut off":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    elif how == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif how == "own code":
        own = json.loads(config.read_text()) | {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
        config.write_text(json.dumps(own))
        (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    elif how == "other weights":
        own = json.loads(config.read_text()) | {"num_hidden_layers": 3}
        config.write_text(json.dumps(own))
    elif how == "no language model":
        BertModel(bert()).save_pretrained(folder)
    elif how == "not there":
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "how",
    [
        "no config",
        "pickled",
        "cut off",
        "no tokenizer",
        "own code",
        "other weights",
        "no language model",
        "not there",
    ],
)
def test_a_folder_that_is_no_model(how: str, tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path / "m")
    tiny_model("llama", tmp_path / "m")
    spoil(tmp_path / "m", how)
    with pytest.raises(UserError, match=r"/m: "):
        likelihood.scorer(likelihood.Settings(model=str(tmp_path / "m"), device="cpu"))
    assert not (tmp_path / "m" / "ran").exists()


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            likelihood.scorer(likelihood.Settings(model=str(folder), device="cuda"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"caravan\[lm\]"):
        likelihood.scorer(likelihood.Settings(model=str(folder)))
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"caravan\[embedding\]"):
        embedding.scorer(embedding.Settings())


@pytest.mark.parametrize("template", ["{{ raise_exception('never') }}", "{% for m in messages %}x{% endfor %}"])
def test_a_template_that_holds_no_prompt_is_not_used(template: str, tmp_path: Path) -> None:
    for name, own in (("with", template), ("without", None)):
        tiny_tokenizer(tmp_path / name, own)
        tiny_model("llama", tmp_path / name)
    found = [
        LanguageModel(tmp_path / name, "cpu").gains(SENTENCES[:3], SENTENCES[3:6], 64) for name in ("with", "without")
    ]
    assert [gain.tolist() for gain in found[0]] == [gain.tolist() for gain in found[1]]


def test_a_template_that_asks_for_the_date_is_told_one(tmp_path: Path) -> None:
    for name, day in (("asks", "{{ strftime_now('%d %B %Y') }}"), ("knows", "26 July 2024")):
        tiny_tokenizer(tmp_path / name, day + TEMPLATE)
        tiny_model("llama", tmp_path / name)
    shells = [LanguageModel(tmp_path / name, "cpu") for name in ("asks", "knows")]
    assert shells[0].before == shells[1].before
    assert len(shells[0].before) > 5


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neox", "qwen2"])
def test_families(family: str, tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, adds_bos=False)
    tiny_model(family, tmp_path)
    (gains,) = LanguageModel(tmp_path, "cpu").gains([SENTENCES[1]], [SENTENCES[0]], 64)
    expected = [log_likelihood(tmp_path, f"<s>{p}\n\n", SENTENCES[0]) for p in (SENTENCES[1], "")]
    assert gains.sum() == pytest.approx(expected[0] - expected[1], abs=1e-3)


def bert() -> BertConfig:
    return BertConfig(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )


def sentence_model(folder: Path, pooling: dict[str, Any] | None = None) -> Path:
    tiny_tokenizer(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertModel(bert()).save_pretrained(folder)
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize("first", [False, True])
def test_sentence_vectors(first: bool, tmp_path: Path) -> None:
    sentence_model(tmp_path, {"pooling_mode_cls_token": first, "pooling_mode_mean_tokens": not first})
    model = SentenceModel(tmp_path, "cpu")
    found = model.vectors(SENTENCES)
    own, tokenizer = AutoModel.from_pretrained(tmp_path, dtype=torch.float64), AutoTokenizer.from_pretrained(tmp_path)
    for sentence, vector in zip(SENTENCES, found, strict=True):
        hidden = own(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].detach().numpy()
        pooled = hidden[0] if first else hidden.mean(0)
        np.testing.assert_allclose(vector, pooled / np.linalg.norm(pooled), atol=1e-5)
    model.loaded.alone = False
    np.testing.assert_allclose(model.vectors(SENTENCES), found, atol=1e-5)
    assert model.vectors(SENTENCES)[2:4].tolist() == model.vectors(SENTENCES[2:4]).tolist()


def test_an_unknown_way_to_pool(tmp_path: Path) -> None:
    sentence_model(tmp_path, {"pooling_mode_max_tokens": True})
    with pytest.raises(UserError, match="pooling_mode_max_tokens"):
        SentenceModel(tmp_path, "cpu")


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_embedding_of_an_answer_does_not_depend_on_the_others(related: Any, rows: list[tuple[str, str]]) -> None:
    together = related(exchanges(*zip(*rows, strict=True)))
    alone = [float(related(exchanges([prompt], [answer]))[0]) for prompt, answer in rows]
    assert together.tolist() == alone
    assert all(0.3 <= value <= 1 for value in alone)


@pytest.fixture(scope="module")
def related(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = sentence_model(tmp_path_factory.mktemp("sentences"))
    return embedding.scorer(embedding.Settings(model=str(path), device="cpu"))


def test_an_answer_that_is_its_prompt_is_about_it(related: Any) -> None:
    assert related(exchanges([SENTENCES[0], "", "x"], [SENTENCES[0], "x", "x"])).tolist() == [1.0, 1.0, 1.0]


GOOD = [f"Clear and kind answer number {n}, with a reason." for n in range(40)]
BAD = [f"whatever lol {n} idk" for n in range(40)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "quality.bin"
    lines = fasttext.folded(pl.Series(GOOD + BAD)).to_list()
    fasttext.fit(lines, [True] * len(GOOD) + [False] * len(BAD)).write(path)
    return path


def test_the_classifier_is_a_scale_of_the_filter(fitted: Path) -> None:
    batch = rows_of([("Hm?", "A clear answer, with a kind reason."), ("Hm?", "lol whatever idk")])
    named = quality.Settings(parts={"classifier": {"model": str(fitted)}})
    values = quality.measure(batch, named)["quality_classifier"].to_list()
    assert values[0] > 0.9
    assert values[1] < 0.1
    other = classifier.scorer(classifier.Settings(model=str(fitted), good="bad"))
    flipped = other(exchanges(["Hm?"] * 2, ["A clear answer, with a kind reason.", "lol whatever idk"]))
    np.testing.assert_allclose(flipped, [1 - value for value in values], atol=2e-5)


def test_a_label_that_the_classifier_does_not_know(fitted: Path) -> None:
    with pytest.raises(UserError, match=r"knows no label '__label__god'.*did you mean '__label__good'"):
        classifier.scorer(classifier.Settings(model=str(fitted), good="god"))


@given(st.lists(texts, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_classifier_reads_answers_one_by_one(fitted: Path, rows: list[str]) -> None:
    score = classifier.scorer(classifier.Settings(model=str(fitted)))
    together = score(exchanges([""] * len(rows), rows))
    assert together.tolist() == [float(score(exchanges([""], [row]))[0]) for row in rows]
    assert ((together >= 0) & (together <= 1)).all()


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_classifier_that_was_tampered_with(fitted: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Whatever the bytes: refused in a line, or read and used."""
    bytes_ = bytearray(fitted.read_bytes())
    dictionary = 3000
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, dictionary))
        bytes_[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(bytes_)), st.integers(0, len(bytes_))))
    path = tmp_path_factory.mktemp("spoilt") / "quality.bin"
    path.write_bytes(bytes(bytes_[:cut]))
    try:
        score = classifier.scorer(classifier.Settings(model=str(path)))
    except UserError:
        pass
    else:
        (value,) = score(exchanges([""], [GOOD[0]]))
        assert 0 <= value <= 1
    path.unlink()


@pytest.mark.parametrize(
    ("at", "form", "value", "said"),
    [
        (4, "<i", 11, "format 11"),
        (28, "<i", 101, "makes no sense"),  # so many words in a row
        (32, "<i", 1, "softmax"),
        (36, "<i", 1, "word vectors"),
        (40, "<i", 0, "makes no sense"),  # no buckets, but pairs of words: a division by 0
        (84, "<q", 5, "quantised"),
        (-4, "<f", float("nan"), "no number"),
        (-4, "<f", 1e30, "no number"),
    ],
)
def test_a_classifier_that_would_crash_what_reads_it(
    fitted: Path, tmp_path: Path, at: int, form: str, value: float, said: str
) -> None:
    data = bytearray(fitted.read_bytes())
    struct.pack_into(form, data, at % len(data), value)
    (tmp_path / "spoilt.bin").write_bytes(data)
    with pytest.raises(UserError, match=said):
        fasttext.checked(tmp_path / "spoilt.bin")


def test_files_that_are_no_classifier(tmp_path: Path) -> None:
    for name, content in (("empty.bin", b""), ("text.bin", b"not a model " * 50)):
        (tmp_path / name).write_bytes(content)
    for name in ("empty.bin", "text.bin", "missing.bin"):
        with pytest.raises(UserError, match=name):
            classifier.scorer(classifier.Settings(model=str(tmp_path / name)))
    with pytest.raises(UserError, match=r"missing\.bin"):
        classifier.fingerprint(classifier.Settings(model=str(tmp_path / "missing.bin")))


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_workers_measure_the_same(
    start_method: StartMethod, learnt: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker loads the models for itself."""
    files = tmp_path / "files"
    files.mkdir()
    for n in range(4):
        rows = [{"instruction": p, "input": "", "output": f"{a} {n}"} for p, a in PAIRS]
        (files / f"{n}.json").write_text(json.dumps(rows), encoding="utf-8")
    parts: dict[str, JsonValue] = {
        "likelihood": {"model": str(learnt), "device": "cpu"},
        "classifier": {"model": str(fitted)},
    }
    found = []
    for workers in (1, 3):
        monkeypatch.setenv("CARAVAN_CACHE", str(tmp_path / f"cache{workers}"))
        gathered, _ = gather_data(
            files, {"quality": {"parts": parts}}, converter="alpaca", workers=workers, start_method=start_method
        )
        found.append(gathered.rows.select("id", pl.selectors.starts_with("quality")))
    assert found[0].equals(found[1])
    assert found[0]["quality_likelihood"].null_count() == 0


def test_a_value_that_is_no_number_stops_the_filter(tmp_path: Path) -> None:
    """NaN would pass any limit."""
    tiny_tokenizer(tmp_path, TEMPLATE)
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama", tmp_path))
    model.lm_head.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    rows = pl.DataFrame(
        {
            "messages": [[{"role": "user", "content": "How?"}, {"role": "assistant", "content": SENTENCES[0]}]],
            "tags": "{}",
        }
    )
    with pytest.raises(UserError, match="a value that is no number"):
        quality.measure(rows, quality.Settings(parts={"likelihood": {"model": str(tmp_path)}}))


def test_a_model_that_reads_what_follows_is_no_language_model(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path, TEMPLATE)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is not causal"):
        LanguageModel(tmp_path, "cpu")
