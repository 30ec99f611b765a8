"""Sweeps: grids over dotted keys, as datasets, detectors and experiments of their own."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from .base import LONGEST_NAME, Section
from .detectors import Fusion
from .experiment import Experiment
from .rounds import body_of, with_bodies, with_rounds
from .wording import ConfigError, explain, nearest, unknown

if TYPE_CHECKING:
    from .run import Run


class Point(BaseModel):
    """One point of a sweep: the values of its keys, and the experiment that they make."""

    sweep: str
    experiment: str
    values: dict[str, Any]


def expand(run: Run) -> tuple[Run, dict[str, list[Point]]]:
    """Return the run with the datasets, detectors and experiments of its sweeps, and the points.

    A dataset or detector that a point leaves unchanged keeps its name, so nothing of it is computed
    again; a changed one is named after what changed.
    """
    datasets, detectors, experiments = dict(run.datasets), dict(run.detectors), dict(run.experiments)
    points: dict[str, list[Point]] = {}
    keys = dict.fromkeys(key for sweep in run.sweeps.values() for key in sweep.grid)  # names must differ over all sweeps
    for name, sweep in run.sweeps.items():
        points[name] = []
        base = run.experiments[sweep.experiment]
        for combination in itertools.product(*sweep.grid.values()):
            values = dict(zip(sweep.grid, combination, strict=True))
            where = f"sweeps.{name} at {values}"
            changes = {
                noun: {k.split(".", 1)[1]: v for k, v in values.items() if k.startswith(noun + ".")} for noun in ("dataset", "detector")
            }
            dataset = _derive(datasets, base.dataset, changes["dataset"], type(datasets[base.dataset]), keys, where)
            renamed = _derive_detectors(detectors, base.detectors, changes["detector"], keys, where)
            # A test dataset that is the training dataset follows it; other ones stay as they are.
            tests = tuple(dict.fromkeys(dataset if t == base.dataset else t for t in base.tests))
            experiment = _named(sweep.experiment, values, keys)
            repeated = Experiment.model_validate(
                {
                    **base.plain(),
                    "dataset": dataset,
                    "detectors": tuple(renamed.values()),
                    "tests": tests,
                    "comparisons": [[renamed[a], renamed[b]] for a, b in base.comparisons],
                }
            )
            # A point where nothing changes, or that another sweep has, is the experiment that is there.
            experiment = next((known for known, settings in experiments.items() if settings == repeated), experiment)
            _add(experiments, experiment, repeated, where)
            points[name].append(Point(sweep=name, experiment=experiment, values=values))
    if problems := run.model_copy(update={"detectors": detectors}).problems_of_bodies():
        raise ConfigError("\n".join(problems))
    return run.model_copy(
        update={"datasets": datasets, "detectors": with_rounds(with_bodies(detectors)), "experiments": experiments}
    ), points


def _derive_detectors(
    pool: dict[str, Any], names: tuple[str, ...], changes: dict[str, Any], keys: Mapping[str, None], where: str
) -> dict[str, str]:
    """Return the names of the detectors of a point: networks with their changes, fusions of what became of their members."""
    trained = [name for name in names if pool[name].seeded and not body_of(pool[name])]
    headless = {key: value for key, value in changes.items() if not key.startswith("head.")}
    some = any(getattr(pool[name], "head", None) for name in names)  # where none has a head, its keys are an error
    own = {name: headless if some and not pool[name].head else changes for name in trained}
    renamed = {name: _derive(pool, name, own[name], type(pool[name]), keys, where) for name in trained}
    for name in names:
        if body := body_of(pool[name]):
            renamed[name] = _derive_head(pool, name, body, changes, keys, where)
    for name in names:
        if isinstance(pool[name], Fusion) and (of := tuple(renamed.get(m, m) for m in pool[name].of)) != pool[name].of:
            renamed[name] = _named(name, changes, keys)
            _add(pool, renamed[name], pool[name].model_copy(update={"of": of}), where)
    return {name: renamed.get(name, name) for name in names}


def _derive_head(pool: dict[str, Any], name: str, body: str, changes: dict[str, Any], keys: Mapping[str, None], where: str) -> str:
    """Return the name of a head of a point: changes of the head are its own, all others are of the network that it was put on."""
    own = {key: value for key, value in changes.items() if key.startswith("head.")}
    body = own.get("head.of", body)
    if body not in pool:
        raise ConfigError(f"{where}: head.of names {unknown(str(body), pool)} under detectors")
    of = _derive(pool, body, {key: value for key, value in changes.items() if key not in own}, type(pool[body]), keys, where)
    changed = _derive(pool, name, own, type(pool[name]), keys, where)
    if of == body:
        return changed
    derived = _named(name, changes, keys)
    _add(pool, derived, pool[changed].model_copy(update={"head": pool[changed].head.model_copy(update={"of": of})}), where)
    return derived


def _derive(pool: dict[str, Any], name: str, changes: dict[str, Any], model: type[Section], keys: Mapping[str, None], where: str) -> str:
    old = pool[name]
    values = old.plain()
    effective = {}
    for key, value in changes.items():
        before = _get(values, key, where)
        # To Python true is 1: it goes on to be refused where a number belongs.
        if isinstance(before, bool) != isinstance(value, bool) or before not in (value, {"fixed": value}):
            _set(values, key, value)
            effective[key] = value
    if not effective:
        return name
    derived = _named(name, effective, keys)
    try:
        _add(pool, derived, model.model_validate(values), where)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{explain(error, model)}") from None
    return derived


def _add(pool: dict[str, Any], name: str, made: Section, where: str) -> None:
    """Add what a point makes; another one of its name would be overwritten, and its results taken for this one's."""
    if pool.setdefault(name, made) != made:
        raise ConfigError(f"{where} makes `{name}`, but another of that name differs from it; give that one another name")


def _get(values: Mapping[str, Any], key: str, where: str) -> Any:
    node: Any = values
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(node, Mapping) or (part not in node and i < len(parts) - 1):
            raise ConfigError(f"{where}: there is no key `{key}`{nearest(part, node if isinstance(node, Mapping) else ())}")
        node = node.get(part)
    return node


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        values = values[part]
    values[last] = value


def _short(key: str, among: Mapping[str, Any]) -> str:
    """Return the shortest ending of a dotted key that no other key shares."""
    parts = key.split(".")
    for n in range(1, len(parts) + 1):
        ending = parts[-n:]
        if sum(k.split(".")[-n:] == ending for k in among) == 1:
            return ".".join(ending)
    return key


def _named(name: str, values: Mapping[str, Any], keys: Mapping[str, None]) -> str:
    """Return a name with what changed after it, in letters that paths take and cut where it is too long for them."""
    full = name + "".join(f"+{_short(k, keys)}={_plain(v)}" for k, v in values.items())
    return full if len(full) <= LONGEST_NAME else f"{full[: LONGEST_NAME - 9]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def _plain(value: Any) -> str:
    short = f"{value:g}" if isinstance(value, float) else str(value)
    exact = short if not isinstance(value, float) or float(short) == value else repr(value)
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", exact)
