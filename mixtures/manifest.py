"""The manifest: what was read, measured, decided and mixed. It travels with the mixture into checkpoint and scores.

Nothing in it depends on the clock, the machine, the number of workers or the order of files: the same inputs and
seed give the same bytes.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from caravan.errors import UserError
from caravan.proportions import wilson

FILE = "manifest.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FileRead(_Strict):
    """One input file: `rows` raw rows = `cited` by an example + `rejected` (by code) + `quarantined`."""

    file: str
    sha256: str
    bytes: int
    converter: str
    converter_version: int
    options: dict[str, JsonValue] = {}
    rows: int
    cited: int
    rejected: int
    quarantined: int
    examples: int
    codes: dict[str, int] = {}  # refusals by code; a row may be cited and have a part of it refused
    text_changes: dict[str, int] = {}  # characters mended on the way in: nfc, nul, surrogate
    notes: dict[str, int] = {}  # what a converter counted beside (turns lost to a compat rule, ...)


class Amount(_Strict):
    """Rows and tokens of one source in the mixture."""

    examples: int = 0
    tokens: int = 0
    supervised_tokens: int = 0


class SourceRecord(_Strict):
    """One source: `examples` = `drawn` (distinct) + `validation` + `not_drawn` + all of `dropped`."""

    name: str
    licences: list[str]  # of its rows, as their publishers state them; empty: not stated
    files: list[FileRead]
    examples: int
    dropped: dict[str, int]  # by first reason
    drawn: int
    validation: int
    not_drawn: int
    quality: float | None  # mean over kept examples
    share_requested: float  # what the strategy asked for
    share_given: float  # in the recipe's unit
    requested: int  # in the recipe's unit
    given: Amount  # copies counted
    max_copies: int  # how often the most repeated row stands in the mixture


class FilterRecord(_Strict):
    """One filter as it ran: what its measures depended on, and the limits that decided."""

    name: str
    version: int
    settings: dict[str, JsonValue]
    limits: dict[str, JsonValue]
    overrides: dict[str, dict[str, JsonValue]] = {}  # limits by source
    fingerprint: dict[str, JsonValue] = {}


class Leaked(_Strict):
    """Items and rows of a benchmark, or of a part of it: `items` = checked + `too_short`; `hit` ones are leaks.

    Suspected ones (in other words) and variants (other numbers) are no leaks. Each item and each row is counted once:
    as hit, else as suspected, else as a variant. `rows_answered` are rows hit that hold an item's answer beside it.
    """

    name: str
    items: int
    too_short: int
    hit: int
    rows_hit: int
    rows_answered: int = 0
    suspected: int = 0
    rows_suspected: int = 0
    variants: int = 0
    rows_variants: int = 0

    @property
    def share(self) -> float:
        """Items hit over all items."""
        return self.hit / self.items if self.items else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of that share, as if the items were drawn from many like them."""
        return wilson(self.hit, self.items) if self.items else (0.0, 1.0)


class GroupRecord(Leaked):
    """A benchmark's subject, task or language."""


class BenchmarkRecord(Leaked):
    """A benchmark that rows were compared with; `embedded`: our sample of it."""

    embedded: bool
    groups: list[GroupRecord] = []


class Manifest(_Strict):
    """See the module. `content_hash` runs over the mixture's logical rows, without paths and times."""

    format: int = 1
    caravan: str
    content_hash: str
    recipe: dict[str, JsonValue]
    seed: int
    unit: str
    token_counter: str  # cl100k_base by tiktoken, or `estimate`
    requested: int
    given: Amount
    validation: Amount
    embedded_samples: bool
    sources: list[SourceRecord]
    filters: list[FilterRecord]
    benchmarks: list[BenchmarkRecord]
    strategy: dict[str, JsonValue]
    libraries: dict[str, str]
    notes: list[str] = []  # sentences for people: what the repeat cap handed on, sources that gave nothing


def write(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` into the folder."""
    (folder / FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """Read a mixture folder's manifest; `UserError` when there is none or it is not ours."""
    path = folder / FILE
    try:
        if path.exists() and not path.is_file():
            raise FileNotFoundError
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("no manifest", where=str(path), fix="name a folder that `curate build-mix` wrote") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"not a manifest of this version: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(path),
            fix="build the mixture again",
        ) from None
