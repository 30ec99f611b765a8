"""Config files: YAML as it is meant, and how one is laid over another.

A key twice is an error, `3e-2` is a number, and only `true` and `false` are booleans (YAML 1.2's core schema).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from .base import DISTRIBUTION_KINDS, expanded
from .wording import ConfigError, nearest

#: Plain scalars by the core schema of YAML 1.2, section 10.3.2. PyYAML has those of YAML 1.1, to which `3e-2` is text, `no` is
#: false, `010` is eight and `1:30` is ninety.
SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tfTF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "merge": (r"<<", "<"),
}


class Loader(yaml.SafeLoader):
    """Reads plain values, and refuses what could be meant in two ways."""

    yaml_implicit_resolvers: ClassVar[dict[str, list]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return a mapping, its keys as they are written (`1e3`, `007`); a key that is there twice, or that is no text, is an error."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = key.value, key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] not in ("str", "merge", "int", "float"):
                found = self.construct_object(key, deep=True)
                raise ConfigError(
                    f"line {line}: a key must be text, but `{name}` is read as {found!r}; put it in quotes, or give it another name"
                )
            if name in lines:
                raise ConfigError(
                    f"line {line}: duplicate key `{name}`, first in line {lines[name]}, expected once; put both together, or delete one"
                )
            lines[name] = line
            if key.tag.rpartition(":")[2] != "merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return a node; an alias within what it names would have no end, and whoever walks through it none either."""
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        node = super().compose_node(parent, index)
        if alias is not None and node.end_mark is None:
            raise ConfigError(
                f"line {alias.start_mark.line + 1}: `*{alias.anchor}` stands within what it names, expected it after that; write the values out"
            )
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return an integer: a leading zero is no sign of octal digits."""
        text = self.construct_scalar(node)
        return int(text, 0) if re.match(r"0[ox]", text) else int(text)


# The order matters: an integer is also a float.
for kind in ("bool", "null", "int", "float", "merge"):
    pattern, first = SCALARS[kind]
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), list(first))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML (or JSON) file.

    Raises
    ------
    ConfigError
        There is no such file, it is no YAML or no text, it holds no keys and values, or a key twice; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [file.name for file in path.parent.glob("*.yaml")]
        near = nearest(path.name, beside) if beside else ""
        if (path.parent / "config" / path.name).exists():
            near = f" (there is `config/{path.name}`)"
        raise ConfigError(f"config file {path} does not exist{near}; give the path of a YAML file, seen from the project's root") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        raise ConfigError(f"config file {path} cannot be read as text ({reason}); give the path of a YAML file in UTF-8") from None
    if not text:
        raise ConfigError(f"config file {path} is empty (0 bytes), expected keys and values; write it again, or leave it out")
    values = parse_yaml(text, f"config file {path}")
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"config file {path} must hold keys and values, found a {type(values).__name__}; write lines `key: value`")
    return dict(values)


def parse_yaml(text: str, where: str) -> Any:
    """Return the value of a YAML text; errors begin with `where`."""
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}; expected keys and values: correct this place") from None
    except ConfigError as error:
        raise ConfigError(f"{where}, {error}") from None


# --- one laid over another --------------------------------------------------------------------


def layers(overlay: dict[str, Any], folder: Path, seen: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the values of a config file, or edits, after those that it extends, the lowest first; `seen` are the files that extend it, and itself."""
    parent = overlay.pop("extends", None)
    if parent is None:
        return [overlay]
    if not isinstance(parent, str):
        raise ConfigError(f"`extends` must be the path of one config file, seen from the project's root; found {parent!r}")
    if parent in seen:
        raise ConfigError(f"config files extend each other in a circle: {' → '.join((*seen, parent))}")
    try:
        path = folder / expanded(parent)
    except ValueError as error:
        raise ConfigError(f"`extends`: {error}") from None
    return [*layers(read_yaml(path), folder, (*seen, parent)), overlay]


def nested(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with its dotted keys (`datasets.subhalo.seed`) as sections; a value that is there as both is an error."""
    found: dict[str, Any] = {}
    for key, value in layer.items():
        first, *rest = str(key).split(".")
        section = {first: functools.reduce(lambda inner, name: {name: inner}, reversed(rest), value)}
        if twice := _in_both(found, section):
            raise ConfigError(f"`{twice}` is given twice, once within a section and once as a dotted key; expected once: delete one")
        found = merge(found, section)
    return found


def _in_both(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the dotted key of the first value that both have; empty where none is in both."""
    for key in one.keys() & other.keys():
        if not isinstance(one[key], Mapping) or not isinstance(other[key], Mapping):
            return key
        if below := _in_both(one[key], other[key]):
            return f"{key}.{below}"
    return ""


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overlay` laid over it; lists and distributions are replaced whole."""
    out = dict(base)
    for key, value in overlay.items():
        old = out.get(key)
        if key == "strata" and isinstance(old, Mapping) and isinstance(value, Mapping):
            out[key] = {**old, **value}  # by name; edges are not laid over quantiles
        elif isinstance(old, Mapping) and isinstance(value, Mapping) and not _is_whole(key, value):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


#: Mappings of shares or cuts, where a merged mixture of old and new keys is never meant.
_WHOLE = {"mix", "profiles", "fractions", "assigned", "grid"}


def _is_whole(key: str, value: Mapping) -> bool:
    # A dataset may be called `uniform`: what it holds tells it from a distribution.
    distribution = bool(value) and set(value) <= set(DISTRIBUTION_KINDS) and not any(isinstance(v, Mapping) for v in value.values())
    return key.split(".")[-1] in _WHOLE or distribution
