"""What a network sees of a stamp: which columns of a shard, how they are scaled, in which layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.network import Network, Scaling
from ..core.tables import Schema, TableError, open_table, parquet_errors
from ..tasks.subhalo.schema import MANIFEST, scalar_columns, stamp_schema
from .scaling import BANDS, LearningError, Normalisation, inputs_of

IMAGE = "image"

#: Image columns that each input is made of.
COLUMNS = {
    "flux": ("flux",),
    "velocity": ("velocity", "velocity_sigma", "mask"),
    "mask": ("mask",),
    "inverse_sigma": ("velocity_sigma", "mask"),
}

#: What a network that sees the flux reads instead of the dataset's own velocity, mask and σ_v. Those are label-blind: they come from
#: the smooth lens without noise, and a network could compare them with the flux and so see the subhalo for nothing.
BESIDE_FLUX = {"velocity": "observed_velocity", "mask": "observed_mask", "velocity_sigma": "observed_sigma"}

#: Stand in for the noise of noise-free stamps, so that a ratio to the noise stays finite.
FLUX_NOISE_FLOOR = 1e-3
VELOCITY_SIGMA_FLOOR_KMS = 1.0

#: Smallest stamp that the architectures take: three halvings leave 2×2.
MIN_SIZE = 16


class BadPixels(LearningError):
    """Stamps hold pixels that are not finite numbers."""


class Pixels(Protocol):
    """How the pixels of one kind of shards become the inputs of a network.

    Attributes
    ----------
    channels_last : whether images are (size, size, c) rather than (c, size, size)
    """

    channels_last: bool

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape of a stamp's image."""
        ...

    def check(self, path: Path, schema: pa.Schema) -> int:
        """Return the pixels on a side of a shard's stamps; raise `TableError` where it has no such pixels."""
        ...

    def decode(self, path: Path, metadata: pq.FileMetaData, group: int) -> NDArray:
        """Read the images of one row group, (rows, *shape) float32, NaN throughout where a stamp has a pixel that is not finite."""
        ...


@dataclass(frozen=True)
class BandPixels:
    """The g, r and z images of lens-finder stamps, (3, size, size) in nanomaggies: the network itself stretches them."""

    channels_last = False

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape of a stamp's image."""
        return len(BANDS), size, size

    def check(self, path: Path, schema: pa.Schema) -> int:
        """Return the pixels on a side, after checking the image column."""
        index = schema.get_field_index(IMAGE)
        kind = schema.field(index).type if index >= 0 else None
        square = isinstance(kind, pa.FixedShapeTensorType) and tuple(kind.shape) == self.shape(kind.shape[-1])
        if not square or kind.value_type != pa.float32():
            raise TableError(
                f"{path}: expected an image column `{IMAGE}` of float32 tensors (3, size, size), found {kind or 'none'}; channels `bands` are "
                "for lens-finder stamps, as inject_stamps or import_stamps write them"
            )
        return kind.shape[2]

    def decode(self, path: Path, metadata: pq.FileMetaData, group: int) -> NDArray:
        """Read the images of one row group, (rows, 3, size, size) float32 nanomaggies. Safe in several threads at once."""
        return _images(_row_group(path, metadata, group, [IMAGE]), IMAGE)


