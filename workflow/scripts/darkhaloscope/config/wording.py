"""What is wrong with a config, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .base import NAME_PATTERN, nearest
from .detectors import DETECTOR_KINDS, AnyDetector
from .kinds import DATASET_KINDS, Dataset

#: What pydantic's kinds of errors are to a person who writes YAML.
EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "expected a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected a section of keys and values"),
    "missing": "is needed, and is not there",
}
#: What pydantic says of a place beside the keys: which member of a union it tried, and that a name itself is wrong.
_OF_PYDANTIC = re.compile(r"constrained-\w+|function-\w+\[.*\]|\[key\]")
#: What patterns of text are.
PATTERNS = {
    NAME_PATTERN: "expected a name of letters, digits and _ . = + -, which begins with a letter or a digit",
    r"^[A-Za-z0-9][A-Za-z0-9._+-]*$": "expected the name of an observation, of letters, digits and . _ + -",
    r"^sweep-\d{3}[pm]\d{3}-\d{3}[pm]\d{3}$": "expected the name of a sweep file, such as sweep-150p000-160p005, or a box {ra: [from, to], dec: [from, to]}",
    r"^(https?|file|s3)://": "expected an address that begins with https://, http://, s3:// or file://",
}


class ConfigError(Exception):
    """The config cannot be used; the message says where, what was found and what to do."""


def unknown(name: str, known: Mapping[str, Any]) -> str:
    """Say that a name does not exist, and which one is nearest."""
    return f"`{name}`, which does not exist{nearest(name, known)}"


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the errors of a config in words: where, what was found, what was expected, the nearest known key."""
    lines = ["the config cannot be used:"]
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        if item["type"] == "too_short" and any(place[: len(item["loc"])] == item["loc"] and place != item["loc"] for place in places):
            continue  # what it is short of is wrong, and said
        where = ".".join(part for part in map(str, _keys(item["loc"])) if not _OF_PYDANTIC.fullmatch(part))
        if item["type"] == "extra_forbidden":
            known = _known_keys(model, item["loc"][:-1])
            lines.append(f"  unknown key `{where}`{_of_another_kind(item['loc']) or nearest(str(item['loc'][-1]), known)}")
        elif item["type"] == "value_error":
            for line in str(item["ctx"]["error"]).splitlines():
                lines.append(f"  {where + ': ' if where else ''}{line}")
        else:
            found = item.get("input")
            shown = "" if isinstance(found, dict | list) or item["type"] == "missing" else f", found {found!r}"
            if shown and item["type"] == "string_type":
                shown += ", as YAML reads what is not in quotes; put it in quotes"
            if item["type"] == "too_short":
                item["msg"] = f"Expected at least {item['ctx']['min_length']} in the list"
            pattern = item["ctx"]["pattern"] if item["type"] == "string_pattern_mismatch" else ""
            said = PATTERNS.get(pattern) or EXPECTED.get(item["type"], f"{item['msg'][0].lower()}{item['msg'][1:]}")
            lines.append(f"  {where}: {said}{shown}{_as_list(item)}")
    return "\n".join(lines)


def _as_list(item: Mapping[str, Any]) -> str:
    """Say how one value is written where a list is expected."""
    if item["type"] not in ("tuple_type", "list_type") or not isinstance(item["input"], str | int | float):
        return ""
    within = isinstance(item["loc"][-1], int)
    return "; each entry is a list of its own, as in [[a, b], [c, d]]" if within else f"; write [{item['input']}]"


def _of_another_kind(location: tuple) -> str:
    """Say that a dataset's key belongs to another kind, where it does: a kind that is not given is `subhalo`."""
    if len(location) != 4 or location[0] != "datasets":
        return ""
    _, name, own, key = location
    kinds = [kind for kind, section in DATASET_KINDS.items() if key in section.model_fields and kind != own]
    return f": it is a key of kind `{kinds[0]}`; set `datasets.{name}.kind: {kinds[0]}`" if kinds else ""


def _keys(location: tuple) -> tuple:
    """Return the config keys of an error's location: pydantic adds the kind of a dataset or detector after its name."""
    kinds = {"datasets": DATASET_KINDS, "detectors": DETECTOR_KINDS}
    tagged = len(location) > 2 and location[2] in kinds.get(location[0], {})
    return (*location[:2], *location[3:]) if tagged else location


def _known_keys(annotation: Any, path: tuple) -> list[str]:
    """Return the keys that are known at `path` (an error's location) below a model or annotation."""
    for union, kinds in ((Dataset, DATASET_KINDS), (AnyDetector, DETECTOR_KINDS)):
        if annotation == union:
            return _known_keys(kinds[path[0]], path[1:]) if path else []
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _known_keys(field.annotation, path[1:]) if field else []
    if get_origin(annotation) in (dict, tuple, list) and path:
        return _known_keys(get_args(annotation)[-1 if get_origin(annotation) is dict else 0], path[1:])
    return []


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
