"""The command `curate`. Each command is a thin shell over one documented function; nothing heavy is imported here."""

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan import terminal
from caravan.errors import UserError
from caravan.terminal import Progress

app = typer.Typer(
    name="curate",
    help="Raw instruction sets in, one clean weighted mixture out: measure, then decide, then mix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Unit(StrEnum):
    """What a size counts."""

    examples = "examples"
    tokens = "tokens"
    supervised_tokens = "supervised_tokens"


class Key(StrEnum):
    """Which texts of a row are compared."""

    prompt = "prompt"
    response = "response"
    conversation = "conversation"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; default: all processors.", min=1)]
Benchmarks = Annotated[
    str | None,
    typer.Option(help="A folder of benchmark files, or names to take from the hub (mmlu,bbh); default: the samples."),
]
Converter = Annotated[str | None, typer.Option("--as", help="The converter; default: the one that fits the file.")]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Describe unknown fields: user=question,assistant=answer or messages=dialog,role=who,content=text."
    ),
]
MixFolder = Annotated[Path, typer.Option("--mix", help="The mixture's folder.")]


def main() -> None:
    """Run the command; errors that a person can mend are one line and exit status 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: workers end, parts are removed
    how_to_go_on = "run the same command again, it goes on with what was finished"
    try:
        status = app(standalone_mode=False)
        if status == terminal.INTERRUPTED:  # typer has caught Ctrl-C
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        terminal.exit_for(error, how_to_go_on)
    raise SystemExit(status if isinstance(status, int) else terminal.DONE)


@app.command("build-mix")
def build_mix(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=PATH | NAME:CONVERTER=PATH | PATH]...", show_default=False)
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe file, or the name of a shipped one (tulu).")] = None,
    strategy: Annotated[str | None, typer.Option(help="How shares are found: `curate plugins strategies`.")] = None,
    weights: Annotated[str | None, typer.Option(help="Shares for strategy `tuned`: flan=0.3,sharegpt=0.7")] = None,
    size: Annotated[int | None, typer.Option(help="Size of the mixture; default: as much as was kept.", min=1)] = None,
    unit: Annotated[Unit | None, typer.Option(help="What the size counts.")] = None,
    benchmarks: Benchmarks = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.", min=0)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any key of the recipe: filters.quality.minimum=0.4 (repeatable).")
    ] = None,
    workers: Workers = None,
    out: Annotated[Path, typer.Option(help="The mixture's folder.")] = Path("mix"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and count, write nothing.")] = False,
    json_: Json = False,
) -> None:
    """Build one mixture from raw instruction sets. Without sources: from the embedded samples."""
    from caravan.curate import build, engine, show
    from caravan.curate.options import recipe_from
    from caravan.curate.sources import with_arguments

    progress = Progress(quiet=False)
    resolved = recipe_from(
        recipe, strategy=strategy, weights=weights, size=size, unit=unit, benchmarks=benchmarks, seed=seed, keys=set_
    )
    resolved = with_arguments(resolved, sources or [])
    if not any(source.paths for source in resolved.sources.values()):
        progress.say("no sources given: building from the embedded samples (give NAME=PATH for your own data)")
        if resolved.size is not None and size is None:
            progress.say(f"the recipe's size of {resolved.size:,} is meant for real data: it is left out")
            resolved = resolved.model_copy(update={"size": None})
    result = build.build_mix(
        resolved, out=None if dry_run else out, workers=workers or engine.default_workers(), progress=progress
    )
    show.mixture(result, json_)


@app.command()
def convert(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file to write.")],
    as_: Converter = None,
    columns: Columns = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Turn a raw file or folder into examples, or preferences, and say what was refused and why."""
    from caravan.curate import show
    from caravan.curate.options import columns_from, default_workers
    from caravan.curate.single import convert as run

    progress = Progress()
    result = run(
        file, out, converter=as_, columns=columns_from(columns), workers=default_workers(workers), progress=progress
    )
    show.converted(result, out, json_)


