"""A last layer that was fitted on real galaxies: one for each fold of the sky, and one on all of them for every other object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from ..config.network import Head
from .augment import over_orientations
from .rings import MEASURES, ring_measures
from .scaling import SCALARS
from .sky import OBJECT_ARCSEC, chord, vectors


@dataclass(frozen=True)
class Objects:
    """Names and positions [deg] of objects, (n,) each; positions are NaN where nobody knows them."""

    names: NDArray
    ra: NDArray
    dec: NDArray

    def __len__(self) -> int:
        return len(self.names)

    def at(self, rows: NDArray) -> Objects:
        """Return the objects at some rows."""
        return Objects(self.names[rows], self.ra[rows], self.dec[rows])


def objects_of(table: pa.Table) -> Objects:
    """Return the objects of a table by its `stamp_id`, `ra` and `dec`; a column that is missing counts as unknown."""
    n, names = table.num_rows, set(table.column_names)
    known = np.array(table["stamp_id"].to_pylist(), object) if "stamp_id" in names else np.full(n, "", object)
    ra, dec = (table[k].cast(pa.float64()).to_numpy() if k in names else np.full(n, np.nan) for k in ("ra", "dec"))
    return Objects(known, ra, dec)


@dataclass(frozen=True)
class HeadFit:
    """What a head was fitted on, and how well its folds did.

    Attributes
    ----------
    names, ra, dec, folds : of each real galaxy, in which fold it is; the head of that fold has not seen it. Positions are None where unknown
    lenses, lookalikes, mock : how many of each; the last are training stamps that joined the fit
    strengths : inverse strength of the penalty of each fold's head, and of the one of all galaxies
    auc : of the real galaxies, each by the head of its fold
    """

    names: tuple[str, ...]
    ra: tuple[float | None, ...]
    dec: tuple[float | None, ...]
    folds: tuple[int, ...]
    lenses: int
    lookalikes: int
    mock: int
    strengths: tuple[float, ...]
    auc: float
    _sky: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sky = vectors(*(np.array([np.nan if v is None else v for v in values]) for values in (self.ra, self.dec)))
        object.__setattr__(self, "_sky", sky)

    def folds_of(self, objects: Objects) -> NDArray[np.int64]:
        """Return the fold of each object that the head was fitted on, known by position or by name, and −1 of all others, (n,)."""
        by_name = dict(zip(self.names, self.folds, strict=True))
        found = np.array([by_name.get(name, -1) for name in objects.names], np.int64)
        sky, known = vectors(objects.ra, objects.dec), np.isfinite(self._sky).all(1)
        placed = np.isfinite(sky).all(1)
        if known.any() and placed.any():
            distance, nearest = cKDTree(self._sky[known]).query(sky[placed], distance_upper_bound=chord(OBJECT_ARCSEC))
            near = np.isfinite(distance)
            found[np.flatnonzero(placed)[near]] = np.array(self.folds)[known][nearest[near]]
        return found

    def plain(self) -> dict[str, Any]:
        """Return the fit as JSON-ready values."""
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in _FIELDS}


_FIELDS = ("lenses", "lookalikes", "mock", "auc", "strengths", "names", "ra", "dec", "folds")


def head_of(found: Mapping[str, Any] | None) -> HeadFit | None:
    """Return a fit from what `HeadFit.plain` gave; None of None. Raises KeyError or TypeError where parts are missing."""
    return HeadFit(**{name: tuple(v) if isinstance(v := found[name], list) else v for name in _FIELDS}) if found else None


class HeadedNetwork(nn.Module):
    """A trained network of bands whose last layer gives way to heads that were fitted on real galaxies.

    A head is linear in the network's features and, where its config says so, in `rings.MEASURES`. Row k of `weight` and `intercept` is
    the head of fold k, fitted without the galaxies of that fold; the last row is that of all of them.

    Parameters
    ----------
    body : the network, a `BandNetwork`
    settings : section of the config
    """

    def __init__(self, body: nn.Module, settings: Head) -> None:
        super().__init__()
        self.body, self.settings = body, settings
        size = body.head.in_features + (len(MEASURES) if settings.measures else 0)
        self.register_buffer("weight", torch.zeros(settings.folds + 1, size))
        self.register_buffer("intercept", torch.zeros(settings.folds + 1))

    @property
    def stretch(self) -> nn.Module:
        """The body's stretch."""
        return self.body.stretch

    def forward(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the logits, (n, 2), by the head of all galaxies; that of controls is 0. Arguments as `BandNetwork.forward`."""
        return self._logits(self.features(images, scalars))

    def heads(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the margins by the head of each fold and by that of all galaxies, (n, folds + 1)."""
        features = self.features(images, scalars)
        return torch.stack([(features * w).sum(1) + b for w, b in zip(self.weight, self.intercept, strict=True)], 1)

    def features(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return what the heads see, (n, f): features of the network, then ring measures."""
        return self._describe(self.stretch(images), scalars, ring_measures(images) if self.settings.measures else None)

    def beside(self, images: Tensor, scalars: Tensor) -> Tensor:
        """Return what `judge` takes beside stretched images: scalars, and measures of the images."""
        return torch.cat([scalars, ring_measures(images)], 1) if self.settings.measures else scalars

    def judge(self, inputs: Tensor, beside: Tensor) -> Tensor:
        """Return the logits, (n, 2), of images that are stretched already, and what `beside` gave of them."""
        scalars, measures = beside[:, : len(SCALARS)], beside[:, len(SCALARS) :]
        return self._logits(self._describe(inputs, scalars, measures if self.settings.measures else None))

    def _describe(self, inputs: Tensor, scalars: Tensor | None, measures: Tensor | None) -> Tensor:
        describe = over_orientations(self.body.describe) if self.settings.turned else self.body.describe
        found = describe(inputs, scalars)
        return found if measures is None else torch.cat([found, measures], 1)

    def _logits(self, features: Tensor) -> Tensor:
        margin = (features * self.weight[-1]).sum(1) + self.intercept[-1]
        return torch.stack([torch.zeros_like(margin), margin], 1)


def folds_or_all(head: HeadFit | None, objects: Objects | None, n: int) -> ArrayLike:
    """Return which head judges each of n stamps: −1, the one of all galaxies, where no object is known."""
    return np.full(n, -1) if head is None or objects is None else head.folds_of(objects)
