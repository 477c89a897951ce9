"""What `curate plugins` and `curate doctor` print: what is installed here, and what is missing."""

from dataclasses import asdict
from importlib import import_module
from typing import Any

from caravan import plugins as registry
from caravan.curate.doctor import Finding
from caravan.terminal import out, print_json, printable, table


def plugins(kinds: list[registry.Kind], as_json: bool) -> None:
    """Each plugin with its package, its first line of documentation and its options."""
    found = [
        {
            "kind": kind,
            "name": name,
            "package": plugin.distribution,
            "about": (import_module(plugin.module).__doc__ or "").strip().split("\n")[0],
            "options": _options(import_module(plugin.module)),
        }
        for kind in kinds
        for name, plugin in registry.find(kind).items()
    ]
    if as_json:
        print_json({"plugins": found})
        return
    for kind in kinds:
        rows = [
            [str(p["name"]), str(p["package"]), str(p["about"]), ", ".join(p["options"])]
            for p in found
            if p["kind"] == kind
        ]
        table(kind, ["name", "package", "about", "options"], rows, text_columns=4)


def _options(module: Any) -> dict[str, str]:
    models = [getattr(module, name, None) for name in ("Options", "Settings", "Limits")]
    return {
        key: "required" if field.is_required() else str(field.get_default(call_default_factory=True, validated_data={}))
        for model in models
        if model is not None
        for key, field in model.model_fields.items()
    }


def findings(found: list[Finding], as_json: bool) -> None:
    """What `doctor` saw."""
    if as_json:
        print_json({"findings": [asdict(f) for f in found]})
        return
    for finding in found:
        out(f"{'ok     ' if finding.well else 'MISSING'} {finding.name:<18} {printable(finding.words)}")
