"""Stamps of positives with their arcs taken away again: what a network must not tell from controls.

The arc is lensed once more from the stamp's own row, as `injection` did it, noise included, and subtracted. No brick is
needed: they are deleted once the stamps are made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ...config.lensfinder import BANDS, LensFinderDataset
from ...core.random import row_keys, stable_hash
from ...core.tables import images, open_table
from ...lensing.batching import one_thread
from ...stamps.columns import row_columns, take
from ...stamps.rows import read_stamps
from .inject import detected_light, source_fluxes
from .light import Stills, lens_sources
from .schema import image_column, stamp_schema, without_arc_schema

log = logging.getLogger("darkhaloscope")

#: Hosts whose stamps are made; a share of 5% of them is known to 1.4 points.
MOST_HOSTS = 1000
#: Relative difference between an arc's flux and that of its row from which on it is not the same arc.
SAME_FLUX = 1e-6

_CHOICE = ("number", "label", "cutout_ok", "object_id", "replicate")


class ArcError(ValueError):
    """An arc cannot be taken away; the message says whose and why."""


def choose_hosts(paths: Sequence[str | os.PathLike], size: int, most: int = MOST_HOSTS) -> pa.Table:
    """Return positives with a good cutout, one of each host, whose hashed hosts come first.

    Parameters
    ----------
    paths : shards of one split
    size : pixels on a side
    most : stamps at most

    Returns
    -------
    pyarrow.Table
        Schema `stamp_schema(size)`, in the order of the shards; the same stamps whatever the shards.

    Raises
    ------
    TableError
        A shard is missing or has a wrong column.
    """
    found = []
    for path in paths:
        with open_table(path, stamp_schema(size)) as file:
            found.append(file.read(columns=list(_CHOICE)).to_pandas())
    usable = pd.concat(found).query("label == 1 and cutout_ok").sort_values(["object_id", "replicate"])
    first = usable.drop_duplicates("object_id")["number"].to_numpy()
    host = usable.drop_duplicates("object_id")["object_id"].to_numpy()
    order = np.argsort(row_keys(host, np.full(len(host), stable_hash("without arc"), np.uint64)), kind="stable")
    chosen = first[order[:most]]
    empty = stamp_schema(size).arrow().empty_table()
    return read_stamps(paths, chosen) if len(chosen) else empty


def remove_arcs(stamps: pa.Table, dataset: LensFinderDataset, stills: Stills) -> tuple[pa.Table, pa.Table]:
    """Take the arcs of positives away.

    Parameters
    ----------
    stamps : positives, as `choose_hosts` gives them
    dataset : LensFinderDataset
        The one that the stamps are of.
    stills : for each kind of source that is made of files, what gives a row's image

    Returns
    -------
    removed, bare : pyarrow.Table
        Schema `without_arc_schema`, row by row. `removed` lacks the noiseless arc: the arc's own Poisson noise is left, and a
        network sees the host and that noise. `bare` lacks the noise as well: it is the cutout that the arc was injected into,
        but for the rounding of one float32 sum, which is what an arc of no flux would leave.

    Raises
    ------
    ArcError
        A row's arc has another flux now than in its stamp.
    """
    columns = row_columns(stamps.drop_columns(["image"]))
    image = images(stamps, "image") if stamps.num_rows else np.empty((0, *image_column(dataset.camera.stamp_size).shape), np.float32)
    removed, bare = np.empty_like(image), np.empty_like(image)
    step = dataset.rendering.batch_size
    with one_thread():
        for start in range(0, len(image), step):
            some = slice(start, start + step)
            signal, light = _arcs(take(columns, some), dataset, stills)
            # As it was added: pixels without light keep their bits.
            bare[some] = np.where(light != 0, image[some] - light, image[some])
            removed[some] = image[some] - np.maximum(signal, 0).astype(np.float32)
    log.info("%d arcs taken away", len(image))
    schema = without_arc_schema(dataset.camera.stamp_size)
    kept = {c.name: stamps.column(c.name).combine_chunks() for c in schema.columns if c.name != "image"}
    return schema.table({**kept, "image": removed}), schema.table({**kept, "image": bare})


def _arcs(columns: dict[str, NDArray], dataset: LensFinderDataset, stills: Stills) -> tuple[NDArray, NDArray]:
    """Return arcs without noise and as they were detected, (n, 3, size, size) nanomaggies each."""
    offset = np.stack([columns["host_x_arcsec"], columns["host_y_arcsec"]], 1)
    fwhm = np.stack([columns[f"psf_fwhm_used_{b}"] for b in BANDS], 1)
    lensed = lens_sources(columns, offset, fwhm, dataset.camera, dataset.rendering.accuracy, stills)
    signal = lensed.observed * source_fluxes(columns)[:, :, None, None]
    flux = np.stack([columns[f"total_injected_flux_{b}"] for b in BANDS], 1)
    wrong = ~(np.abs(signal.sum((2, 3)) - flux) <= SAME_FLUX * flux).all(1)
    if wrong.any():
        raise ArcError(
            f"the arc of stamp {columns['stamp_id'][wrong][0]} has {signal[wrong][0].sum():.6g} nanomaggies now and {flux[wrong][0].sum():.6g} in "
            f"its stamp ({int(wrong.sum())} of {len(wrong)} such stamps): the stamps were made with other sources or settings; make them again"
        )
    keys = row_keys(columns["object_id"], columns["replicate"])
    light = np.stack([detected_light(s, dataset, int(key)) for s, key in zip(signal, keys, strict=True)])
    return signal, light
