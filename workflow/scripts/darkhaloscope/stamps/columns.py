"""Columns that tables of stamps share: each has one meaning, whatever the task, and is defined here alone; and columns as arrays.

Lengths are in arcsec, x to the right and y up on the stamp (west and north on the sky), angles counter-clockwise from x.
The frame of `src_*` and `shear*` is the lens: the source's centre is counted from the lens' centre, and the shear deflects
nothing there. So one row is one lens wherever it lies on its stamp. The engine's shear is about the stamp's middle;
`source_position` gives the place that makes the same image there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.tables import Column

#: Columns of some rows as arrays, by name.
Columns = dict[str, NDArray]

IDENTITY = (
    Column("stamp_id", "string", "", "Identifier: dataset-split-number"),
    Column("number", "int64", "", "Number of the row in its dataset; keys the randomness of the stamp"),
    Column("split", "string", "", "train, validation or test"),
    Column("label", "int8", "", "1 positive, 0 control"),
)

_SHARED = (
    Column("source_kind", "string", "", "Kind of the source, by its name in `sources.mix`"),
    Column("src_x_arcsec", "float64", "arcsec", "Centre of the unlensed source from the lens' centre, to the right"),
    Column("src_y_arcsec", "float64", "arcsec", "Centre of the unlensed source from the lens' centre, up"),
    Column(
        "src_phi_rad",
        "float64",
        "rad",
        "Rotation of a source that is an image; of an analytic one the direction of its major axis (a disk's kinematic one), counter-clockwise from x",
    ),
    Column("src_flip", "bool", "", "Whether the source image is reflected about its y axis before it is rotated"),
    Column("theta_e_arcsec", "float64", "arcsec", "Einstein radius of the main lens"),
    Column("lens_e", "float64", "", "Ellipticity (1 − q)/(1 + q) of the main lens"),
    Column("lens_phi_rad", "float64", "rad", "Direction of the lens' major axis, counter-clockwise from x"),
    Column("shear", "float64", "", "External shear, about the lens: it deflects nothing at the lens' centre"),
    Column("shear_phi_rad", "float64", "rad", "Direction of the shear, counter-clockwise from x"),
    Column("theta_over_psf", "float64", "", "θ_E over the FWHM of the PSF"),
    Column(
        "arc_snr", "float64", "", "max(signal·√invvar) over the good pixels; signal is noiseless, invvar lacks the arc's own Poisson noise"
    ),
    Column("arc_snr_sum", "float64", "", "Σ signal / √Σ(1/invvar) over the good pixels, likewise"),
    Column("arc_snr_matched", "float64", "", "√Σ(signal²·invvar) over the good pixels, the optimal one, likewise"),
    Column("magnification", "float64", "", "Lensed flux in the stamp over the flux of the unlensed source, before the PSF"),
    Column("tangential_stretch", "float64", "", "1/Σ w|1 − κ − γ| over the image, w the share of lensed light, κ and γ of the main lens"),
    Column("radial_stretch", "float64", "", "1/Σ w|1 − κ + γ|, likewise"),
    Column("lensed_hlr_arcsec", "float64", "arcsec", "Radius about the lens with half of the noiseless lensed light behind the PSF"),
)
SHARED: dict[str, Column] = {c.name: c for c in _SHARED}


def shared(*names: str, description: str = "", nullable: bool = False) -> tuple[Column, ...]:
    """Return shared columns as a task's table has them: `description` adds which rows hold what stands for no value."""
    return tuple(
        replace(SHARED[name], nullable=nullable, description="; ".join(filter(None, (SHARED[name].description, description))))
        for name in names
    )


def row_columns(rows: pa.Table) -> Columns:
    """Return the columns of some rows as arrays; missing numbers are NaN, missing text is None, missing truths are false."""
    out: Columns = {}
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_string(column.type):
            out[name] = np.asarray(column.to_pylist(), object)
        else:
            column = column.fill_null(False) if pa.types.is_boolean(column.type) else column
            out[name] = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return out


def take(columns: Columns, index: NDArray | slice) -> Columns:
    """Return some of the rows."""
    return {name: values[index] for name, values in columns.items()}


def shear_components(columns: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Return γ1 and γ2 of some rows."""
    return (
        columns["shear"] * np.cos(2 * columns["shear_phi_rad"]),
        columns["shear"] * np.sin(2 * columns["shear_phi_rad"]),
    )


def source_position(columns: Mapping[str, NDArray], lens_x: NDArray, lens_y: NDArray) -> tuple[NDArray, NDArray]:
    """Return where a source lies on its stamp if the shear is taken about the stamp's middle, as the engine takes it.

    A shear Γ about the lens at l is one about the origin and a shift of the source plane: Γ(θ − l) = Γθ − Γl.

    Parameters
    ----------
    columns : `src_x_arcsec`, `src_y_arcsec`, `shear` and `shear_phi_rad` of n rows
    lens_x, lens_y : (n,) the lens from the stamp's middle [arcsec]

    Returns
    -------
    x, y : (n,) from the stamp's middle [arcsec]
    """
    gamma1, gamma2 = shear_components(columns)
    x = columns["src_x_arcsec"] + lens_x - gamma1 * lens_x - gamma2 * lens_y
    y = columns["src_y_arcsec"] + lens_y - gamma2 * lens_x + gamma1 * lens_y
    return x, y


def source_from_lens(columns: Mapping[str, NDArray], x: NDArray, y: NDArray) -> dict[str, NDArray]:
    """Return the columns of a source's place, the reverse of `source_position`: for tables that count from the stamp's middle.

    Parameters
    ----------
    columns : `lens_x_arcsec`, `lens_y_arcsec`, `shear` and `shear_phi_rad` of n rows
    x, y : (n,) the source from the stamp's middle, the shear being about it [arcsec]
    """
    gamma1, gamma2 = shear_components(columns)
    lens_x, lens_y = columns["lens_x_arcsec"], columns["lens_y_arcsec"]
    return {
        "src_x_arcsec": x - lens_x + gamma1 * lens_x + gamma2 * lens_y,
        "src_y_arcsec": y - lens_y + gamma2 * lens_x - gamma1 * lens_y,
    }
