"""The command `evaluate`. Each command is a thin shell over one documented function; nothing heavy is imported here."""

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from caravan import terminal
from caravan.errors import UserError
from caravan.terminal import Progress

app = typer.Typer(
    name="evaluate",
    help="Scores one can believe: what was asked, how it was scored, how sure the score is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Protocol(StrEnum):
    """By whose rules: ours, the paper's, the benchmark's authors'."""

    strict = "strict"
    tulu = "tulu"
    original = "original"


class Form(StrEnum):
    """How a prompt is put: as a chat turn, as plain text, in the paper's turns; auto: chat, if there is a template."""

    auto = "auto"
    chat = "chat"
    plain = "plain"
    tulu = "tulu"


class Precision(StrEnum):
    """What the model is computed in; auto: float32 on a CPU, bfloat16 on a GPU."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Benchmarks = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME:VARIANT,...", help="Which; without it, all that the data folder has."),
]
Rules = Annotated[Protocol, typer.Option(help="By whose rules: ours, the Tülu paper's, the benchmark's authors'.")]
DataDir = Annotated[
    str | None,
    typer.Option(help="A folder with one folder a benchmark; without it the hub, or (nothing named) our samples."),
]
Limit = Annotated[int, typer.Option(min=0, help="At most so many items of each benchmark; 0: all.")]
RunCode = Annotated[bool, typer.Option("--run-code", help="Run programs that the model wrote, in a sandbox.")]
Classifier = Annotated[
    str | None,
    typer.Option(
        help="ToxiGen's classifier: a folder, OWNER/NAME, or a judge: URL#MODEL.", show_default="tomh/toxigen_roberta"
    ),
]
ServerUrl = Annotated[str, typer.Option(help="The address of an OpenAI-compatible server, up to and with /v1.")]
KeyEnv = Annotated[str, typer.Option(help="The environment variable that holds the server's key.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at the same time.")]


def main() -> None:
    """Run the command; errors that a person can mend are one line and exit status 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(standalone_mode=False)
        if status == terminal.INTERRUPTED:  # typer's own way to say it
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        terminal.exit_for(error, "run the same command again, it goes on with what was not answered")
    raise SystemExit(status if isinstance(status, int) else terminal.DONE)


@app.command()
def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A folder, a run of train, OWNER/NAME on the hub; with --url the server's name of it."
        ),
    ],
    benchmarks: Benchmarks = None,
    protocol: Rules = Protocol.strict,
    limit: Limit = 0,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="evaluation/MODEL")] = None,
    mix: Annotated[
        str | None, typer.Option(help="A mixture: scores are also given on items that did not leak.")
    ] = None,
    form: Annotated[
        Form, typer.Option(help="Chat turns or plain text; auto: chat if the tokenizer has a template.")
    ] = Form.auto,
    precision: Annotated[Precision, typer.Option(help="auto: float32 on a CPU, bfloat16 on a GPU.")] = Precision.auto,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a batch; without it, what memory allows.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Ask an OpenAI-compatible server at this address, up to and with /v1.")
    ] = None,
    key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 8,
    tokenizer: Annotated[
        str | None, typer.Option(help="With --url: the folder or hub name of the model's tokenizer.")
    ] = None,
    classifier: Classifier = None,
    run_code: RunCode = False,
    json_: Json = False,
) -> None:
    """Ask benchmarks of a model and score the answers. Run again, it goes on where it stopped."""
    from caravan.eval import show
    from caravan.eval.choose import choose
    from caravan.eval.run import evaluate

    progress = Progress()
    chosen, notes = choose(benchmarks, data_dir)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if rank:
        progress = Progress(quiet=True, warns=False)
    for note in notes:
        progress.say(note)
    asked: Any
    if url is not None:
        from caravan.eval.models.server import open_server

        asked = open_server(url, model, tokenizer=tokenizer, form=form.value, key_env=key_env, concurrency=concurrency)
    else:
        from caravan.eval.models.local import open_model

        asked = open_model(
            model, form=form.value, dtype=precision.value, batch_tokens=batch_tokens, rank=rank, world=world
        )
    for note in getattr(asked, "notes", ()):
        progress.say(f"{model}: {note}")
    result = evaluate(
        asked,
        chosen,
        out or Path("evaluation") / show.folder_name(model),
        protocol=protocol.value,
        limit=limit,
        run_code=run_code,
        classifier=classifier,
        mix=mix,
        rank=rank,
        world=world,
        progress=progress,
    )
    if not rank:
        show.evaluated(result, json_)


@app.command()
def score(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="Which, as NAME or NAME:VARIANT.")],
    outputs: Annotated[
        str, typer.Argument(metavar="OUTPUTS", help="Published outputs, a run's folder, or JSON Lines {id, output}.")
    ],
    protocol: Rules = Protocol.strict,
    data_dir: DataDir = None,
    classifier: Classifier = None,
    run_code: RunCode = False,
    json_: Json = False,
) -> None:
    """Score stored outputs of anybody's model by every protocol, and name the items on which they disagree."""
    from caravan.eval import show
    from caravan.eval.outputs import score_outputs

    name, _, variant = benchmark.partition(":")
    show.scored(
        score_outputs(
            name,
            outputs,
            variant=variant or None,
            data_dir=data_dir,
            protocol=protocol.value,
            run_code=run_code,
            classifier=classifier,
            progress=Progress(quiet=json_),
        ),
        json_,
    )


