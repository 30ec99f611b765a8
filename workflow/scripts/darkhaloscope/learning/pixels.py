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

from ..config.network import Network
from ..core.tables import Schema, TableError, open_table, parquet_errors
from ..tasks.subhalo.schema import MANIFEST, scalar_columns, stamp_schema
from .scaling import BANDS, BESIDE_FLUX, COLUMNS, LearningError, Normalisation, inputs_of, normalise, scaled_input

IMAGE = "image"

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
