"""What a person who marks a dropped row is told of it: the evidence in words, the texts, and what to compare with."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from caravan.curate import benchmarks
from caravan.errors import UserError
from caravan.mixtures.manifest import FilterRecord
from caravan.plugins import find, load

SHOWN = 3_000  # characters of a text; what is left out is said
_TAIL = 800  # of these from its end
_BEFORE = 600  # before the place that the evidence is about
_SNIPPETS = 400  # characters of a row's text that a benchmark item has, too
_DIFFERENCE = 150  # of what differs between a row and the one that it repeats
_ITEMS = 3  # benchmark items named
_FAULT = 0.95  # a gate below it found something
_LITTLE = 0.5  # a scale below it is named

UNSEEN = "[no visible text]"

Message = Mapping[str, str]

STEPS = {
    "script": "by its script",
    "both": "both detectors say so",
    "sure": "the second detector alone is sure",
}


@dataclass(frozen=True)
class Told:
    """The cells of a row that are for reading. `beside_*` is what it is compared with."""

    evidence: str
    prompt: str
    answer: str
    beside_prompt: str = ""
    beside_answer: str = ""


class Items:
    """The benchmark items that rows were compared with, as the build read them; loaded when the first is asked for."""

    def __init__(self, active: FilterRecord) -> None:
        self._choice = str(active.settings.get("benchmarks", ""))
        prints = active.fingerprint.get("benchmarks")
        self._read = prints if isinstance(prints, dict) else {}

    @cached_property
    def _items(self) -> dict[tuple[str, str], benchmarks.Item]:
        now = benchmarks.fingerprint(self._choice)
        loaded = benchmarks.load_items(self._choice)
        return {(b.name, i.id): i for b in loaded if now[b.name] == self._read.get(b.name) for i in b.items}

    def texts(self, benchmark: str, item: str) -> tuple[str, str]:
        """Question (with its options) and gold answer; where the files are gone, or are others by now, that instead."""
        try:
            found = self._items.get((benchmark, item))
        except UserError:
            found = None
        if found is None:
            unknown = f"[the files of {benchmark} are not as the build read them]"
            return unknown, unknown
        return "\n".join([found.question, *(f"- {choice}" for choice in found.choices)]), found.answer


@dataclass(frozen=True)
class _Case:
    """A dropped row: its texts, the evidence for its reason, and the limits that held for its source."""

    messages: Sequence[Message]
    prompt: str
    answer: str
    evidence: dict[str, Any]
    limits: dict[str, Any]
    partner: Mapping[str, Any]
    partner_messages: Sequence[Message] | None
    items: Items | None


def tell(row: Mapping[str, Any], active: FilterRecord | None, partner: Mapping[str, Any], items: Items | None) -> Told:
    """Everything about one line of dropped.parquet: `active` is the filter that dropped it, None where it is not
    known any more; `partner` is the ledger's line of the row that it repeats (else empty).
    """
    messages = row["messages"] or []
    prompt, answer = sides(messages)
    case = _Case(
        messages=messages,
        prompt=prompt,
        answer=answer,
        evidence=_own_evidence(row["evidence"], row["reason"]),
        limits=active.limits | active.overrides.get(row["source"], {}) if active else {},
        partner=partner,
        partner_messages=row.get("duplicate_messages"),
        items=items,
    )
    return TELLERS.get(active.name if active else "", _values)(case)


def sides(messages: Sequence[Message]) -> tuple[str, str]:
    """A conversation's texts up to the first answer, and from there on; several turns are labelled."""
    first = next((n for n, m in enumerate(messages) if m["role"] == "assistant"), len(messages))
    return _turns(messages[:first], "user"), _turns(messages[first:], "assistant")


def clip(text: str, at: int = 0) -> str:
    """The text, or what is shown of a long one: start and end, or what lies around the character `at`."""
    if len(text) <= SHOWN:
        return text
    if at < SHOWN - _TAIL:
        left = len(text) - SHOWN
        return f"{text[: SHOWN - _TAIL]}\n[... {left:,} characters left out ...]\n{text[-_TAIL:]}"
    start = at - _BEFORE
    end = min(start + SHOWN, len(text))
    after = f"\n[... {len(text) - end:,} characters left out]" if end < len(text) else ""
    return f"[{start:,} characters left out ...]\n{text[start:end]}{after}"


def _turns(messages: Sequence[Message], role: str) -> str:
    texts = [(m["role"], _lines(m["content"]) if _visible(m["content"]) else UNSEEN) for m in messages]
    if len(texts) == 1 and texts[0][0] == role:
        return texts[0][1]
    return "\n\n".join(f"[{who}] {text}" for who, text in texts)


def _visible(text: str) -> bool:
    return any(c.isprintable() and not c.isspace() for c in text)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as a spreadsheet has them


