"""The bank of source galaxies: one row per galaxy, its physical maps and what scales them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..config.manga import Galaxies
from ..core.reading import read_json, read_npz, readable
from ..core.tables import Column, Schema, TableError, read_table, write_table

log = logging.getLogger(__name__)

SCALARS = (
    Column("galaxy_id", "string", "", "Observation of the galaxy, as its archive names it (MaNGA: plate-ifu)"),
    Column(
        "physical_id",
        "string",
        "",
        "The galaxy itself, by which splits are made (MaNGA: MANGAID); one galaxy can have several observations",
    ),
    Column("z", "float64", "", "Redshift of the galaxy"),
    Column("pixel_scale_arcsec", "float64", "arcsec", "Side of a pixel of the maps as observed at z"),
    Column("pixel_scale_kpc", "float64", "kpc", "Side of a pixel of the maps at the galaxy"),
    Column("centre_x_pix", "float64", "pixel", "Centre of the galaxy's elliptical coordinates, column, from 0"),
    Column("centre_y_pix", "float64", "pixel", "Centre of the galaxy's elliptical coordinates, row, from 0"),
    Column("inclination_rad", "float64", "rad", "Inclination arccos(b/a), 0 is face-on"),
    Column(
        "pa_rad",
        "float64",
        "rad",
        "Direction of the receding half of the major axis in the maps, counter-clockwise from x (columns), 0 to 2π",
    ),
    Column("half_light_radius_arcsec", "float64", "arcsec", "Semi-major axis of the ellipse with half of the line's flux, as observed"),
    Column("half_light_radius_kpc", "float64", "kpc", "The same at the galaxy"),
    Column(
        "v_peak_kms",
        "float64",
        "km/s",
        "Rotation speed in the plane of the disk: half the 2.5–97.5% range of velocities over sin i (at least 0.25)",
    ),
    Column("v_peak_los_kms", "float64", "km/s", "Half the 2.5–97.5% range of line-of-sight velocities"),
    Column(
        "v_systemic_kms",
        "float64",
        "km/s",
        "Median velocity, taken out of the velocity map; relative to what the maps' velocities are relative to (MaNGA: SCINPVEL)",
    ),
    Column("dispersion_kms", "float64", "km/s", "Flux-weighted mean dispersion without the instrument's share"),
    Column("psf_fwhm_arcsec", "float64", "arcsec", "Resolution of the maps, RFWHM"),
    Column("psf_fwhm_kpc", "float64", "kpc", "Resolution of the maps at the galaxy"),
    Column("tier", "string", "", "Lensability tier: elite, good, borderline or reject"),
    Column("score", "float64", "", "Lensability score, 0 to 100"),
    Column("used_although_rejected", "bool", "", "Whether the score rejects it and the config uses it all the same"),
    Column("source_sha256", "string", "", "SHA-256 of the file of maps"),
    Column("instrument", "string", "", "Instrument of the maps"),
    Column("line", "string", "", "Line whose flux the maps show"),
    Column("flux_unit", "string", "", "Unit of the flux, per arcsec² in the map of surface brightness"),
)


class BankError(ValueError):
    """The bank cannot be made: the message says which galaxy, and why."""


def bank_schema(size: int) -> Schema:
    """Return the schema of a bank whose maps have `size` pixels on a side."""
    shape = (size, size)
    return Schema(
        "bank",
        (
            *SCALARS,
            Column(
                "flux",
                "float32",
                "flux_unit/arcsec²",
                "Surface brightness of the line; 0 where not valid; rows go up, x to the west",
                shape,
            ),
            Column("velocity", "float32", "km/s", "Velocity relative to the systemic one; 0 where not valid", shape),
            Column("dispersion", "float32", "km/s", "Dispersion without the instrument's share; 0 where not valid or unresolved", shape),
            Column("valid", "uint8", "", "1 where flux and velocity are measured", shape),
        ),
    )


#: Schema of a bank of the default size.
BANK = bank_schema(64)


def build_bank(sources: Iterable[tuple[str | os.PathLike, str | os.PathLike]], lensability: pd.DataFrame, galaxies: Galaxies) -> pa.Table:
    """Gather source tensors in one table.

    Parameters
    ----------
    sources : pairs of paths (npz, facts) as `write_source_tensor` leaves them.
    lensability : columns galaxy_id, score, tier, reasons.
    galaxies : `use_rejected` names the rejected galaxies that are used all the same, with a warning.

    Returns
    -------
    pyarrow.Table
        Schema `bank_schema(size)`, one row per galaxy that is used, in the order of `sources`; rejected
        galaxies that `use_rejected` does not name are left out, and so are those whose tensor could not be made.

    Raises
    ------
    BankError
        A galaxy has no score, comes twice, sizes differ, or no galaxy is left.
    """
    scores = lensability.set_index(lensability["galaxy_id"].astype(str))
    rows: list[dict] = []
    for npz, facts in sources:
        entry = _entry(facts)
        name = entry["galaxy_id"]
        if "left_out" in entry:
            log.warning("galaxy %s is left out: its source tensor could not be made (%s)", name, entry["left_out"])
            continue
        if name not in scores.index:
            raise BankError(f"{facts}: galaxy {name} has no row in the lensability table; score it first")
        if any(row["galaxy_id"] == name for row in rows):
            raise BankError(f"{facts}: galaxy {name} comes twice; give each source tensor once")
        score = scores.loc[name]
        rejected = score["tier"] == "reject"
        if rejected and name not in galaxies.use_rejected:
            log.info("galaxy %s is left out: rejected (%s)", name, score["reasons"])
            continue
        if rejected:
            log.warning("galaxy %s is used although the lensability score rejects it (%s)", name, score["reasons"])
        rows.append(
            _row(entry, npz) | {"tier": str(score["tier"]), "score": float(score["score"]), "used_although_rejected": bool(rejected)}
        )
    return _table(rows)


def write_bank(path: str | os.PathLike, bank: pa.Table) -> None:
    """Write a bank as Parquet, whole."""
    write_table(path, bank_schema(bank.schema.field("flux").type.shape[0]), bank)


def read_bank(path: str | os.PathLike) -> pa.Table:
    """Read a bank of any size after checking its schema.

    Raises
    ------
    TableError
        The file is missing, not Parquet, or has a wrong column; a number of a galaxy is not finite, or a galaxy comes twice.
    """
    table = read_table(path, bank_schema(_size(Path(path))))
    names = table["galaxy_id"].to_pylist()
    wrong = [c.name for c in BANK.columns if c.shape is None and c.dtype == "float64" and not np.isfinite(table[c.name].to_numpy()).all()]
    if wrong or len(set(names)) < len(names):
        found = f"values of {', '.join(wrong)} that are not finite" if wrong else f"{len(names) - len(set(names))} galaxies twice"
        raise TableError(f"{path}: expected finite numbers and each galaxy once, found {found}; build the bank again")
    return table


def _size(path: Path) -> int:
    """Return the size of the maps in a bank; that of the default schema where it cannot be told, for its error."""
    try:
        field = pq.read_schema(path).field("flux")
    except (KeyError, OSError, pa.ArrowInvalid):
        return BANK.columns[-1].shape[0]
    return field.type.shape[0] if isinstance(field.type, pa.FixedShapeTensorType) else BANK.columns[-1].shape[0]


def _entry(facts: str | os.PathLike) -> dict:
    entry = read_json(facts, "the facts of a source tensor", "build the source tensor again", BankError)
    missing = [key for key in ("galaxy_id", "physical_id") if key not in entry]
    if missing:
        raise BankError(f"{facts}: the facts lack {', '.join(missing)}; build the source tensor again")
    return entry


def _row(entry: dict, npz: str | os.PathLike) -> dict:
    with readable(npz, f"the physical maps of galaxy {entry['galaxy_id']}", "build its source tensor again", BankError):
        maps = read_npz(Path(npz).read_bytes())
        valid = maps["valid"].astype(bool)
        planes = {
            "flux": np.where(valid, maps["flux_per_arcsec2"], 0),
            "velocity": np.where(valid, maps["velocity"] - entry["velocity_median_kms"], 0),
            "dispersion": np.where(valid, maps["dispersion"], 0),
        }
    for name, plane in planes.items():
        if not np.isfinite(plane).all():
            raise BankError(
                f"{npz}: the {name} of galaxy {entry['galaxy_id']} is not finite inside its mask, expected numbers there; build its source tensor again"
            )
    return {
        "galaxy_id": entry["galaxy_id"],
        "physical_id": entry["physical_id"],
        "z": entry["z"],
        "pixel_scale_arcsec": entry["pixel_scale_arcsec"],
        "pixel_scale_kpc": entry["pixel_scale_kpc"],
        "centre_x_pix": entry["centre_x_pix"],
        "centre_y_pix": entry["centre_y_pix"],
        "inclination_rad": float(np.radians(entry["inclination_deg"])),
        "pa_rad": entry["receding_axis_rad"],
        "half_light_radius_arcsec": entry["half_light_radius_arcsec"],
        "half_light_radius_kpc": entry["half_light_radius_kpc"],
        "v_peak_kms": entry["v_peak_kms"],
        "v_peak_los_kms": entry["v_peak_los_kms"],
        "v_systemic_kms": entry["velocity_median_kms"],
        "dispersion_kms": entry["dispersion_mean_kms"],
        "psf_fwhm_arcsec": entry["psf_fwhm_arcsec"],
        "psf_fwhm_kpc": entry["psf_fwhm_kpc"],
        **{key: entry[key] for key in ("source_sha256", "instrument", "line", "flux_unit")},
        "valid": valid.astype(np.uint8),
        **planes,
    }


def _table(rows: list[dict]) -> pa.Table:
    if not rows:
        raise BankError(
            "no galaxy is left for the bank: the lensability score rejects all of them, or their source tensors could not be made (see the log); ask for more galaxies, or name some in `use_rejected`"
        )
    sizes = sorted({row["flux"].shape for row in rows})
    if len(sizes) > 1:
        raise BankError(f"source tensors have different sizes {sizes}; build them again with one `manga.tensor.size`")
    schema = bank_schema(sizes[0][0])
    return schema.table({c.name: np.stack([r[c.name] for r in rows]) if c.shape else [r[c.name] for r in rows] for c in schema.columns})
