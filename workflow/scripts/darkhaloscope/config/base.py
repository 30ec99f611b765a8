"""What every section of the config is made of."""

from __future__ import annotations

import difflib
import functools
import itertools
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

#: Names become folders: letters, digits and a few safe marks only.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.=+-]*$"
LONGEST_NAME = 120
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=LONGEST_NAME)]
#: Name of an observation of a galaxy: it becomes part of paths.
GalaxyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _without_login(address: str) -> str:
    scheme, _, place = address.partition("://")
    if scheme != "file" and "@" in place.partition("/")[0]:
        raise ValueError(
            "holds a login, which would be written into every record; leave it out: ~/.netrc, or AWS_PROFILE for s3://, gives it"
        )
    return address


def expanded(path: str) -> str:
    """Return a path with ~ and $VARIABLES replaced, as a shell does.

    Raises
    ------
    ValueError
        A user or a variable that does not exist: what is written as it is would make a folder of that name.
    """
    found = os.path.expandvars(os.path.expanduser(path))
    variable = re.search(r"\$(?:(\w+)|\{(\w+)\})", found)
    if variable:
        name = variable[1] or variable[2]
        raise ValueError(f"{path!r} names the environment variable {name}, which is not set; set it, or write the path out")
    if found.startswith("~"):
        raise ValueError(f"{path!r} names a user whose home folder is not known here; write the path out")
    return found


def as_path(value: Any) -> Any:
    """Return a section that is given as a path alone as one with this `path`.

    Raises
    ------
    ValueError
        YAML has read the name of a folder as a number.
    """
    if isinstance(value, (int, float)):
        raise ValueError(f"expected a path or keys and values, found the number {value}; write a folder that is named so as ./{value}")
    return {"path": value} if isinstance(value, str) else value


def _file(path: str) -> str:
    """Return a path that the user names, expanded; what rules read it through takes some characters for something else."""
    found = expanded(path)
    if set(found) & set("{}<>\n"):
        raise ValueError(
            f"{path!r} holds a character that stands for something else in the paths of rules ({{}}<>); rename it, or link to it"
        )
    return found


def as_name(text: str) -> str:
    """Return what a user called a file as a name that a folder can have; empty where nothing of it is left."""
    return re.sub(r"[^\w.=+-]", "_", text).lstrip("._=+-")


def _folder(path: str) -> str:
    """Return a folder by its one plain name: `results/x/`, `./results//x` and `/where/snakemake/runs/results/x` are the same."""
    found = os.path.normpath(expanded(path))
    # Parents alone are resolved: the folder itself may be a link to a larger disk.
    parent, name = os.path.split(os.path.abspath(found))
    inside = os.path.relpath(os.path.join(os.path.realpath(parent), name))
    if not inside.startswith(".."):
        found = inside
    if set(found) & set("{}<>[]*?\n") or found != found.strip():
        raise ValueError(
            f"{path!r} holds a character that stands for something else in file patterns ({{}}<>[]*?, or spaces at an end); rename the folder"
        )
    if re.match(r"\w[\w+.-]*:/", found):
        raise ValueError(
            f"{path!r} is an address, expected a folder; for object storage give `root` a folder's name and Snakemake the address, "
            "with --default-storage-prefix (docs/cluster.md)"
        )
    if found.strip("./") == "":
        raise ValueError(f"{path!r} would mix results with what is there; give them a folder of their own, such as `results`")
    whole = os.path.realpath(found)
    own = [PROJECT, os.path.realpath(os.path.expanduser("~"))]
    if whole in own or os.path.relpath(whole, PROJECT).partition(os.sep)[0] in OWN_FOLDERS:
        raise ValueError(
            f"{path!r} is here {whole}, which is the project, in a folder of its code, or your home, and would mix results with what is there; "
            "give them a folder of their own, such as `results`, and run Snakemake from the project's root or from a folder of yours"
        )
    return found


def _address(address: str) -> str:
    scheme, mark, place = _without_login(address).partition("://")
    return f"{scheme}{mark}{expanded(place)}" if scheme == "file" else address


#: Where an archive is; logins come from elsewhere.
Address = Annotated[str, AfterValidator(_address)]
#: A file that the user names, and the folder that results go below.
FilePath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_file)]
Folder = Annotated[str, StringConstraints(min_length=1), AfterValidator(_folder)]

#: Text that is a number to YAML and to people: pydantic takes `1_0` and `nan` for one, too.
NUMBER = re.compile(r"\s*[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*")

#: The project, and what is in it that no result may go below.
PROJECT = os.path.realpath(os.path.join(__file__, *[os.pardir] * 5))
OWN_FOLDERS = {"workflow", "config", "docs", "tests", "profiles", "slurm", "benchmarks", ".git", ".ci", ".venv", ".snakemake"}

#: Bounds further from a normal distribution's mean than so many standard deviations hold a share of it that is 0 to a computer.
FURTHEST = 30.0
DISTRIBUTION_KINDS = ("fixed", "uniform", "log_uniform", "normal", "choice")


class Section(BaseModel):
    """A section of the config: unknown keys are refused, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        for found in _no_numbers(value, cls.model_fields[info.field_name].annotation):
            inside = f" in {value!r}" if found is not value else ""
            raise ValueError(f"expected a number, found {found!r}{inside}; write it in digits, such as 3, 0.5 or 1e-3")
        return value

    def plain(self) -> dict[str, Any]:
        """Return the section as JSON-ready values, unset alternatives left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def without(self, *keys: str) -> dict[str, Any]:
        """Return the section as `plain`, less some dotted keys."""
        values = self.plain()
        for key in keys:
            *path, last = key.split(".")
            functools.reduce(lambda node, name: node.get(name, {}), path, values).pop(last, None)
        return values

    def only(self, *keys: str) -> dict[str, Any]:
        """Return some keys of the section, as `plain`."""
        values = self.plain()
        return {key: values[key] for key in keys}

    def part(self, path: Sequence[str]) -> Any:
        """Return what lies at a path of keys below the section, as plain values."""
        node: Any = self
        for key in path:
            node = node[key] if isinstance(node, Mapping) else getattr(node, key)
        return node.plain() if isinstance(node, Section) else node