def _own_evidence(text: str | None, reason: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    found = value.get(reason) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _values(case: _Case) -> Told:
    """Of a filter that nothing is known of here: its figures and limits, by their names."""
    figures = [f"{name} {_figure(value)}" for name, value in case.evidence.items() if value is not None]
    limits = [f"{name} {_figure(value)}" for name, value in case.limits.items() if value is not None]
    said = ", ".join(figures) + (f" (limits: {', '.join(limits)})" if limits else "")
    return Told(said, clip(case.prompt), clip(case.answer))


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _language(case: _Case) -> Told:
    seen = case.evidence
    step = str(seen.get("language_step"))
    keep = case.limits.get("keep")
    kept = f"; kept here: {', '.join(map(str, keep))}" if isinstance(keep, list) else ""
    said = (
        f"language {seen.get('language')}, score {_figure(seen.get('language_score'))}, step {step}"
        + (f" ({STEPS[step]})" if step in STEPS else "")
        + f", {_figure(seen.get('language_letters'))} letters read{kept}"
    )
    return Told(said, clip(case.prompt), clip(case.answer))


def _quality(case: _Case) -> Told:
    """The parts at fault, the worst first: gates that found something, and scales with little to show."""
    values = {
        name.removeprefix("quality_"): float(value)
        for name, value in case.evidence.items()
        if name.startswith("quality_") and isinstance(value, float | int)
    }
    complete = values.pop("complete", 1.0)
    score = case.evidence.get("quality")
    said = [f"quality {_figure(score)}, the least that stays is {_figure(case.limits.get('minimum'))}"]
    if complete == 0:
        said.append("no answer has any text")
    else:
        scales = {name for name in values if name in find("quality_parts") and _is_scale(name)}
        faults = [f"{n} {v:.2f}" for n, v in _worst(values, _FAULT) if n not in scales]
        little = [f"{n} {v:.2f}" for n, v in _worst(values, _LITTLE) if n in scales]
        if complete < 1:
            faults.insert(0, f"complete {complete:.2f}")
        said.append(f"faults found (1: none): {', '.join(faults) or 'none'}")
        if little:
            said.append(f"little of: {', '.join(little)}")
    return Told("; ".join(said), clip(case.prompt), clip(case.answer))


def _is_scale(name: str) -> bool:
    return bool(load("quality_parts", name).KIND == "scale")


def _worst(values: Mapping[str, float], below: float) -> list[tuple[str, float]]:
    return sorted(((n, v) for n, v in values.items() if v < below), key=lambda pair: (pair[1], pair[0]))


def _duplicates(case: _Case) -> Told:
    """The row that stays, side by side: long texts from where they begin to differ."""
    seen, partner = case.evidence, case.partner
    place = f" ({partner['source']}, {partner['file']}:{partner['row']})" if partner else ""
    said = (
        f"repeats {seen.get('duplicate_of')}{place}, which stays; compared by {seen.get('duplicate_key')},"
        f" similarity {_figure(seen.get('similarity'))}"
    )
    if case.partner_messages is None:
        unknown = "[not kept with this mixture: build it again]"
        return Told(said, clip(case.prompt), clip(case.answer), unknown, unknown)
    prompt, answer = sides(case.partner_messages)
    prompt_at, prompts = _difference(case.prompt, prompt)
    answer_at, answers = _difference(case.answer, answer)
    return Told(
        f"{said}; prompts: {prompts}; answers: {answers}",
        clip(case.prompt, prompt_at),
        clip(case.answer, answer_at),
        clip(prompt, prompt_at),
        clip(answer, answer_at),
    )


def _difference(a: str, b: str) -> tuple[int, str]:
    """Where two texts begin to differ (0: they do not), and what stands between what they begin and end with alike."""
    if a == b:
        return 0, "the same"
    start = _alike(a, b)
    here, there = a.split(), b.split()
    front = _alike(here, there)
    back = _alike(here[front:][::-1], there[front:][::-1])
    mine, other = (_short(" ".join(words[front : len(words) - back])) for words in (here, there))
    return start, f"here {mine}, there {other}"


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """How many of their first parts are the same."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _short(text: str) -> str:
    shown = text if len(text) <= _DIFFERENCE else f"{text[:_DIFFERENCE]} ..."
    return f'"{shown}"' if text else "nothing"


def _contamination(case: _Case) -> Told:
    """The items, the words that row and worst item share, and that item's question and gold answer."""
    found = sorted(
        case.evidence.get("contamination") or [], key=lambda m: (-m["coverage_item"], m["benchmark"], m["item"])
    )
    if not found:
        return _values(case)
    said = [
        f"{m['coverage_item']:.0%} of {m['benchmark']} {m['item']} ({m['kind']}), {m['coverage_row']:.0%} of the row"
        for m in found[:_ITEMS]
    ]
    if len(found) > _ITEMS:
        said.append(f"and {len(found) - _ITEMS:,} more items")
    shared = _shared(case.messages, found[0]["row_spans"])
    if shared:
        said.append(f"shared: {' ... '.join(shared)[:_SNIPPETS]}")
    first = shared[0] if shared else ""
    question, answer = case.items.texts(found[0]["benchmark"], found[0]["item"]) if case.items else ("", "")
    return Told(
        "; ".join(said),
        clip(case.prompt, max(case.prompt.find(first), 0)),
        clip(case.answer, max(case.answer.find(first), 0)),
        clip(question),
        clip(answer),
    )


def _shared(messages: Sequence[Message], spans: Sequence[Mapping[str, int]]) -> list[str]:
    """The stretches of a row's text that an item has, too."""
    inside = [span for span in spans if 0 <= span["message"] < len(messages)]
    return [_lines(messages[s["message"]]["content"][s["start"] : s["end"]]) for s in inside]


TELLERS: dict[str, Callable[[_Case], Told]] = {
    "language": _language,
    "quality": _quality,
    "duplicates": _duplicates,
    "contamination": _contamination,
}
