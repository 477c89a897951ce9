"""Write the generated pages: the commands' help texts, and the plugins that come with the package.

python docs/generate.py            write them
python docs/generate.py --check    exit with 1 when one is not current
"""

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from caravan import plugins
from caravan.curate.cli import app as curate
from caravan.eval.cli import app as evaluate
from caravan.train.cli import app as train

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with the text that belongs between its marks."""
    programs = (("curate", curate, "commands"), ("train", train, "commands/train"))
    for program, app, folder in (*programs, ("evaluate", evaluate, "commands/evaluate")):
        for words in commands(typer.main.get_command(app)):
            yield FOLDER / folder / f"{'-'.join(words)}.md", f"```\n{help_text(app, program, *words)}\n```"
    for kind in plugins.KINDS:
        yield FOLDER / "plugins" / f"{kind}.md", plugin_table(kind)


def commands(group: Any) -> Iterator[tuple[str, ...]]:
    """The words of each command, those of groups within too."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from ((name, *words) for words in commands(command))
        else:
            yield (name,)


def help_text(app: typer.Typer, program: str, *command: str) -> str:
    """What `PROGRAM COMMAND --help` prints, at a width of 100."""
    os.environ["COLUMNS"] = "100"
    result = CliRunner().invoke(app, [*command, "--help"], prog_name=program, env={"COLUMNS": "100"})
    return result.output.strip()


def plugin_table(kind: plugins.Kind) -> str:
    """The built-in plugins of a kind, each with its first line and its options."""
    lines = ["| name | what | options |", "|---|---|---|"]
    for name, plugin in plugins.find(kind).items():
        if plugin.distribution != "caravan":
            continue
        module = import_module(plugin.module)
        about = (module.__doc__ or "").strip().split("\n")[0].replace("|", "\\|")
        models = [getattr(module, m) for m in ("Options", "Settings", "Limits") if hasattr(module, m)]
        options = ", ".join(f"`{key}` = {_shown(field)}" for m in models for key, field in m.model_fields.items())
        if hasattr(module, "VARIANTS"):
            options = "variants " + ", ".join(f"`{variant}`" for variant in module.VARIANTS)
        lines.append(f"| `{name}` | {about} | {options} |")
    return "\n".join(lines)


def _shown(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None else f"`{value}`" if value != "" else "empty"


def current(path: Path, text: str) -> str:
    """The page as it should read."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Write or check."""
    stale = [(path, wanted) for path, text in pages() if (wanted := current(path, text)) != path.read_text("utf-8")]
    if "--check" in sys.argv:
        for path, _ in stale:
            print(f"{path.relative_to(FOLDER.parent)} is not current: make docs", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for path, wanted in stale:
        path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
