"""Noiseless pairs of a dataset's training rows: what one lens shows without and with its subhalo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.subhalo import Instrument
from ..core.tables import TableError, images, open_table, parquet_errors
from ..stamps.columns import shear_components
from ..tasks.subhalo.schema import MANIFEST, PLACE, pair_images, pair_schema
from .index import footer_digest
from .map_network import LENS
from .pixels import MIN_SIZE, BadPixels, some
from .scaling import LearningError
from .streaming import room_for

#: Pairs up to this size are kept in memory, more in a scratch file.
MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class Pairs:
    """Chosen noiseless pairs of a dataset's training rows, in the order of their numbers.

    Attributes
    ----------
    size : pixels on a side
    numbers, labels : (n,) int64; the label is that of the row, which says what its training stamp shows
    peak_snr : (n,)
    place : (n, 2) of the subhalo in pixels from the stamp's middle, to the right and up
    lens : (n, q) parameters `LENS`
    images : (n, 4, size, size) float32: flux without and with the subhalo, velocity likewise
    instrument : how they are observed
    noise_seed : of the noise that the dataset's own stamps have
    dropped : number of pairs left out, by reason
    footers : digests by which the shards are known again
    """

    size: int
    numbers: NDArray
    labels: NDArray
    peak_snr: NDArray
    place: NDArray
    lens: NDArray
    images: NDArray
    instrument: Instrument
    noise_seed: int
    dropped: dict[str, int] = field(default_factory=dict)
    footers: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def without(self, bad: NDArray, reason: str) -> Pairs:
        """Return the pairs that are not `bad`, (n,) bool; the others are counted as dropped for `reason`."""
        values = {name: getattr(self, name)[~bad] for name in ("numbers", "labels", "peak_snr", "place", "lens", "images")}
        return dataclasses.replace(self, **values, dropped={**self.dropped, reason: int(bad.sum())})


def read_pairs(paths: Sequence[str | Path]) -> Pairs:
    """Read shards of noiseless pairs.

    Raises
    ------
    TableError
        A shard is missing, unreadable, or holds no pairs.
    LearningError
        Pairs of other rows than training ones, a pair twice, shards of several datasets, or images that are too small.
    BadPixels
        Pixels that are not finite.
    """
    if not paths:
        raise LearningError("no pairs: the list of shards is empty; check the dataset's sizes")
    size, observations, tables, footers = 0, {}, [], []
    for path in map(Path, paths):
        with open_table(path, MANIFEST) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        size = _size(path, schema)
        described = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items() if k in (b"instrument", b"seed")}
        if set(described) != {"instrument", "seed"}:
            raise TableError(
                f"{path}: this table of pairs does not say how they are observed (metadata instrument and seed); make it again with rule render_pairs"
            )
        observations.setdefault(tuple(sorted(described.items())), path)
        tables.append((path, rows))
        footers.append(footer_digest(path))
    if len(observations) > 1:
        raise LearningError(
            f"pairs of several datasets, observed otherwise: {', '.join(map(str, observations.values()))}; give the shards of one"
        )
    total = sum(rows for _, rows in tables)
    shape = (total, 4, size, size)
    pixels = np.empty(shape, np.float32) if 4 * np.prod(shape, dtype=float) <= MEMORY_BYTES else room_for(shape)
    names = [c.name for c in (*MANIFEST.columns, *PLACE)]
    scalars, start = [], 0
    for path, _ in tables:
        with parquet_errors(path), pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                found = file.read_row_group(group, columns=[*names, *(c.name for c in pair_images(size))], use_threads=False)
                for k, column in enumerate(pair_images(size)):
                    pixels[start : start + found.num_rows, k] = images(found, column.name)
                scalars.append(found.select(names))
                start += found.num_rows
    return _checked(pa.concat_tables(scalars), pixels, size, dict(next(iter(observations))), tuple(footers), paths)


def lens_parameters(table: pa.Table) -> NDArray:
    """Return the parameters `LENS` of rows of a subhalo table, (n, q): ellipticity and shear as components along x and at 45° to it."""
    names = ("theta_e_arcsec", "lens_slope", "lens_e", "lens_phi_rad", "lens_x_arcsec", "lens_y_arcsec", "shear", "shear_phi_rad")
    column = {name: table.column(name).to_numpy().astype(np.float64) for name in names}
    e, phi = column["lens_e"], 2 * column["lens_phi_rad"]
    values = {
        "theta_e": column["theta_e_arcsec"],
        "slope": column["lens_slope"],
        "e1": e * np.cos(phi),
        "e2": e * np.sin(phi),
        "x": column["lens_x_arcsec"],
        "y": column["lens_y_arcsec"],
    }
    values |= dict(zip(("gamma1", "gamma2"), shear_components(column), strict=True))
    return np.stack([values[name] for name in LENS], 1)


def _checked(table: pa.Table, pixels: NDArray, size: int, described: dict[str, str], footers: tuple[bytes, ...], paths: Sequence) -> Pairs:
    splits = set(table.column("split").to_pylist())
    if splits != {"train"}:
        raise LearningError(
            f"{paths[0]} and others hold pairs of split {', '.join(sorted(splits - {'train'})) or 'none'}, expected train alone: validation and "
            "test stamps must stay unseen; give the shards that rule render_pairs makes"
        )
    bad = np.flatnonzero(~np.isfinite(pixels.sum((1, 2, 3), dtype=np.float64)))
    if len(bad):
        ids = table.column("stamp_id").take(pa.array(bad)).to_pylist()
        raise BadPixels(f"{len(bad)} of {len(table)} pairs have pixels that are NaN or infinite: {some(ids)}; render these shards again")
    numbers = table.column("number").to_numpy()
    order = np.argsort(numbers, kind="stable")
    if (np.diff(numbers[order]) == 0).any():
        twice = numbers[order][1:][np.diff(numbers[order]) == 0]
        raise LearningError(f"{len(twice)} pairs come more than once (number {twice[0]} first); give each shard once")
    instrument = Instrument.model_validate_json(described["instrument"])
    place = np.stack([table.column(c.name).to_numpy() for c in PLACE], 1) / instrument.pixel_scale_arcsec
    return Pairs(
        size=size,
        numbers=numbers[order],
        labels=table.column("label").to_numpy().astype(np.int64)[order],
        peak_snr=table.column("peak_snr").to_numpy()[order],
        place=place[order],
        lens=lens_parameters(table)[order],
        # Shards come in the order of their numbers as a rule: nothing is copied then.
        images=pixels if (order == np.arange(len(order))).all() else pixels[order],
        instrument=instrument,
        noise_seed=int(described["seed"]),
        footers=tuple(sorted(footers)),
    )


def _size(path: Path, schema: pa.Schema) -> int:
    index = schema.get_field_index("smooth_flux")
    kind = schema.field(index).type if index >= 0 else None
    if not isinstance(kind, pa.FixedShapeTensorType) or len(kind.shape) != 2:
        raise TableError(
            f"{path}: expected an image column `smooth_flux`, found {kind or 'none'}; give shards of pairs, as render_pairs writes them"
        )
    size = kind.shape[0]
    pair_schema(size).check(schema, path)
    if size < MIN_SIZE:
        raise LearningError(f"{path}: pairs of {size}×{size} pixels are too small, at least {MIN_SIZE}×{MIN_SIZE} are needed")
    return size
