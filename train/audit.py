"""`train check`: what a run would learn from these rows, before it costs anything. Needs a tokenizer, but no weights.

The arrays that training reads are read here too: every answer is decoded again and compared with its message, and what
stands before it with the prompt that the exported template will write. Nothing is taken from how they were made.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from caravan.terminal import Progress
from caravan.train import hub
from caravan.train.chat_template import template_for
from caravan.train.compare import Compared, compare
from caravan.train.config import TrainConfig
from caravan.train.lengths import UNCUT, Cut, cut_at
from caravan.train.prepare import capacity, order_of, read_tokenizer
from caravan.train.rows import Rows, read_rows
from caravan.train.template import Template
from caravan.train.tokens import SourceTokens, Tokens, recommend_length, tokenise

Severity = Literal["fail", "warn", "note"]
FAIL: Final = "fail"
WARN: Final = "warn"
NOTE: Final = "note"
USUAL = (512, 1024, 2048, 4096)
GPUS = 8  # that steps are packed for, where the configuration does not say
STEPS = 500  # of the first epoch that are packed, at most


@dataclass(frozen=True)
class Finding:
    """One thing found: how often, among how many, in which sources, with some of the rows, and what to do about it."""

    code: str
    severity: Severity
    count: int
    of: int
    unit: str  # what is counted: rows, answers, sources, tokens
    advice: str
    sources: dict[str, int] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of all."""
        return self.count / self.of if self.of else 0.0


@dataclass(frozen=True)
class Packed:
    """How rows fill the bins of the first `steps` steps, on so many GPUs."""

    gpus: int
    capacity: int
    bins: int
    rows: int
    fill: float  # tokens / (bins x capacity)
    rounds: int  # bins that a GPU computes one after the other
    idle: float  # share of the time that GPUs wait for the longest bin of their round, if time goes with tokens
    steps: int
    steps_an_epoch: int
    steps_in_all: int


@dataclass(frozen=True)
class Audit:
    """All of what `train check` says. `answers` and `prompts` were compared."""

    data: str
    tokenizer: str
    template: str
    max_length: int
    recommended_length: int
    content_hash: str
    sources: dict[str, SourceTokens]
    supervised_share: dict[str, float]
    answers: int
    prompts: int
    lengths: list[Cut]
    packed: Packed
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        """Whether something must be mended before training."""
        return any(finding.severity == FAIL for finding in self.findings)

    def json(self) -> dict[str, Any]:
        """As plain values."""
        shares = [asdict(finding) | {"share": finding.share} for finding in self.findings]
        return asdict(self) | {"findings": shares, "failed": self.failed}


# What training does about it stands first, then what a person can do.
LEFT_OUT: dict[str, tuple[Severity, str]] = {
    "nothing_supervised": (
        WARN,
        "They are left out: no answer in them carries loss. See whether answers are missing.",
    ),
    "too_long": (WARN, "They are left out: max_length ends before their first answer. Raise it, or shorten them."),
    "template_refused": (
        WARN,
        "They are left out: the template raises an error. Choose another, or mend the roles.",
    ),
    "two_bos": (FAIL, "The template writes BOS twice: take one out of it."),
}
NOTED: dict[str, tuple[Severity, str]] = {
    "assistant_first": (NOTE, "They begin with an answer, to nothing: it is context and carries no loss."),
    "special_in_text": (NOTE, "People spelled out special tokens: these are encoded as plain text, and end nothing."),
    "rewritten": (WARN, "The template changes what was said (as when it drops earlier thinking): see `train show`."),
    "answer_not_rendered": (WARN, "The template leaves answers out, which then carry no loss: see `train show`."),
    "merged_over_border": (
        WARN,
        "A token holds the end of a header and the start of an answer: it is not learned.",
    ),
    "not_decoded_back": (
        FAIL,
        "The tokens that carry loss do not give the answer back: one of them holds part of the header, or the "
        "tokenizer cannot write this text.",
    ),
}
COMPARED: dict[str, tuple[Severity, str]] = {
    "stop_untrained": (FAIL, "No stop token carries loss at the end of the answer: the model would not learn to stop."),
    "not_decoded_back": NOTED["not_decoded_back"],
    "template_supervised": (FAIL, "Words of the template carry loss: the model would learn to write headers."),
    "answer_without_loss": (FAIL, "An answer that was not cut carries no loss: see `train show`."),
    "special_in_answer": (
        FAIL,
        "A special token stands inside an answer: the model would learn to stop there.",
    ),
    "prompt_differs": (
        FAIL,
        "add_generation_prompt writes another header than stands here: mend the template.",
    ),
    "think_block": (
        WARN,
        "Prompt and training text differ by an empty think block: generate with thinking switched off.",
    ),
    "spaces_changed": (NOTE, "The tokenizer changes white space in answers, which matters for code."),
    "empty_answer": (WARN, "An answer without text teaches to say nothing: leave such rows out."),
    "bos_missing": (WARN, "The tokenizer puts BOS before a text, the template does not: add it to the template."),
    "bos_doubled": LEFT_OUT["two_bos"],
}


