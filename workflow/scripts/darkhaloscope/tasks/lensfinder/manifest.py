"""The rows of a lens-finder dataset: hosts, controls and injections, piece by piece, in the order of bricks.

Memory is that of the parent sample's columns and of 13 bytes per stamp.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...config.cosmology import Cosmology
from ...config.legacysurvey import ZERO_POINT
from ...config.lensfinder import LensFinderDataset
from ...config.subhalo import SPLITS
from ...core.files import whole
from ...core.tables import open_table, read_columns
from ...sources.stills import KINDS
from ...stamps.manifest import ManifestError, identity, piece_ranges, repeated
from .hosts import Chosen, Parent, choose_hosts, read_parent
from .priors import Galaxies, draw_injections, grid_cells, read_galaxies
from .schema import CONDITIONS, LENS, MANIFEST, SOURCE


def draw_manifest(name: str, dataset: LensFinderDataset, parent: Parent, galaxies: dict[str, Galaxies]) -> Iterator[pa.Table]:
    """Draw every stamp of a dataset, piece by piece.

    Rows are ordered by split, then brick, so that a shard reads few bricks; half of each split are controls.

    Parameters
    ----------
    name : str
        Name of the dataset; stamp ids begin with it.
    dataset : LensFinderDataset
    parent : Parent
    galaxies : source galaxies by kind, as `share_galaxies` gives them, for the kinds that are made of some

    Yields
    ------
    pyarrow.Table
        Rows of `MANIFEST`.

    Raises
    ------
    ManifestError
        Too few galaxies, shares of the splits other than those asked for, or sources of a kind that is not given.
    """
    missing = [k for k in dataset.sources.mix if KINDS[k].galaxies and dataset.sources.uses(k) and k not in galaxies]
    if missing:
        raise ManifestError(
            f"sources.mix asks for {' and '.join(missing)} sources, but no such galaxies are given; set sources.mix to others"
        )
    chosen = choose_hosts(parent, dataset)
    grids = {split: grid_cells(dataset.injection, dataset.seed, split, len(rows.host) // 2) for split, rows in chosen.items()}
    for split, index in piece_ranges(dataset.size):
        yield _rows(name, dataset, parent, galaxies, split, index, chosen[split], *grids[split])


def draw(name: str, dataset: LensFinderDataset, files: Mapping[str, Sequence[str]], cosmology: Cosmology) -> Iterator[pa.Table]:
    """Draw the rows of a dataset from the inputs of rule build_manifest: `parent`, and `cosmos` and `bank` where sources need them."""
    return draw_manifest(name, dataset, read_parent(files["parent"][0]), read_galaxies(dataset, files))


def list_bricks(manifest: str | os.PathLike, dataset: LensFinderDataset, bricks: str | os.PathLike) -> None:
    """Write the bricks that every shard needs, as CSV: split, shard, brickname.

    Raises
    ------
    ManifestError
        The manifest does not have the dataset's stamps.
    """
    with open_table(manifest, MANIFEST):
        pass
    table = read_columns(manifest, ["split", "brickname"], as_categories=["split", "brickname"])
    with whole(bricks) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("split", "shard", "brickname"))
        for split in SPLITS:
            names = table.filter(pc.equal(table["split"], split))["brickname"]
            if len(names) != getattr(dataset.size, split):
                raise ManifestError(
                    f"{manifest} has {len(names)} rows of split {split}, the dataset {getattr(dataset.size, split)}; make it again with rule build_manifest"
                )
            for shard in range(dataset.shards(split)):
                here = names.slice(shard * dataset.shard_size, dataset.shard_size).unique().to_pylist()
                lines.writerows((split, shard, brick) for brick in sorted(here))


# --- rows --------------------------------------------------------------------------------------


def _rows(
    name: str,
    dataset: LensFinderDataset,
    parent: Parent,
    galaxies: dict[str, Galaxies],
    split: str,
    index: NDArray[np.int64],
    chosen: Chosen,
    cells: NDArray,
    shape: tuple[int, ...],
) -> pa.Table:
    host, control, replicate, pair = (v[index] for v in (chosen.host, chosen.is_control, chosen.replicate, chosen.pair))
    positive = np.flatnonzero(~control)
    object_id = parent["object_id"][host]
    injected = draw_injections(dataset, split, object_id[positive], replicate[positive], cells[pair[positive]], shape, galaxies)
    role = pc.if_else(pa.array(control), "control", pa.array(replicate).cast(pa.string()))
    return MANIFEST.table(
        {
            **identity(name, split, index, ~control, digits=9),
            "task_id": pc.binary_join_element_wise(pa.array(object_id).cast(pa.string()), role, "-"),
            "experiment_id": repeated(name, len(host)),
            "region_id": parent["healpix"][host],
            "region_split": repeated(split, len(host)),
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
