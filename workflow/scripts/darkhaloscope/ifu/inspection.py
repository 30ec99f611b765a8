"""The inspection page of one galaxy: everything in its file of maps that a careful user looks at first."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .manga.maps import PIXEL_MASK_BITS, mask_bit_counts, open_maps
from .maps import Maps
from .preview import draw_map, flux_norm, unit_shown

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def inspection_page(path: str | os.PathLike, maps: Maps, metrics: Mapping) -> str:
    """Return a page about one file of maps that needs nothing else to be shown.

    It has the maps as one embedded picture, the metrics and flags, every extension with shape, unit and
    channels, the counts of each mask bit by name, and the primary header.

    Parameters
    ----------
    path : file of maps, as FITS
    maps, metrics : of a member of `ifu.members`, and of `measure_quality`.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    UnreadableMaps
        The file cannot be read.
    """
    path = Path(path)
    with open_maps(path) as hdus:
        context = {
            "file": path.name,
            "maps": maps,
            "metrics": {key: _shown(value) for key, value in metrics.items() if key != "unusable_because"},
            "usable": metrics["usable"],
            "reasons": metrics["unusable_because"],
            "picture": base64.b64encode(maps_picture(maps)).decode("ascii"),
            "extensions": [_describe(i, hdu) for i, hdu in enumerate(hdus)],
            "lines": getattr(maps, "channels", {}),
            "bits": PIXEL_MASK_BITS,
            "unit": unit_shown(maps.flux_unit),
            "masks": [_count_bits(hdu, maps.line) for hdu in hdus if hdu.name.endswith("_MASK")],
            "cards": [(c.keyword, c.value, c.comment) for c in hdus[0].header.cards if c.keyword not in ("", "COMMENT", "HISTORY")],
        }
    return _TEMPLATES.get_template("inspection.html").render(context)


def maps_picture(maps: Maps) -> bytes:
    """Draw the maps as they are in the file, masked spaxels grey, and return the PNG."""
    figure = Figure(figsize=(11, 7.2), dpi=110, layout="constrained")
    panels = figure.subplots(2, 3)
    line_snr = maps.flux * np.sqrt(maps.flux_ivar)
    flux = np.ma.masked_where(~maps.flux_valid, maps.flux)
    velocity = np.ma.masked_where(~maps.velocity_valid, maps.velocity)
    bound = float(np.abs(velocity).max()) if velocity.count() else 1.0
    continuum = getattr(maps, "snr", None)
    second = np.sqrt(maps.velocity_ivar) * maps.velocity_valid if continuum is None else continuum
    label_of_second = "1/error of velocity [s km⁻¹]" if continuum is None else "g-band S/N (SPX_SNR)"
    validity = maps.flux_valid.astype(int) + 2 * maps.velocity_valid
    for axes, image, colours, norm, label in (
        (panels[0, 0], flux, "magma", flux_norm(flux), f"{maps.line} flux [{unit_shown(maps.flux_unit)} spaxel⁻¹]"),
        (panels[0, 1], velocity, "RdBu_r", Normalize(-bound, bound), f"{maps.kinematics} velocity [km s⁻¹]"),
        (panels[0, 2], np.ma.masked_where(~maps.dispersion_valid, maps.dispersion), "viridis", None, "dispersion less instrument [km s⁻¹]"),
        (panels[1, 0], np.ma.masked_where(~maps.flux_valid, line_snr), "cividis", None, f"{maps.line} flux S/N"),
        (panels[1, 1], np.ma.masked_where(second <= 0, second), "cividis", None, label_of_second),
        (panels[1, 2], validity, "viridis", Normalize(0, 3), "valid: 0 none, 1 flux, 2 velocity, 3 both"),
    ):
        draw_map(figure, axes, image, None, colours, norm or _range(image), label)
        axes.set_xlabel("x [spaxel]", fontsize=8)
        axes.set_ylabel("y [spaxel]", fontsize=8)
        axes.contour(maps.r_re, levels=[1.0, 1.5], colors="0.6", linewidths=0.8, linestyles=["solid", "dashed"])
    figure.suptitle(f"{maps.galaxy_id}: grey is masked; contours at 1 Re (solid) and 1.5 Re (dashed); north up, east left", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _range(image: NDArray) -> Normalize:
    values = np.ma.compressed(image)
    return Normalize(*np.percentile(values, [1, 99])) if values.size else Normalize(0, 1)


def _describe(number: int, hdu: fits.ImageHDU) -> dict:
    header = hdu.header
    names = [str(header[k]) for k in header if k[0] == "C" and k[1:].isdigit()]
    units = [str(header[k]) for k in header if k[0] == "U" and k[1:].isdigit()]
    shape = hdu.shape if hdu.is_image else (0 if hdu.data is None else len(hdu.data),)
    return {
        "number": number,
        "name": hdu.name,
        "shape": " × ".join(map(str, shape)) or "header alone",
        "bitpix": {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}.get(header.get("BITPIX"), ""),
        "unit": header.get("BUNIT", "") or ", ".join(dict.fromkeys(u for u in units if u)),
        "channels": names,
    }


def _count_bits(hdu: fits.ImageHDU, line: str) -> dict:
    """Count the bits of a mask: in the line's channel where there is one, over all channels otherwise."""
    mask, where = hdu.data, "one map"
    if mask.ndim == 3:
        names = {str(hdu.header[k]).strip(): int(k[1:]) - 1 for k in hdu.header if k[0] == "C" and k[1:].isdigit()}
        mask, where = (mask[names[line]], f"channel {line}") if line in names else (mask, f"all {len(mask)} channels")
    counts = mask_bit_counts(mask)
    return {"name": hdu.name, "where": where, "size": mask.size, "unmasked": int((mask == 0).sum()), "counts": counts}


def _shown(value: object) -> str:
    if value is None:
        return "not measurable"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