def audit(config: TrainConfig, progress: Progress) -> Audit:
    """Look at everything that the run `config` would read. `UserError` for data or a tokenizer that cannot be read."""
    folder = hub.find_model(config.model, weights=False)
    tokenizer = read_tokenizer(folder)
    template = template_for(config.template, tokenizer)
    rows = read_rows(config.data, progress)
    tokens = tokenise(rows, tokenizer, template, config.max_length, progress)
    return examine(config, folder, rows, tokens, tokenizer, template, progress)


def examine(
    config: TrainConfig,
    folder: Path,
    rows: Rows,
    tokens: Tokens,
    tokenizer: Any,
    template: Template,
    progress: Progress,
) -> Audit:
    """As `audit`, over what was read already."""
    compared = compare(rows, tokens, tokenizer, template, progress)
    model = _model_config(folder)
    positions = model.get("max_position_embeddings") or model.get("n_positions") or UNCUT
    recommended = min(recommend_length(tokens.records), positions)
    lengths = [cut_at(tokens.records, n) for n in sorted({*USUAL, config.max_length, recommended})]
    chosen = next(cut for cut in lengths if cut.length == config.max_length)
    findings = [
        *_compared(compared, tokens),
        *_left_out(tokens),
        *_noted(tokens),
        *_of_cut(chosen, next(cut for cut in lengths if cut.length == recommended), tokens),
        *_of_model(config, tokens, positions, model.get("vocab_size")),
    ]
    order = {FAIL: 0, WARN: 1, NOTE: 2}
    carries = {name: source.supervised / max(source.tokens, 1) for name, source in tokens.account.items()}
    return Audit(
        data=str(rows.path),
        tokenizer=str(folder),
        template=config.template,
        max_length=config.max_length,
        recommended_length=recommended,
        content_hash=rows.content_hash,
        sources=tokens.account,
        supervised_share=carries,
        answers=compared.answers,
        prompts=compared.prompts,
        lengths=lengths,
        packed=_packed(config, tokens),
        findings=sorted(findings, key=lambda finding: (order[finding.severity], -finding.share, finding.code)),
    )


def _model_config(folder: Path) -> dict[str, Any]:
    """The model's config.json, or the part of it that is about text."""
    table: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return table.get("text_config") or table


def _compared(compared: Compared, tokens: Tokens) -> list[Finding]:
    findings = []
    for code, places in compared.found.items():
        severity, advice = COMPARED[code]
        of, unit = (len(tokens), "rows") if code.startswith("bos_") else (compared.answers, "answers")
        named = Counter(tokens.sources[tokens.source[row]] for row in places)
        labels = list(dict.fromkeys(tokens.row_ids[row] for row in places))[:3]
        findings.append(Finding(code, severity, len(places), of, unit, advice, dict(sorted(named.items())), labels))
    if not (compared.answers and compared.prompts):
        what = "prompts" if compared.answers else "answers"
        advice = f"No {what} could be compared, so nothing is proven: see `train show`."
        findings.append(Finding("nothing_compared", FAIL, 0, 0, what, advice))
    return findings


def _by_row(code: str, severity: Severity, advice: str, rows: pl.DataFrame, of: int) -> Finding:
    named = Counter(rows["source"].to_list())
    labels = list(dict.fromkeys(rows["row_id"]))[:3]
    return Finding(code, severity, rows.height, of, "rows", advice, dict(sorted(named.items())), labels)


