"""Variants of an experiment's dataset: the same test stamps under another PSF, noise or source, for robustness."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .kinds import DATASET_KINDS
from .lensfinder import ImportedDataset
from .wording import ConfigError, explain
from .yaml_files import merge

if TYPE_CHECKING:
    from .run import Run

#: What a variant shares with its dataset, and why another value is refused.
SHARED = {
    "kind": "a variant is of the same chain",
    "seed": "a variant's stamps are drawn as the dataset's own, so that each is compared with its twin",
    "splits": "galaxies of training stamps could come into the variant's test stamps",
    "survey": "galaxies of training stamps could come into the variant's test stamps",
    "sources.sample": "galaxies of training stamps could come into the variant's test stamps",
    "instrument.stamp_size": "the networks take stamps of one size",
    "camera.stamp_size": "the networks take stamps of one size",
}


def with_variants(run: Run) -> Run:
    """Return the run with a dataset for each variant that an experiment's `robustness` names, test stamps alone.

    Raises
    ------
    ConfigError
        An unknown key or a bad value, a key that a variant shares with its dataset, no test stamps to compare with, or
        two variants of one name that differ.
    """
    datasets = dict(run.datasets)
    for name, experiment in run.experiments.items():
        for variant, dataset in experiment.variants.items():
            where = f"experiments.{name}.robustness.{variant}"
            made = _variant(run.datasets[experiment.dataset], experiment.dataset, experiment.robustness[variant], where)
            if datasets.setdefault(dataset, made) != made:
                raise ConfigError(
                    f"{where} makes dataset {dataset}, but another dataset of that name differs from it; give one of them another name"
                )
    return run.model_copy(update={"datasets": datasets})


def _variant(base: Any, name: str, overlay: Mapping[str, Any], where: str) -> Any:
    if isinstance(base, ImportedDataset):
        raise ConfigError(
            f"{where}: the stamps of {name} were made elsewhere and cannot be varied; name other tables as datasets in `tests`"
        )
    if not base.shards("test"):
        raise ConfigError(f"{where}: variants are compared with the test stamps of {name}, which has none; raise its size.test")
    if not overlay:
        raise ConfigError(f"{where} changes nothing; give dotted keys of the dataset and their values")
    before = base.plain()
    values = reduce(merge, (_nested(key, value) for key, value in overlay.items()), before)
    for key, why in SHARED.items():
        if _at(values, key) != _at(before, key):
            raise ConfigError(
                f"{where} sets `{key}`, which must stay that of {name}: {why}; make a dataset of its own and name it in `tests`"
            )
    values = merge(values, {"size": {"train": 0, "validation": 0}})
    model = DATASET_KINDS[base.kind]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{explain(error, model)}") from None


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _at(values: Any, key: str) -> Any:
    return reduce(lambda node, part: node.get(part) if isinstance(node, Mapping) else None, key.split("."), values)
