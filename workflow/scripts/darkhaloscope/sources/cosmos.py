"""Real galaxies in GalSim's COSMOS format (Mandelbaum et al. 2012, MNRAS 420, 1518): which may serve, and their images.

The images are HST/ACS F814W at 0.03 arcsec, in counts per second (zero point 25.94), blurred by the HST PSF and
with correlated noise. Of the noise, what lies beyond the galaxy's own isophote is faded to zero, so that no field
of noise is lensed; what lies inside stays. The blur, about 0.1 arcsec, stays as well. Measured on ten real galaxies
(half-light radii 0.13 to 0.7 arcsec, θ_E 1.3 to 2.6, PSF of 1.1 arcsec), by adding either a second time: the blur
changes a stamp by 3% of the arc's peak (median; worst 5%), the noise by 2% (worst 8%).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from ..archive.fits_files import FitsFileError, open_fits, told
from ..config.sources import CosmosSources
from ..core.random import stable_hash
from ..core.tables import Column, Schema, read_table
from .kinds import Files, Still
from .source import SourceError
from .still import StillImage, still_image

COSMOS_SOURCES = Schema(
    "cosmos sources",
    (
        Column("ident", "string", "", "IDENT of the galaxy, by which splits are made"),
        Column("file", "string", "", "File of its image, beside the catalogue"),
        Column("hdu", "int32", "", "HDU of its image, from 0"),
        Column("pixel_scale_arcsec", "float64", "arcsec", "Pixel size of the image"),
        Column("magnitude", "float64", "mag", "F814W magnitude"),
        Column("half_light_radius_arcsec", "float64", "arcsec", "Half-light radius of the Sérsic fit, without the PSF"),
        Column("noise_mean", "float64", "counts/s", "Mean of the image's background"),
        Column("noise_variance", "float64", "(counts/s)²", "Variance of a background pixel"),
    ),
)

#: What a user can do about a galaxy whose image is of no use.
LEAVE_OUT = "leave this galaxy out: add its IDENT to `sources.cosmos.set_aside`"
#: Cuts of GalSim's exclusion levels by sample: least S/N, least mask distance [pixels], largest ratio of adjacent to peak counts.
SAMPLE_CUTS = {"23.5": (20.0, 11.0, 0.2), "25.2": (12.0, 11.0, 0.8)}
#: Images kept in memory.
CACHED = 512
#: Isophote beyond which light is faded: smoothing σ [pixels], threshold in σ of the smoothed noise, growth [pixels], softness [pixels].
SMOOTHING, THRESHOLD, GROWTH, SOFTNESS = 2.0, 1.5, 6, 3.0


def list_sources(settings: CosmosSources, catalog: str | os.PathLike) -> tuple[pa.Table, list[str]]:
    """Return the galaxies of a sample that may serve, and how many each cut left.

    Parameters
    ----------
    settings : CosmosSources
    catalog : path of real_galaxy_catalog_*.fits; `_fits.fits` and, for some exclusion levels, `_selection.fits` beside it

    Returns
    -------
    pyarrow.Table of schema `COSMOS_SOURCES`, in the order of hashed IDENTs; list of str

    Raises
    ------
    SourceError
        A file or column is missing, files list other galaxies, or no galaxy is left.
    """
    path = Path(catalog)
    main = _read(path, ("IDENT", "MAG", "GAL_FILENAME", "GAL_HDU", "PIXEL_SCALE", "NOISE_MEAN", "NOISE_VARIANCE"), path)
    fits = _read(_beside(path, "_fits"), ("IDENT", "hlr", "sersicfit", "fit_status"), path)
    _same_galaxies(main, fits, path, _beside(path, "_fits"))
    radius = np.asarray(fits["hlr"], float)[:, 0]
    keep = np.ones(len(main), bool)
    counts = [f"{len(main)} galaxies in {path.name}"]
    for name, passed in (
        (f"exclusion level {settings.exclusion}", _not_excluded(settings.exclusion, path, main, fits, radius)),
        ("set_aside", ~np.isin(main["IDENT"], settings.set_aside)),
        ("half-light radius", (radius >= settings.half_light_radius_arcsec[0]) & (radius <= settings.half_light_radius_arcsec[1])),
        ("magnitude", (main["MAG"] >= settings.magnitude[0]) & (main["MAG"] <= settings.magnitude[1])),
    ):
        keep &= passed
        counts.append(f"{int(keep.sum())} after {name}")
    rows = sorted(np.flatnonzero(keep), key=lambda i: stable_hash("cosmos", int(main["IDENT"][i])))[: settings.most]
    if not rows:
        raise SourceError(f"{path}: no galaxy is left ({', '.join(counts)}); widen the cuts in sources.cosmos")
    table = COSMOS_SOURCES.table(
        {
            "ident": [str(int(main["IDENT"][i])) for i in rows],
            "file": [_plain_name(_text(main["GAL_FILENAME"][i]), path) for i in rows],
            "hdu": main["GAL_HDU"][rows].astype(np.int32),
            "pixel_scale_arcsec": main["PIXEL_SCALE"][rows].astype(float),
            "magnitude": main["MAG"][rows].astype(float),
            "half_light_radius_arcsec": radius[rows],
            "noise_mean": main["NOISE_MEAN"][rows].astype(float),
            "noise_variance": main["NOISE_VARIANCE"][rows].astype(float),
        }
    )
    return table, counts


class CosmosImages:
    """Images of the listed galaxies, each read when it is asked for."""

    def __init__(self, sources: pa.Table, folder: str | os.PathLike) -> None:
        self._rows = {row["ident"]: row for row in sources.to_pylist()}
        self._folder = Path(folder)
        self._files: dict[str, fitsio.FITS] = {}

    def __call__(self, ident: str) -> StillImage:
        """Return one galaxy.

        Raises
        ------
        SourceError
            The galaxy is not listed, or its image is missing or holds no light.
        """
        if ident not in self._rows:
            raise SourceError(f"COSMOS galaxy {ident} is not in the list of sources; build manifest and list from the same catalogue")
        row = self._rows[ident]
        path = self._folder / row["file"]
        if row["file"] not in self._files and not path.is_file():
            raise SourceError(f"{path} is missing: it holds the image of COSMOS galaxy {ident}; put the whole sample into one folder")
        try:
            if row["file"] not in self._files:
                self._files[row["file"]] = open_fits(path)
            with told(path, f"at HDU {row['hdu']}, the image of COSMOS galaxy {ident}"):
                image = self._files[row["file"]][row["hdu"]].read()
        except FitsFileError as error:
            raise SourceError(
                f"{error}; expected a whole file of the COSMOS sample: fetch it again with `galsim_download_cosmos`"
            ) from None
        if image is None or np.ndim(image) != 2:
            raise SourceError(
                f"{path}: HDU {row['hdu']} should be the image of COSMOS galaxy {ident}, found {'nothing' if image is None else np.shape(image)}; "
                "take catalogue and images of one sample"
            )
        if not np.isfinite(image).all():
            raise SourceError(f"{path}: the image of COSMOS galaxy {ident} should be finite, and some of its pixels are not; {LEAVE_OUT}")
        flux = isolate(np.asarray(image, float) - row["noise_mean"], ident)
        try:
            return still_image(flux, row["pixel_scale_arcsec"], f"COSMOS galaxy {ident}")
        except SourceError as error:
            raise SourceError(f"{error}: add its IDENT to `sources.cosmos.set_aside`") from None


def isolate(image: NDArray, name: str) -> NDArray:
    """Return the galaxy at the middle of a background-subtracted image with what lies beyond its isophote faded to zero.

    The isophote is the connected region, about the brightest smoothed pixel near the middle, above
    `THRESHOLD` σ of the smoothed background, grown by `GROWTH` pixels and softened. The window returned is
    centred on the region's centre of light and has odd sides.

    Raises
    ------
    SourceError
        Nothing stands out of the noise.
    """
    if not np.isfinite(image).all():
        raise SourceError(f"the image of COSMOS galaxy {name} has pixels that are not finite; {LEAVE_OUT}")
    smooth = ndimage.gaussian_filter(image, SMOOTHING)
    # The background is 0 already; what lies below it is noise, whatever galaxy there is.
    below = smooth[smooth < 0]
    sigma = np.sqrt(np.mean(below**2)) if len(below) else 0.0
    h, w = image.shape
    middle = smooth[h // 4 : h - h // 4, w // 4 : w - w // 4]
    peak = np.unravel_index(np.argmax(middle), middle.shape)
    peak = (peak[0] + h // 4, peak[1] + w // 4)
    regions, _ = ndimage.label(smooth > THRESHOLD * sigma)
    if not regions[peak]:
        raise SourceError(f"COSMOS galaxy {name} does not stand out of its noise; {LEAVE_OUT}")
    region = ndimage.binary_dilation(regions == regions[peak], iterations=GROWTH)
    # A galaxy that reaches the image's own edge is faded there as well: a cut would be lensed into an edge.
    margin = round(2 * SOFTNESS)
    inner = np.zeros(image.shape, bool)
    inner[margin:-margin, margin:-margin] = True
    weight = ndimage.gaussian_filter((region & inner).astype(float), SOFTNESS)
    light = np.where(weight > 1e-3, image * weight, 0.0)
    inside = np.where(region, np.maximum(smooth, 0), 0)
    rows, columns = np.indices(image.shape)
    cy, cx = (round(float((inside * a).sum() / inside.sum())) for a in (rows, columns))
    lit_rows, lit_columns = np.nonzero(light)
    reach = int(max(np.abs(lit_rows - cy).max(), np.abs(lit_columns - cx).max()))
    padded = np.pad(light, reach)
    return padded[cy : cy + 2 * reach + 1, cx : cx + 2 * reach + 1]


# --- the kind ----------------------------------------------------------------------------------


def _galaxies(files: Files) -> tuple[list[str], NDArray]:
    table = read_table(files["cosmos"][0], COSMOS_SOURCES, ["ident", "half_light_radius_arcsec"])
    return table["ident"].to_pylist(), table["half_light_radius_arcsec"].to_numpy()


def _image(files: Files) -> Callable[[Mapping[str, Any]], StillImage]:
    images = lru_cache(CACHED)(CosmosImages(read_table(files["cosmos"][0], COSMOS_SOURCES), Path(files["catalog"][0]).parent))
    return lambda row: images(str(row["source_id"]))


STILL = Still(image=_image, galaxies=_galaxies)


# --- the catalogue -----------------------------------------------------------------------------


def _not_excluded(level: str, path: Path, main: NDArray, fits: NDArray, radius: NDArray) -> NDArray[np.bool_]:
    """Galaxies that GalSim's `exclusion_level` keeps."""
    keep = np.ones(len(main), bool)
    if level in ("bad_stamp", "marginal"):
        selection = _read(_beside(path, "_selection"), ("IDENT", "dmag", "sn_ellip_gauss", *_MASK_COLUMNS), path)
        _same_galaxies(main, selection, path, _beside(path, "_selection"))
        snr, distance, ratio = SAMPLE_CUTS["23.5" if "23.5" in path.name else "25.2"]
        peak = np.where(selection["peak_image_pixel_count"] == 0, 1e-5, selection["peak_image_pixel_count"])
        clear = (selection["min_mask_dist_pixels"] > distance) | (selection["average_mask_adjacent_pixel_count"] / peak < ratio)
        keep &= (selection["sn_ellip_gauss"] >= snr) & clear
        if "stamp_flux" in main.dtype.names:
            keep &= main["stamp_flux"] > 0
    status = np.asarray(fits["fit_status"])
    sersic, bulge = ((status[:, k] > 0) & (status[:, k] < 5) for k in (4, 0))
    if level == "bad_fits":
        keep &= sersic | bulge
    if level == "marginal":
        keep &= sersic & bulge
        keep &= (np.asarray(fits["sersicfit"])[:, 2] < 5) | (radius < 1)
        keep &= np.abs(selection["dmag"]) < 0.8
    return keep


