"""The kinds of datasets, and how a config names them."""

from __future__ import annotations

from .base import Section, any_of, kind_or
from .lensfinder import ImportedDataset, LensFinderDataset
from .subhalo import SubhaloDataset

#: Datasets by the value of their `kind`.
DATASET_KINDS: dict[str, type[Section]] = {"subhalo": SubhaloDataset, "lensfinder": LensFinderDataset, "imported": ImportedDataset}

dataset_kind = kind_or("subhalo")
Dataset = any_of(DATASET_KINDS, dataset_kind)