@dataclass(frozen=True)
class KinematicPixels:
    """Flux, velocity, mask and 1/σ_v of the subhalo task's stamps, (size, size, c), scaled as a network's config says.

    Attributes
    ----------
    network : its channels, scaling and label_blind
    normalisation : constants of the last step; None leaves it out, while they are measured
    """

    network: Network
    normalisation: Normalisation | None = None
    channels_last = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the channels."""
        return inputs_of(self.network)

    @property
    def source(self) -> dict[str, str]:
        """Column that stands for each physical quantity: networks that see the flux read what follows from the stamp's own."""
        own = "flux" in self.inputs or not self.network.label_blind
        return {c: BESIDE_FLUX.get(c, c) if own else c for name in self.inputs for c in COLUMNS[name]}

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape of a stamp's image."""
        return size, size, len(self.inputs)

    def check(self, path: Path, schema: pa.Schema) -> int:
        """Return the pixels on a side, after checking the shard's whole schema."""
        MANIFEST.check(schema, path)
        index = schema.get_field_index("flux")
        kind = schema.field(index).type if index >= 0 else None
        if not isinstance(kind, pa.FixedShapeTensorType) or len(kind.shape) != 2:
            raise TableError(
                f"{path}: expected an image column `flux`, found {kind or 'none'}; give stamp shards, as render_stamps writes them"
            )
        stamp_schema(kind.shape[0]).check(schema, path)
        return kind.shape[0]

    def decode(self, path: Path, metadata: pq.FileMetaData, group: int) -> NDArray:
        """Read the inputs of one row group, (rows, size, size, c) float32. Safe in several threads at once."""
        found = self._columns(path, metadata, group)
        images = self.scaled(found)
        if self.normalisation is not None:
            normalise(images, self.normalisation)
        images[_count_bad(found) > 0] = np.nan
        return images

    def scaled(self, found: dict[str, NDArray]) -> NDArray:
        """Return inputs (n, size, size, c) float32 before normalisation from columns by the names of `source`, `flux_noise` beside them."""
        return np.stack([scaled_input(name, found, self.network.scaling) for name in self.inputs], -1).astype(np.float32, copy=False)

    def refuse(self, where: Sequence[tuple[Path, pq.FileMetaData, int, NDArray]], of: int) -> None:
        """Raise `BadPixels` that counts the pixels which are not finite and names their stamps.

        Parameters
        ----------
        where : (path, metadata, row group, rows) of the stamps
        of : number of stamps looked at
        """
        bad = []
        for path, metadata, group, rows in where:
            count = _count_bad(self._columns(path, metadata, group))[rows]
            ids = _row_group(path, metadata, group, ["stamp_id"])["stamp_id"].to_pylist()
            bad += [(ids[row], n) for row, n in zip(rows, count, strict=True)]
        raise BadPixels(
            f"{sum(n for _, n in bad)} values that are NaN or infinite in {len(bad)} of {of} stamps, in columns among "
            f"{sorted(self.source.values())}: {some([f'{i} ({n})' for i, n in bad])}; render these shards again, and let check_stamps find "
            f"the cause ({some(list(dict.fromkeys(path for path, *_ in where)))})"
        )

    def _columns(self, path: Path, metadata: pq.FileMetaData, group: int) -> dict[str, NDArray]:
        noise = ["flux_noise"] if "flux" in self.inputs else []
        table = _row_group(path, metadata, group, [*noise, *sorted(set(self.source.values()))])
        return {c: _images(table, column) for c, column in sorted(self.source.items())} | {n: table[n].to_numpy() for n in noise}


@dataclass(frozen=True)
class EvidencePixels:
    """What the model-based detector made of a stamp, (size, size, c): its maps, as rule join_maps lays them beside the stamp's columns.

    Attributes
    ----------
    network : its channels
    normalisation : constants of the last step; None leaves it out, while they are measured
    """

    network: Network
    normalisation: Normalisation | None = None
    channels_last = True

    @property
    def columns(self) -> list[str]:
        """Columns of the inputs, in order."""
        return [f"map_{name}" for name in inputs_of(self.network)]

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape of a stamp's image."""
        return size, size, len(self.columns)

    def check(self, path: Path, schema: pa.Schema) -> int:
        """Return the pixels on a side, after checking the maps and the stamps' own columns."""
        kinds = [schema.field(name).type if schema.get_field_index(name) >= 0 else None for name in self.columns]
        maps = [kind for kind in kinds if isinstance(kind, pa.FixedShapeTensorType) and kind.value_type == pa.float16()]
        if len(maps) < len(kinds) or len({tuple(kind.shape) for kind in maps}) > 1:
            raise TableError(
                f"{path}: expected maps of the evidence detector ({', '.join(self.columns)}) as float16 tensors (size, size), found "
                f"{', '.join(str(kind or 'none') for kind in kinds)}; give stamps as rule join_maps writes them"
            )
        Schema("evidence stamps", scalar_columns()).check(schema, path)
        return maps[0].shape[0]

    def decode(self, path: Path, metadata: pq.FileMetaData, group: int) -> NDArray:
        """Read the inputs of one row group, (rows, size, size, c) float32. Safe in several threads at once."""
        table = _row_group(path, metadata, group, self.columns)
        images = np.stack([_images(table, name) for name in self.columns], -1).astype(np.float32)
        if self.normalisation is not None:
            normalise(images, self.normalisation)
        return images


def pixels_of(network: Network, normalisation: Normalisation | None = None) -> Pixels:
    """Return how a network's inputs are read."""
    if network.sees_evidence:
        return EvidencePixels(network, normalisation)
    return BandPixels() if network.channels == "bands" else KinematicPixels(network, normalisation)