_SEVERAL = ("hlr", "sersicfit", "fit_status")
_MASK_COLUMNS = ("min_mask_dist_pixels", "average_mask_adjacent_pixel_count", "peak_image_pixel_count")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.stem + ending + path.suffix)


def _read(path: Path, columns: tuple[str, ...], catalog: Path) -> NDArray:
    if not path.is_file():
        why = {
            "_selection": "the exclusion levels marginal and bad_stamp need it: fetch it with `galsim_download_cosmos`, or set sources.cosmos.exclusion to bad_fits or none",
            "_fits": "half-light radii come from it: fetch it with `galsim_download_cosmos`",
        }
        reason = next(
            (text for ending, text in why.items() if path.stem.endswith(ending)), "set sources.cosmos.catalog to the sample's catalogue"
        )
        raise SourceError(f"{path} is missing, which belongs to {catalog.name}; {reason}")
    try:
        with open_fits(path) as file, told(path, "as a FITS table"):
            table = file[1].read()
    except FitsFileError as error:
        raise SourceError(f"{error}; expected a FITS table of the COSMOS sample: fetch it again") from None
    if table is None or table.dtype.names is None:
        raise SourceError(f"{path}: HDU 1 is not a FITS table; expected a table of the COSMOS sample: fetch it again")
    lower = {name.lower(): name for name in table.dtype.names}
    missing = [c for c in columns if c.lower() not in lower]
    if missing:
        raise SourceError(
            f"{path} has no column {', '.join(missing)} (it has: {', '.join(table.dtype.names)}); fetch GalSim's newest COSMOS sample"
        )
    for name in columns:
        kind, shape = table.dtype[lower[name.lower()]].base.kind, table.dtype[lower[name.lower()]].shape
        if (kind in "SU") != (name == "GAL_FILENAME") or len(shape) != (name in _SEVERAL):
            expected = "text" if name == "GAL_FILENAME" else "several numbers a row" if name in _SEVERAL else "numbers"
            raise SourceError(
                f"{path}: column {name} holds {table.dtype[lower[name.lower()]]}, expected {expected}; fetch the sample again"
            )
    table.dtype.names = tuple({c.lower(): c for c in columns}.get(n.lower(), n) for n in table.dtype.names)
    return table


def _same_galaxies(main: NDArray, other: NDArray, path: Path, other_path: Path) -> None:
    if not np.array_equal(main["IDENT"], other["IDENT"]):
        raise SourceError(f"{path} and {other_path.name}: expected the same galaxies in the same order; take all files of one sample")


def _text(value: bytes | str) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _plain_name(name: str, path: Path) -> str:
    """A file name out of a table goes into a path: it must be a plain name."""
    if not name or name != Path(name).name or name in (".", ".."):
        raise SourceError(f"{path}: GAL_FILENAME {name!r} is not a plain file name; do not use this catalogue")
    return name
