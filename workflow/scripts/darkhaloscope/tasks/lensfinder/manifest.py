"""The manifest of a lens-finder dataset: one row per stamp, written in pieces, in the order of bricks.

Memory is that of the parent sample's columns and of 13 bytes per stamp; rows themselves are made and
written a piece at a time.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...config.legacysurvey import ZERO_POINT
from ...config.lensfinder import LensFinderDataset
from ...config.subhalo import SPLITS
from ...core.files import whole
from ...core.tables import open_table, write_table
from ..subhalo.manifest import NUMBERS_PER_SPLIT, ManifestError
from .hosts import Chosen, Parent, choose_hosts
from .priors import Galaxies, draw_injections, grid_cells
from .schema import CONDITIONS, INJECTION_MANIFEST, LENS, SOURCE

log = logging.getLogger("darkhaloscope")

#: Rows made at a time, and rows in a row group of the file.
PIECE, ROW_GROUP = 131072, 8192


def build_injections(
    name: str,
    dataset: LensFinderDataset,
    parent: Parent,
    galaxies: dict[str, Galaxies],
    manifest: str | os.PathLike,
    bricks: str | os.PathLike,
) -> dict[str, int]:
    """Write the manifest, and the list of bricks that every shard needs.

    Rows are ordered by split, then brick, so that a shard reads few bricks; half of each split are controls.

    Parameters
    ----------
    name : str
        Name of the dataset; stamp ids begin with it.
    dataset : LensFinderDataset
    parent : Parent
    galaxies : source galaxies by kind, as `share_galaxies` gives them; none for sersic
    manifest, bricks : paths of the Parquet table (`INJECTION_MANIFEST`) and of the CSV list (split, shard, brickname)

    Returns
    -------
    dict
        Stamps written in each split.

    Raises
    ------
    ManifestError
        Too few galaxies, shares of the splits other than those asked for, or sources of a kind that is not given.
    """
    missing = [k for k in dataset.sources.mix if k != "sersic" and dataset.sources.uses(k) and k not in galaxies]
    if missing:
        raise ManifestError(
            f"sources.mix asks for {' and '.join(missing)} sources, but no such galaxies are given; set sources.mix to others"
        )
    chosen = choose_hosts(parent, dataset)
    needed: list[tuple[str, int, str]] = []
    with whole(bricks) as temporary:
        write_table(manifest, INJECTION_MANIFEST, _pieces(name, dataset, parent, galaxies, chosen, needed), row_group=ROW_GROUP)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("split", "shard", "brickname"), *needed])
    count = {split: len(c.host) for split, c in chosen.items()}
    log.info("%s", ", ".join(f"{n} stamps in {split}" for split, n in count.items()))
    return count


def read_rows(path: str | os.PathLike, dataset: LensFinderDataset, split: str, shard: int) -> pa.Table:
    """Return the manifest's rows of one shard; no other row group is read.

    Raises
    ------
    ManifestError
        The manifest does not have these rows, or they are of another split.
    """
    before = sum(getattr(dataset.size, s) for s in SPLITS[: SPLITS.index(split)])
    start = before + shard * dataset.shard_size
    stop = min(start + dataset.shard_size, before + getattr(dataset.size, split))
    parts, passed = [], 0
    with open_table(path, INJECTION_MANIFEST) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if passed < stop and passed + count > start:
                low, high = max(start - passed, 0), min(stop - passed, count)
                parts.append(file.read_row_group(group).slice(low, high - low))
            passed += count
    rows = pa.concat_tables(parts).combine_chunks() if parts and stop > start else None
    if rows is None or rows.num_rows != stop - start or set(rows.column("split").unique().to_pylist()) != {split}:
        raise ManifestError(f"{path} does not hold rows {start} to {stop} of split {split}; make it again with rule build_injections")
    return rows


# --- rows --------------------------------------------------------------------------------------


def _pieces(
    name: str, dataset: LensFinderDataset, parent: Parent, galaxies: dict[str, Galaxies], chosen: dict[str, Chosen], needed: list
) -> Iterator[pa.Table]:
    """Yield tables of at most `PIECE` rows, and note the bricks of every shard on the way."""
    for split, rows in chosen.items():
        cells, shape = grid_cells(dataset.injection, dataset.seed, split, len(rows.host) // 2)
        for shard in range(dataset.shards(split)):
            codes = parent.codes["brickname"][rows.host[shard * dataset.shard_size : (shard + 1) * dataset.shard_size]]
            needed += [(split, shard, str(b)) for b in sorted(parent.names["brickname"][np.unique(codes)])]
        # Whole row groups, so that a split's last piece alone can be shorter.
        for start in range(0, len(rows.host), PIECE):
            yield _piece(name, dataset, parent, galaxies, split, rows, slice(start, start + PIECE), cells, shape)


def _piece(
    name: str,
    dataset: LensFinderDataset,
    parent: Parent,
    galaxies: dict[str, Galaxies],
    split: str,
    rows: Chosen,
    some: slice,
    cells: NDArray,
    shape: tuple[int, ...],
) -> pa.Table:
    host, control, replicate = rows.host[some], rows.is_control[some], rows.replicate[some]
    index = np.arange(some.start, some.start + len(host))
    positive = np.flatnonzero(~control)
    object_id = parent["object_id"][host]
    injected = draw_injections(dataset, split, object_id[positive], replicate[positive], cells[rows.pair[some][positive]], shape, galaxies)
    region = parent["healpix"][host]
    return INJECTION_MANIFEST.table(
        {
            "stamp_id": [f"{name}-{split}-{i:09d}" for i in index.tolist()],
            "number": SPLITS.index(split) * NUMBERS_PER_SPLIT + index,
            "split": _repeated(split, len(host)),
            "label": (~control).astype(np.int8),
            "task_id": [
                f"{o}-{'control' if c else r}" for o, c, r in zip(object_id.tolist(), control.tolist(), replicate.tolist(), strict=True)
            ],
            "experiment_id": _repeated(name, len(host)),
            "region_id": region,
            "region_split": _repeated(split, len(host)),
            "brickname": _named(parent, "brickname", host),
            "object_id": object_id,
            "replicate": replicate,
            "ra": parent["ra"][host],
            "dec": parent["dec"][host],
            "is_control": control,
            "contaminant_class": _named(parent, "contaminant_class", host),
            **{c.name: _spread(injected[c.name], positive, len(host), c.name) for c in (*SOURCE, *LENS)},
            **_conditions(parent, host),
        }
    )


def _spread(values: NDArray, positive: NDArray, count: int, name: str) -> pa.Array:
    """Values of the positives among all rows: null for controls, whose θ_E is 0."""
    place = np.zeros(count, np.int64)
    place[positive] = np.arange(len(positive))
    control = np.ones(count, bool)
    control[positive] = False
    if name == "theta_e_arcsec":
        return pa.array(np.where(control, 0.0, values[place] if len(values) else 0.0))
    if not len(values):
        return pa.nulls(count)
    if values.dtype == object:
        return pa.array(values[place], mask=control, from_pandas=True)
    missing = control | (np.isnan(values)[place] if values.dtype.kind == "f" else False)
    return pa.array(values[place], mask=missing)


def _conditions(parent: Parent, host: NDArray) -> dict[str, NDArray]:
    columns = {}
    for column in CONDITIONS:
        name, _, band = column.name.rpartition("_")
        if name == "mag":
            columns[column.name] = ZERO_POINT - 2.5 * np.log10(parent[f"flux_{band}"][host].astype(np.float64))
        else:
            columns[column.name] = parent[column.name][host].astype(np.float64)
    return columns


def _named(parent: Parent, name: str, host: NDArray) -> pa.Array:
    names = np.where(parent.names[name] == "", None, parent.names[name])
    return pa.DictionaryArray.from_arrays(parent.codes[name][host], pa.array(names, pa.string())).cast(pa.string())


def _repeated(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
