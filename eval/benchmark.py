"""The contract of a benchmark: a module in `eval/benchmarks/` that knows the published files and gives their items.

    VERSION = 1                              # raised when items change: it is part of cache keys
    HUB = "cais/mmlu"                        # the id on the hub, or None
    LICENCE = "MIT"
    def items(folder) -> Iterator[Item]      # the evaluation split only, in the published order

`folder` holds the published files as they are (the layout of `--benchmarks DIR` and `--data-dir DIR`: one folder a
benchmark, named as its plugin). The embedded sample under `eval/samples/NAME/` has the same layout.
`UserError` names the file when one is missing or broken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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


class Benchmark(Protocol):
    """What `load("benchmarks", name)` gives."""

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


SAMPLES = Path(__file__).parent / "samples"