def scaled_input(name: str, found: dict[str, NDArray], scaling: Scaling) -> NDArray:
    """Return one input before normalisation, (n, size, size) float32."""
    with np.errstate(invalid="ignore", over="ignore"):  # stamps with bad pixels are refused by name after reading
        if name == "flux":
            return scale_flux(found["flux"], found["flux_noise"], scaling)
        mask = found["mask"] > 0
        if name == "mask":
            return mask.astype(np.float32)
        sigma = np.maximum(found["velocity_sigma"], np.float32(VELOCITY_SIGMA_FLOOR_KMS))
        if name == "inverse_sigma":
            return np.where(mask, np.float32(scaling.velocity_scale_kms) / sigma, np.float32(0))
        return scale_velocity(found["velocity"], sigma, mask, scaling)


def scale_flux(flux: NDArray, flux_noise: NDArray, scaling: Scaling) -> NDArray:
    """Flux over the stamp's peak, over its background noise, or the asinh of the latter.

    Parameters
    ----------
    flux : (n, size, size) float32
    flux_noise : (n,), same unit; at least `FLUX_NOISE_FLOOR` is used, for noise-free stamps
    """
    if scaling.flux == "peak":
        peak = flux.max((1, 2), keepdims=True)
        return flux / np.where(peak > 0, peak, np.float32(1))
    ratio = flux / np.maximum(flux_noise, FLUX_NOISE_FLOOR).astype(np.float32)[:, None, None]
    return np.arcsinh(ratio) if scaling.flux == "asinh" else ratio


def scale_velocity(velocity: NDArray, sigma: NDArray, mask: NDArray, scaling: Scaling) -> NDArray:
    """Velocity over a fixed scale, over σ_v, or the asinh of the latter; 0 outside the mask.

    Parameters
    ----------
    velocity, sigma : (n, size, size) float32, km/s; sigma above zero
    mask : (n, size, size) bool
    """
    if scaling.centre_velocity:
        velocity = velocity - _masked_median(velocity, mask)[:, None, None]
    if scaling.velocity == "fixed":
        ratio = velocity / np.float32(scaling.velocity_scale_kms)
    else:
        ratio = velocity / sigma
        if scaling.velocity == "asinh":
            ratio = np.arcsinh(ratio)
    return np.where(mask, ratio, np.float32(0))


def _masked_median(values: NDArray, mask: NDArray) -> NDArray:
    """Median of each stamp's pixels inside its mask, (n,) float32; 0 where the mask is empty."""
    ordered = np.sort(np.where(mask, values, np.float32(np.inf)).reshape(len(values), -1), axis=1)
    count = mask.reshape(len(values), -1).sum(1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, ordered.shape[1] - 1)]) / 2
    return np.where(count > 0, middle, 0).astype(np.float32)


def normalise(inputs: NDArray, normalisation: Normalisation) -> None:
    """Apply the last step of input scaling to inputs (n, size, size, c), in place."""
    offset, scale = np.float32(normalisation.offset), np.float32(normalisation.scale)
    for start in range(0, len(inputs), 1024):
        inputs[start : start + 1024] = (inputs[start : start + 1024] - offset) / scale


def open_shard(path: Path, pixels: Pixels) -> tuple[pq.FileMetaData, int, set[str]]:
    """Open a shard of stamps and check it; return its metadata, pixels on a side, and names of its columns.

    Raises
    ------
    TableError, LearningError
        It is missing, unreadable, lacks a column, or its stamps are too small.
    """
    with open_table(path, Schema("stamps", ())) as file:
        metadata, schema = file.metadata, file.schema_arrow
    size = pixels.check(path, schema)
    for name in ("number", "label"):
        if schema.get_field_index(name) < 0:
            raise TableError(f"{path}: column `{name}` is missing from this shard; make the file again with the stage that writes it")
    if size < MIN_SIZE:
        raise LearningError(
            f"{path}: stamps of {size}×{size} pixels are too small, at least {MIN_SIZE}×{MIN_SIZE} are needed; raise the dataset's stamp_size"
        )
    return metadata, size, set(schema.names)


def some(items: Sequence[object], most: int = 5) -> str:
    """Return the first items in words, and how many more there are."""
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")


def _row_group(path: Path, metadata: pq.FileMetaData, group: int, columns: list[str]) -> pa.Table:
    with parquet_errors(path), pq.ParquetFile(path, metadata=metadata) as file:
        return file.read_row_group(group, columns=columns, use_threads=False)


def _images(table: pa.Table, name: str) -> NDArray:
    column = table.column(name)
    return column.combine_chunks().to_numpy_ndarray() if column.num_chunks != 1 else column.chunk(0).to_numpy_ndarray()


def _count_bad(found: Mapping[str, NDArray]) -> NDArray:
    """Count values of each stamp that are not finite."""
    counts = [(~np.isfinite(v)).reshape(len(v), -1).sum(1) for v in found.values() if v.dtype.kind == "f"]
    return np.sum(counts, axis=0) if counts else np.zeros(len(next(iter(found.values()))), int)
