"""The contract of a benchmark: a module in `eval/benchmarks/` that knows the published files, how to ask, how to score.

    VERSION = 1                              # raised when items change: it is part of cache keys
    HUB = "cais/mmlu"                        # the id on the hub, or None
    LICENCE = "MIT"
    def items(folder) -> Iterator[Item]      # the evaluation split only, in the published order

With these alone rows can be compared with it (contamination). What `evaluate` needs beside them, all pure functions:

    VARIANTS = ("5-shot", "0-shot")          # ways to ask, the usual one first
    METRICS = ("accuracy",)                  # the headline first (or that of the variant's name); values are 0..1
    AVERAGE = "micro"                        # the headline: over items, or "macro": the mean of the groups' means
    def problems(folder, variant) -> Iterator[Problem]
    def ask(problem, setting) -> Ask
    def score(problem, answers, setting) -> Verdict
    def published(scored) -> dict            # optional: figures in the form and unit in which its authors print them
    def stored(path, problems) -> Outputs | None    # optional: published files of models' outputs; see below
    def notes(folder, variant) -> list[str]  # optional: what a reader of the score must know of the prompts' files
    def category(group) -> str               # optional: what groups are pooled by in reports
    TULU_SAMPLE = 40                         # optional: items a group in the published scripts, 0 or absent: all
    JUDGED_BY = "pairs"                      # optional: who fills `Answer.judged`: "pairs" or "classifier"
    RUNS_CODE = True                         # optional: scoring runs what the model wrote
    LOWER_IS_BETTER = True                   # optional

`stored` gives None for what it does not recognise. `problems` is a function that gives the problems of the data folder,
with which the outputs must agree; or None: the outputs stand alone, or (if they cannot) are not recognised.

`folder` holds the published files as they are (the layout of `--benchmarks DIR` and `--data-dir DIR`: one folder a
benchmark, named as its plugin). The embedded sample under `eval/samples/NAME/` has the same layout.
`UserError` names the file when one is missing or broken.

Protocols. `tulu` is the published procedure of "How Far Can Camels Go?" (Wang et al., 2023), faults included;
`original` is the rule of the benchmark's own authors; `strict` is ours: exact where the others are lenient by accident,
and a failed extraction or generation is a class of its own, never a wrong answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

Rules = Literal["strict", "tulu", "original"]
RULES: tuple[Rules, ...] = get_args(Rules)
Ended = Literal["stop", "length", "failed"]
Status = Literal["scored", "unextractable", "empty", "failed", "unjudged"]


@dataclass(frozen=True, slots=True)
class Item:
    """One benchmark item: what contamination compares with, and what a model will be asked.

    `id` is unique in the benchmark and stable (`high_school_physics/test/12`, `HumanEval/3`); `group` is the subject,
    task or language that reports break down by. `question` is the text that identifies the item, without template
    and without few-shot examples; `choices` are its options in order; `answer` is the gold answer's text; `passage`
    is a text that the question refers to and that several items may share.
    """

    id: str
    question: str
    answer: str = ""
    group: str = ""
    choices: tuple[str, ...] = ()
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """An item with all that asking and scoring need.

    `golds` are the answers that count as right (a letter for choices: "A" is the first). Items with the same `cluster`
    share a passage or a prompt, so their scores are not independent; "" is a cluster of its own. `shots` are the
    examples that may stand before the question, in order. `more` is what the benchmark alone understands.
    """

    item: Item
    golds: tuple[str, ...] = ()
    cluster: str = ""
    shots: tuple["Problem", ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a benchmark is asked and scored.

    `cut(text, n)` gives the text of the first n tokens, by the model under test (the published TyDi QA procedure cuts
    passages so). `run_code` allows that programs which a model wrote are run, in a sandbox.
    """

    variant: str
    protocol: Rules = "strict"
    cut: Callable[[str, int], str] = lambda text, _: text
    run_code: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What a model is asked.

    `text` is what a person would type, few-shot examples included. In plain form `ending` follows it (or `plain` stands
    for both); in chat form it is one user turn, and `opener` begins the assistant's. With `choices` the log-probability
    of each, as the continuation of the prompt, is asked (" A": the space belongs to it); without, a text of at most
    `new_tokens` tokens, which ends before the first of `stop` (`chat_stop` in chat form). `samples` texts are drawn at
    a `temperature` above 0, and `top_p`.
    """

    text: str
    ending: str = ""
    opener: str = ""
    plain: str | None = None
    choices: tuple[str, ...] = ()
    new_tokens: int = 0
    stop: tuple[str, ...] = ()
    chat_stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model gave: a text, or the log-probability (natural, summed over its tokens) of each choice.

    `ended`: by itself or at a stop string, at the limit of tokens, or not at all (`error` says why). `judged` is what
    a judge or a classifier made of the text (0..1), None where nobody was asked. `near_tie`: the decision hung on a
    difference that rounding can turn.
    """

    text: str = ""
    logprobs: tuple[float, ...] = ()
    ended: Ended = "stop"
    error: str = ""
    judged: float | None = None
    near_tie: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an item's answer is worth: a value per metric (none where `status` is an error class).

    `unextractable` has values (0: no answer was found), but is counted apart. `rule` says in a few words what decided
    ("last 'the answer is', brackets exact"), so that two protocols' verdicts can be told apart.
    """

    status: Status
    values: Mapping[str, float] = field(default_factory=dict)
    extracted: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored output: the answers to a problem, of one model where a file holds several.

    `claimed` is the verdict on the headline metric that the file itself carries, if it does.
    """

    problem: Problem
    answers: tuple[Answer, ...]
    model: str = ""
    claimed: float | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Stored outputs of one file or folder, with the variant that they answer and what a reader must know of them."""

    rows: list[Stored]
    variant: str
    notes: list[str] = field(default_factory=list)


Scored = Sequence[tuple[Problem, Verdict]]


class Benchmark(Protocol):
    """What `load("benchmarks", name)` gives: items that rows can be compared with."""

    @property
    def VERSION(self) -> int:
        """Raised when items change."""

    @property
    def HUB(self) -> str | None:
        """The id on the hub, or None."""

    @property
    def LICENCE(self) -> str:
        """The licence of the published files."""

    def items(self, folder: Path) -> Iterator[Item]:
        """The items of the evaluation split, in the published order."""


class Askable(Benchmark, Protocol):
    """A benchmark that can be asked and scored."""

    @property
    def VARIANTS(self) -> tuple[str, ...]:
        """Ways to ask, the usual one first."""

    @property
    def METRICS(self) -> tuple[str, ...]:
        """What is scored, the headline first."""

    @property
    def AVERAGE(self) -> Literal["micro", "macro"]:
        """Over items, or over groups."""

    def problems(self, folder: Path, variant: str) -> Iterator[Problem]:
        """The problems of the evaluation split, in the published order; `UserError` for a file that they need."""

    def ask(self, problem: Problem, setting: Setting) -> Ask:
        """What to ask, with all of `problem.shots`: the runner takes shots away where the prompt is too long."""

    def score(self, problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
        """What the answers are worth (one, or `Ask.samples`)."""


SAMPLES = Path(__file__).parent / "samples"
