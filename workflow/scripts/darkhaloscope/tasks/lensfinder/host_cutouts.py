"""The table of real cutouts that serve as hosts, and the cutout of each row of a manifest from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...config.legacysurvey import BANDS, PIXEL_SCALE_ARCSEC
from ...core.tables import Column, Schema, images, parquet_errors
from ...surveys.cutouts import Cutout
from .inject import InjectionError


def host_schema(size: int) -> Schema:
    """Return the columns of cutouts that serve as hosts, of `size` pixels on a side."""
    shape = (len(BANDS), size, size)
    return Schema(
        "host cutouts",
        (
            Column("brickname", "string", "", "Name of the file or object, by which the manifest knows it"),
            Column("x_offset_arcsec", "float32", "arcsec", "Object from the stamp's middle, to the right"),
            Column("y_offset_arcsec", "float32", "arcsec", "Object from the stamp's middle, up"),
            *(Column(f"psfsize_{b}", "float32", "arcsec", f"psfsize that the FWHM in {b} stands for") for b in BANDS),
            Column("image", "float32", "nanomaggy", f"Cutout in {', '.join(BANDS)}, or what stands in for one of them", shape),
            Column("invvar", "float32", "nanomaggy⁻²", "Inverse variance of a pixel; 0 where it is bad", shape),
        ),
    )


def cut_hosts(rows: pa.Table, path: str | PathLike, size: int, max_bad_fraction: float) -> Iterator[Cutout]:
    """Yield the cutout of each row of a manifest from a table that `read_hosts` gave, one row group in memory at a time.

    Parameters
    ----------
    rows : manifest rows; those of one host should follow each other
    path : table of `host_schema(size)`
    size : pixels on a side
    max_bad_fraction : a cutout is not `ok` above this share of bad pixels in any one band

    Raises
    ------
    InjectionError
        A row's host is not in the table.
    """
    with parquet_errors(path), pq.ParquetFile(path) as file:
        host_schema(size).check(file.schema_arrow, str(path))
        groups = [file.read_row_group(k, columns=["brickname"])["brickname"].to_pylist() for k in range(file.num_row_groups)]
    where = {name: (group, row) for group, names in enumerate(groups) for row, name in enumerate(names)}
    held, table, planes = -1, None, {}
    for name in rows["brickname"].to_pylist():
        if name not in where:
            raise InjectionError(f"host {name} of the manifest is not among the {len(where)} of {path}; build the manifest again")
        group, row = where[name]
        if group != held:
            with parquet_errors(path), pq.ParquetFile(path) as file:
                held, table = group, file.read_row_group(group, use_threads=False)
            planes = {column: images(table, column) for column in ("image", "invvar")}
        yield _cutout(table, planes, row, max_bad_fraction)


def _cutout(table: pa.Table, planes: Mapping[str, NDArray], row: int, max_bad_fraction: float) -> Cutout:
    invvar = planes["invvar"][row]
    good = invvar > 0
    bad = 1 - good.mean((1, 2))
    ok = bool(bad.max() <= max_bad_fraction)
    x, y = (float(table[f"{axis}_offset_arcsec"][row].as_py()) for axis in "xy")
    return Cutout(
        image=planes["image"][row],
        invvar=invvar,
        good=good,
        psfsize=np.array([table[f"psfsize_{b}"][row].as_py() for b in BANDS], np.float32),
        bad_fractions=bad.astype(np.float32),
        n_not_finite=0,
        ok=ok,
        reason="" if ok else f"{bad.max():.0%} of a band's pixels are bad, more than {max_bad_fraction:.0%}",
        x_offset_arcsec=x,
        y_offset_arcsec=y,
        x0=0,
        y0=0,
        pixel_scale_arcsec=PIXEL_SCALE_ARCSEC,
    )


def is_table(paths: Sequence[str | PathLike]) -> bool:
    """Say whether the cutouts of a manifest are a table of hosts, and not folders of bricks."""
    return len(paths) == 1 and str(paths[0]).endswith(".parquet")