@app.command()
def measure(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file to write.")],
    filters: Annotated[str, typer.Option(help="Filters to measure with, separated by commas.")] = "language,quality",
    as_: Converter = None,
    columns: Columns = None,
    benchmarks: Benchmarks = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Measure every row of any data set that a converter reads; nothing is dropped."""
    from caravan.curate import show
    from caravan.curate.options import columns_from, default_workers, names_from
    from caravan.curate.single import measure as run

    result = run(
        file,
        out,
        names_from(filters),
        benchmarks=benchmarks,
        converter=as_,
        columns=columns_from(columns),
        workers=default_workers(workers),
        progress=Progress(),
    )
    show.measured(result, out, json_)


@app.command()
def dedup(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file for the kept rows.")],
    threshold: Annotated[
        float, typer.Option(help="Jaccard similarity from which rows are one.", min=0.05, max=1)
    ] = 0.8,
    key: Annotated[Key, typer.Option(help="Which texts are compared.")] = Key.conversation,
    exact: Annotated[bool, typer.Option("--exact", help="Miss no pair (a prefix-filter join instead of LSH).")] = False,
    as_: Converter = None,
    columns: Columns = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Drop duplicates and near duplicates; pairs and groups are written beside OUT."""
    from caravan.curate import show
    from caravan.curate.dedup import dedup as run
    from caravan.curate.options import columns_from, default_workers

    result = run(
        file,
        threshold=threshold,
        key=key.value,
        exact=exact,
        out=out,
        converter=as_,
        columns=columns_from(columns),
        workers=default_workers(workers),
        progress=Progress(),
    )
    show.deduplicated(result, out, json_)


@app.command("contamination-check")
def contamination_check(
    data: Annotated[str, typer.Argument(metavar="[DATA]")] = "mix/mix.parquet",
    benchmarks: Benchmarks = None,
    out: Annotated[Path | None, typer.Option(help="A folder for contamination.parquet.")] = None,
    max_leaked: Annotated[
        float,
        typer.Option(help="The largest share of items hit in any one benchmark; more is exit status 1.", min=0, max=1),
    ] = 0.01,
    as_: Converter = None,
    columns: Columns = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Say which benchmark items leaked into a data set, and through which rows. Exit status 1: more than allowed."""
    from caravan.curate import show
    from caravan.curate.check import contamination_check as run
    from caravan.curate.options import columns_from, default_workers

    result = run(
        data,
        benchmarks or "",
        out=out,
        max_leaked=max_leaked,
        converter=as_,
        columns=columns_from(columns),
        workers=default_workers(workers),
        progress=Progress(),
    )
    show.checked(result, out, json_)
    raise typer.Exit(terminal.FOUND if result.leaked else terminal.DONE)


@app.command()
def audit(
    mix: Annotated[Path, typer.Argument(metavar="[MIX]", help="The mixture's folder.")] = Path("mix"),
    n: Annotated[
        int, typer.Option("--n", help="Dropped rows for each reason, if there are so many.", min=1, max=10**9)
    ] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=0)] = 0,
    file: Annotated[Path | None, typer.Option(help="The file to mark; default: audit.csv in the folder.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Read the marks: how often is a reason right?")] = False,
    json_: Json = False,
) -> None:
    """Draw dropped rows for a person to mark, and turn the marks into each filter's precision."""
    from caravan.curate import show_audit
    from caravan.curate.auditing import audit as auditing

    path = file or mix / auditing.FILE
    if report:
        show_audit.precision(auditing.precision(mix, path), json_)
    else:
        show_audit.drawn(auditing.draw(mix, path, n=n, seed=seed), json_)


@app.command("train-quality")
def train_quality(
    good: Annotated[list[str], typer.Option("--good", help="A file of good examples (repeatable).")],
    bad: Annotated[list[str], typer.Option("--bad", help="A file of bad examples (repeatable).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the classifier: a .bin file.")],
    held_out: Annotated[float, typer.Option(help="The share of prompts kept to say how good it is.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the fit.", min=0)] = 0,
    json_: Json = False,
) -> None:
    """Fit a fastText classifier on good and bad examples of your own: a part of the quality score."""
    from caravan.curate import show_audit
    from caravan.curate.train_quality import train_quality as run

    show_audit.trained(run(good, bad, out, held_out=held_out, seed=seed, progress=Progress(quiet=False)), json_)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    as_: Converter = None,
    columns: Columns = None,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Say what a file is, what a converter makes of it, and how its rows measure. Shows no texts."""
    from caravan.curate import show
    from caravan.curate.inspect import inspect as run
    from caravan.curate.options import columns_from, default_workers

    show.inspected(
        run(
            file,
            converter=as_,
            columns=columns_from(columns),
            workers=default_workers(workers),
            progress=Progress(),
        ),
        json_,
    )


@app.command()
def explain(
    row: Annotated[str, typer.Argument(metavar="ID|FILE:ROW")],
    mix: MixFolder = Path("mix"),
    json_: Json = False,
) -> None:
    """Say where a row came from, what was measured, the verdict, and what it repeats or leaks."""
    from caravan.curate import show
    from caravan.curate.explain import explain as run

    show.explained(*run(row, mix), json_)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A")],
    b: Annotated[Path, typer.Argument(metavar="B")],
    json_: Json = False,
) -> None:
    """Say which rows two mixtures do not share, and why each moved. Exit status 1: they differ."""
    from caravan.curate import show
    from caravan.curate.diff import diff as run

    result = run(a, b)
    show.compared(result, json_)
    raise typer.Exit(terminal.DONE if result.same_content else terminal.FOUND)


@app.command()
def plugins(
    kind: Annotated[
        str | None, typer.Argument(metavar="[converters|filters|quality_parts|strategies|benchmarks]")
    ] = None,
    json_: Json = False,
) -> None:
    """List the plugins that are installed, with their options."""
    from caravan import plugins as registry
    from caravan.curate import show_installed
    from caravan.errors import did_you_mean

    if kind is not None and kind not in registry.KINDS:
        raise UserError(f"no kind of plugin {kind!r}", fix=did_you_mean(kind, registry.KINDS))
    show_installed.plugins([k for k in registry.KINDS if kind in (None, k)], json_)


@app.command()
def doctor(json_: Json = False) -> None:
    """Say what this installation has and lacks. Exit status 1: something is missing."""
    from caravan.curate import show_installed
    from caravan.curate.doctor import doctor as run

    findings = run()
    show_installed.findings(findings, json_)
    raise typer.Exit(terminal.DONE if all(f.well for f in findings) else terminal.FOUND)


def _version(asked: bool) -> None:
    if asked:
        import caravan

        terminal.out(f"caravan {caravan.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> Any:
    """Raw instruction sets in, one clean weighted mixture out: measure, then decide, then mix."""