def _no_numbers(value: Any, annotation: Any) -> Iterator[Any]:
    """Yield what stands in the place of a number and is none, of what pydantic would make one: `true` is 1 to it, and the text `1_0` is 10."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _no_numbers(value, inner[0])
    elif origin in (Union, UnionType):
        if not {bool, str} & {*inner}:
            for kind in inner:
                yield from _no_numbers(value, kind)
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = itertools.repeat(inner[0]) if inner[-1] is Ellipsis else inner
        for item, kind in zip(value, kinds, strict=False):
            yield from _no_numbers(item, kind)
    elif origin is dict and isinstance(value, Mapping):
        for item in value.values():
            yield from _no_numbers(item, inner[1])
    elif annotation in (int, float) and (isinstance(value, bool) or (isinstance(value, str) and not NUMBER.fullmatch(value))):
        yield value


def nearest(name: str, known: Iterable[Any]) -> str:
    """Return the nearest known name in brackets, or all known ones where none is near."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    if close:
        return f" (nearest: `{close[0]}`)"
    return f" (known: {', '.join(map(str, known))})" if known else ""


class Distribution(Section):
    """How a parameter is drawn: a bare number, or one of the kinds below."""

    fixed: float | None = Field(None, description="Always this value")
    uniform: tuple[float, float] | None = Field(None, description="Uniform between two bounds")
    log_uniform: tuple[Positive, Positive] | None = Field(None, description="Uniform in the logarithm between two positive bounds")
    normal: tuple[float, float, float, float] | None = Field(
        None, description="Normal with mean, standard deviation, and truncation below and above"
    )
    choice: tuple[float, ...] | None = Field(None, description="One of these, equally likely", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _accept_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"fixed": float(value)}
        if not isinstance(value, Mapping | Distribution):
            raise ValueError(f"give a number or exactly one of {', '.join(DISTRIBUTION_KINDS[1:])}; found {value!r}")
        return value

    @model_validator(mode="after")
    def _check(self) -> Distribution:
        kinds = [k for k in DISTRIBUTION_KINDS if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(f"give a number or exactly one of {', '.join(DISTRIBUTION_KINDS[1:])}; found {kinds or 'none'}")
        for kind in ("uniform", "log_uniform"):
            bounds = getattr(self, kind)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{kind} bounds are in the wrong order: {list(bounds)}")
        if self.normal is not None and (self.normal[1] <= 0 or self.normal[2] >= self.normal[3]):
            raise ValueError("normal takes mean, a positive standard deviation, lower < upper bound")
        if self.normal is not None and max(self.normal[2] - self.normal[0], self.normal[0] - self.normal[3]) > FURTHEST * self.normal[1]:
            raise ValueError(
                f"normal {list(self.normal)} lies more than {FURTHEST:g} standard deviations beyond its bounds, which hold nothing of it: move the mean or the bounds"
            )
        return self

    @property
    def kind(self) -> Literal["fixed", "uniform", "log_uniform", "normal", "choice"]:
        """Name of the kind that is set."""
        return next(k for k in DISTRIBUTION_KINDS if getattr(self, k) is not None)

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that can be drawn."""
        value = getattr(self, self.kind)
        if self.kind == "fixed":
            return value, value
        if self.kind == "normal":
            return value[2], value[3]
        return min(value), max(value)


def at_least(low: float, *, strict: bool = False):
    """Return a check that a distribution never draws below `low`."""

    def check(value: Distribution) -> Distribution:
        smallest = value.bounds[0]
        if smallest < low or (strict and smallest == low):
            raise ValueError(f"must stay {'above' if strict else 'at or above'} {low:g}, but can be {smallest:g}")
        return value

    return check


def within(low: float, high: float):
    """Return a check that a distribution stays between `low` and `high`."""

    def check(value: Distribution) -> Distribution:
        if value.bounds[0] < low or value.bounds[1] > high:
            raise ValueError(f"must stay between {low:g} and {high:g}, but ranges over {list(value.bounds)}")
        return value

    return check


Draw = Distribution
NonNegative = Annotated[Distribution, AfterValidator(at_least(0))]
AboveZero = Annotated[Distribution, AfterValidator(at_least(0, strict=True))]
UnitInterval = Annotated[Distribution, AfterValidator(within(0, 1))]


def draw(value: float | dict) -> Distribution:
    """Short way to write a default distribution."""
    return Distribution.model_validate(value)


def kind_or(default: str) -> Callable[[Any], str]:
    """Return what tells the kind of a section, as a model or as what a config holds: `default` where it does not say."""
    return lambda value: value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)


def any_of(kinds: Mapping[str, type[BaseModel]], kind_of: Callable[[Any], str]) -> Any:
    """Return the type of a section that is one of several by its kind."""
    message = f"kind must be one of {', '.join(kinds)}"
    tagged = (Annotated[model, Tag(kind)] for kind, model in kinds.items())
    return Annotated[
        functools.reduce(operator.or_, tagged), Discriminator(kind_of, custom_error_type="unknown_kind", custom_error_message=message)
    ]
