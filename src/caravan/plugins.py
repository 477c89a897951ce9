"""A folder is the registry: a plugin is a module, its name is the file's name.

An entry point of the group `caravan.<kind>` names a package whose modules are plugins, or one module that is a
plugin (named as the entry point). Built-in plugins enter by the same door. Listing imports no plugin, and a new
file in a plugin folder is found without installing again.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Literal, get_args

from caravan.errors import PluginError, did_you_mean

Kind = Literal["converters", "filters", "quality_parts", "strategies", "benchmarks"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Plugin:
    """One plugin that was found: its module has not been imported."""

    kind: Kind
    name: str
    module: str
    distribution: str


@cache
def find(kind: Kind) -> dict[str, Plugin]:
    """All plugins of a kind by name, sorted; raises `PluginError` when two share a name."""
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=f"caravan.{kind}"), key=lambda p: (p.value, p.name)):
        distribution = point.dist.name if point.dist else "unknown"
        spec = find_spec(point.module)
        if spec is None:
            raise PluginError(
                f"the {kind} entry point {point.name!r} names module {point.module!r}, which cannot be found",
                where=f"package {distribution}",
                fix="install it again or remove it",
            )
        if spec.submodule_search_locations is None:
            names = {point.name: point.module}
        else:
            names = {
                m.name: f"{point.module}.{m.name}"
                for m in iter_modules(list(spec.submodule_search_locations))
                if not m.name.startswith("_")
            }
        for name, module in names.items():
            other = found.get(name)
            if other is not None and other.module != module:
                raise PluginError(
                    f"two {kind} are named {name!r}: {other.module} and {module}",
                    where=f"packages {other.distribution} and {distribution}",
                    fix="remove or rename one",
                )
            found[name] = Plugin(kind, name, module, distribution)
    return dict(sorted(found.items()))


def load(kind: Kind, name: str) -> ModuleType:
    """Import one plugin; an unknown name raises `PluginError` with the nearest known one."""
    plugins = find(kind)
    if name not in plugins:
        raise PluginError(f"no plugin {name!r} among the {kind}", fix=did_you_mean(name, plugins))
    try:
        return import_module(plugins[name].module)
    except PluginError:
        raise
    except Exception as error:  # a stranger's module may raise anything
        raise PluginError(
            f"plugin {name!r} among the {kind} cannot be imported ({type(error).__name__}: {error})",
            where=f"package {plugins[name].distribution}",
            fix="mend or remove it",
        ) from error