@app.command("show")
def show_prompt(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="Which, as NAME or NAME:VARIANT.")],
    item: Annotated[str, typer.Option(help="The item's id, or its number from 0.")] = "0",
    model: Annotated[str | None, typer.Option(help="The model whose tokenizer and chat template are used.")] = None,
    protocol: Rules = Protocol.strict,
    data_dir: DataDir = None,
    form: Annotated[Form, typer.Option(help="Chat turns or plain text.")] = Form.auto,
    json_: Json = False,
) -> None:
    """Show the exact prompt of an item; with --model token by token."""
    from caravan.eval import show
    from caravan.eval.choose import choose
    from caravan.eval.preview import preview

    found, notes = choose(benchmark, data_dir)
    if len(found) > 1:
        raise UserError(f"{benchmark} is more than one benchmark", fix="show an item of one")
    for note in notes:
        Progress(quiet=json_).say(note)
    show.preview(preview(found[0], item, protocol.value, model, form.value), json_)


@app.command()
def judge(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run's folder, or a file of outputs.")],
    b: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="The other's outputs; without it, AlpacaEval's reference.")
    ] = None,
    model: Annotated[str, typer.Option(help="The judge, by the server's name of it.")] = "gpt-4-turbo",
    url: ServerUrl = "https://api.openai.com/v1",
    out: Annotated[Path, typer.Option(help="The folder of the verdicts.")] = Path("judged"),
    prices: Annotated[
        str | None, typer.Option(metavar="IN,OUT", help="What a million tokens of prompt and of answer cost.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Spend no more than this.")] = None,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Room for a verdict; a judge that thinks needs more.")] = 16,
    data_dir: DataDir = None,
    key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 8,
    json_: Json = False,
) -> None:
    """Let a model judge two models' outputs, each pair in both orders; says what it will cost before it begins."""
    from caravan.eval import show
    from caravan.eval.judging.cost import Prices
    from caravan.eval.judging.outputs import judge_outputs
    from caravan.eval.models.client import Endpoint

    cost = None
    if prices is not None:
        try:
            cost = Prices(*(float(price) for price in prices.split(",")))
        except (ValueError, TypeError):
            raise UserError(f"--prices {prices}: not two numbers", fix="write, for example, --prices 10,30") from None
    if max_cost is not None and cost is None:
        raise UserError("--max-cost without prices", fix="add --prices IN,OUT: what a million tokens cost")
    show.judged(
        judge_outputs(
            a,
            b,
            Endpoint(url, model, key_env=key_env, concurrency=concurrency),
            out,
            data_dir=data_dir,
            prices=cost,
            max_cost=max_cost,
            answer_tokens=answer_tokens,
            progress=Progress(),
        ),
        json_,
    )


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs, lm-eval's or inspect_ai's logs; NAME=RUN,RUN are seeds of one setting."
        ),
    ],
    markdown: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown, too.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as one page, too.")] = None,
    json_: Json = False,
) -> None:
    """Compare runs on the items that they share; the first is the baseline. Says what a difference can be believed."""
    from caravan.eval.comparing import page, showing
    from caravan.eval.comparing.arms import read_arms
    from caravan.eval.comparing.compare import compare as run

    found = run(read_arms(runs))
    if markdown is not None:
        _written(markdown, showing.markdown(found))
    if html is not None:
        _written(html, page.page(found))
    if json_:
        terminal.print_json(showing.as_json(found))
    else:
        showing.print_comparison(found)


human = typer.Typer(
    name="human",
    help="People judge two models' answers, blind: a local page, and what came of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(human)


@human.command("serve")
def human_serve(
    a: Annotated[Path, typer.Argument(metavar="A.jsonl", help="One model's outputs: JSON Lines {id, prompt, output}.")],
    b: Annotated[Path, typer.Argument(metavar="B.jsonl", help="The other's, on the same ids.")],
    store: Annotated[Path, typer.Option(help="The folder that keeps the votes.")] = Path("human"),
    annotator: Annotated[
        list[str] | None, typer.Option(metavar="NAME[:GROUP]", help="Somebody who gets a link of their own; repeat it.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; elsewhere than here everybody needs a link.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8321,
    data_dir: DataDir = None,
) -> None:
    """Serve the page on which people judge two models' answers, blind. Every vote is kept at once."""
    from caravan.eval.human.server import serve

    serve(a, b, store=store, annotators=annotator or (), host=host, port=port, data_dir=data_dir, progress=Progress())


@human.command("report")
def human_report(
    source: Annotated[
        Path, typer.Argument(metavar="STORE|SHEET.xlsx", help="The folder of votes, or a sheet of them.")
    ],
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME=GROUP", help="A person's group, to count groups apart; repeat it.")
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="A judge's verdicts, to be set against people's.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the report as Markdown, too.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one page, too.")] = None,
    json_: Json = False,
) -> None:
    """Win rates with intervals, position effect and agreement: what people said, and how far to believe it."""
    from caravan.eval.human import showing
    from caravan.eval.human.report import report

    found = report(source, groups=_groups(group or []), judge=judge)
    if markdown is not None:
        _written(markdown, showing.markdown(found))
    if html is not None:
        _written(html, showing.page(found))
    if json_:
        terminal.print_json(found.told)
    else:
        showing.print_report(found)


def _groups(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if bad := next((name for name, _, group in pairs if not name or not group), None):
        raise UserError(f"--group {bad}: no group", fix="write NAME=GROUP")
    return {name: group for name, _, group in pairs}


def _written(path: Path, text: str) -> None:
    from caravan.cache import written_aside

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
    Progress().say(f"written: {path}")
