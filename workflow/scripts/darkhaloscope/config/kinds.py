"""The kinds of datasets, and how a config names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from .base import Section
from .lensfinder import ImportedDataset, LensFinderDataset
from .subhalo import SubhaloDataset

#: Datasets by the value of their `kind`.
DATASET_KINDS: dict[str, type[Section]] = {"subhalo": SubhaloDataset, "lensfinder": LensFinderDataset, "imported": ImportedDataset}


def dataset_kind(value: Any) -> str:
    """Return the kind of a dataset, as a model or as what a config holds."""
    return value.get("kind", "subhalo") if isinstance(value, Mapping) else getattr(value, "kind", "subhalo")


Dataset = Annotated[
    Annotated[SubhaloDataset, Tag("subhalo")]
    | Annotated[LensFinderDataset, Tag("lensfinder")]
    | Annotated[ImportedDataset, Tag("imported")],
    Discriminator(
        dataset_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"kind must be one of {', '.join(DATASET_KINDS)}",
    ),
]