def _left_out(tokens: Tokens) -> list[Finding]:
    findings = []
    for (code,), rows in sorted(tokens.left_out.group_by("code", maintain_order=True), key=lambda pair: str(pair[0])):
        detail = str(rows["detail"][0] or "")
        severity, advice = LEFT_OUT.get(str(code), (WARN, f"They are left out: {detail}."))
        if code == "template_refused" and detail:
            advice += f" The first says: {detail}"
        findings.append(_by_row(str(code), severity, advice, rows, tokens.records.height))
    gone = [name for name, source in tokens.account.items() if source.used == 0]
    if gone:
        advice = f"Nothing of {', '.join(gone)} is trained on: mend it, or take it out of the mixture."
        counts = {name: tokens.account[name].rows for name in gone}
        findings.append(Finding("source_lost", FAIL, len(gone), len(tokens.account), "sources", advice, counts))
    return findings


def _noted(tokens: Tokens) -> list[Finding]:
    """What was noticed while the tokens were made; where it is compared here as well, that counts."""
    findings = []
    used = tokens.noted.filter("used")
    for (code,), rows in sorted(used.group_by("note", maintain_order=True), key=lambda pair: str(pair[0])):
        if code in ("cut_inside", "no_stop_token", "not_decoded_back"):
            continue
        severity, advice = NOTED.get(str(code), (NOTE, "Noticed while the tokens were made: see `train show`."))
        findings.append(_by_row(str(code), severity, advice, rows, len(tokens)))
    return findings


def _of_cut(chosen: Cut, recommended: Cut, tokens: Tokens) -> list[Finding]:
    everything = sum(source.supervised + source.cut_supervised for source in tokens.account.values())
    findings = []
    if chosen.supervised:
        lost = {name: source.cut_supervised for name, source in tokens.account.items() if source.cut_supervised}
        share = chosen.supervised / everything
        advice = f"max_length {chosen.length:,} cuts {share:.1%} of what would carry loss away. "
        if recommended.length > chosen.length:
            advice += f"--max-length {recommended.length} keeps {1 - recommended.supervised / everything:.1%}."
        else:
            advice += "No longer one is advised: divide the longest conversations." if share > 0.01 else "It will do."
        longest = tokens.records.sort("length", descending=True)["row_id"].unique(maintain_order=True)[:3].to_list()
        severity: Severity = WARN if share > 0.01 else NOTE
        findings.append(Finding("cut", severity, chosen.supervised, everything, "tokens", advice, lost, longest))
    inside = tokens.noted.filter(pl.col("used") & (pl.col("note") == "cut_inside"))
    if inside.height:
        advice = "Their first answer is cut in the middle, as not even that fits: no stop token is learned from them."
        findings.append(_by_row("cut_inside", WARN, advice, inside, len(tokens)))
    return findings


def _of_model(config: TrainConfig, tokens: Tokens, positions: int, vocabulary: int | None) -> list[Finding]:
    """Whether lengths and ids are such as the model takes."""
    findings = []
    if config.max_length > positions:
        advice = f"The model takes {positions:,} tokens: --max-length {positions}."
        findings.append(Finding("longer_than_model", FAIL, config.max_length, 0, "tokens", advice))
    beyond = int((tokens.ids >= vocabulary).sum()) if vocabulary else 0
    if beyond:
        advice = f"The model knows {vocabulary:,} tokens, the tokenizer more: take both from one model."
        findings.append(Finding("beyond_vocabulary", FAIL, beyond, len(tokens.ids), "tokens", advice))
    return findings


def _packed(config: TrainConfig, tokens: Tokens) -> Packed:
    gpus = (config.nproc or GPUS) * config.nnodes
    order = order_of(config, tokens, 1, gpus)
    room = capacity(config, 1)
    bins = rows = used = waited = rounds = 0
    steps = min(order.steps_of[0], STEPS)
    for step in range(steps):
        found = order.step(step)
        sums = [int(tokens.lengths[list(items)].sum()) for items in found]
        bins, rows, used = bins + len(found), rows + sum(map(len, found)), used + sum(sums)
        longest = [max(sums[n : n + gpus]) for n in range(0, len(sums), gpus)]
        rounds, waited = rounds + len(longest), waited + sum(longest) * gpus
    return Packed(
        gpus=gpus,
        capacity=room,
        bins=bins,
        rows=rows,
        fill=used / max(bins * room, 1),
        rounds=rounds,
        idle=1 - used / waited if waited else 0.0,
        steps=steps,
        steps_an_epoch=order.steps_of[0],
        steps_in_all=min(len(order), config.max_steps or len(order)),
    )
