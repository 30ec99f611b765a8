"""Real cutouts as hosts: galaxies of a folder or table take the place of a survey's parent sample and bricks.

Their magnitudes, noise and PSF come from the cutouts and the config, so that the rest of the chain sees what it sees of a survey: rows of
the parent sample, split by sky, and a cutout for each.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from astropy import units
from astropy_healpix import lonlat_to_healpix
from numpy.typing import NDArray

from ...config.cutouts import HostCutouts
from ...config.legacysurvey import BANDS, PIXEL_SCALE_ARCSEC, ZERO_POINT
from ...config.lensfinder import Camera
from ...core.random import stable_hash
from ...surveys.cutouts import Cutout
from ...surveys.folder import CutoutError, FolderOfCutouts
from ...surveys.legacysurvey.schema import PARENT
from ...surveys.prepared import Label, labels_of, stamp_of, told, what_was_done
from ...surveys.table import cutouts_of
from .host_cutouts import host_schema
from .inject import HOST_ARCSEC
from .light import psf_fwhm

log = logging.getLogger("darkhaloscope")

#: FWHM of a Gaussian over its σ in the survey's psfsize.
PSFSIZE_PER_SIGMA = 2.355
#: What a labelled look-alike is called among the classes of contaminants.
LOOKALIKE = "look-alike"


@dataclass(frozen=True)
class RealHosts:
    """Galaxies and their cutouts, row by row: tables of `PARENT` and of `host_schema(size)`."""

    galaxies: pa.Table
    cutouts: pa.Table


def read_hosts(settings: HostCutouts, camera: Camera) -> RealHosts:
    """Read the cutouts that `hosts.cutouts` of a dataset names, as stamps of its camera.

    Lenses, and objects whose label lies between lens and look-alike, are marked as known lenses: `hosts.veto_known_lenses` leaves them out.
    Magnitudes are of the flux within `HOST_ARCSEC`. Without weights the noise of a pixel is that of the differences of pixels two apart,
    outside 0.7 of the half side, as the cutout came: too small where images were clipped or smoothed. A cutout without a position, without noise or without
    light is left out.

    Raises
    ------
    CutoutError
        As `prepare_cutouts`; also where none of them can serve.
    """
    size = camera.stamp_size
    cutouts = cutouts_of(settings)
    labels = labels_of(settings, cutouts)
    ratio = float(psf_fwhm(np.array(1.0), camera))
    psfsize = np.array([settings.psf_fwhm_arcsec[source] for source in settings.sources]) / ratio
    rows, planes, refused = [], [], []
    for name in cutouts.names:
        try:
            galaxy, stamp = _host(cutouts, name, labels.get(name), settings, size, psfsize)
        except CutoutError as error:
            refused.append(str(error))
            continue
        rows.append(galaxy)
        planes.append(stamp)
    if not rows:
        raise CutoutError(f"{settings.path}: none of its {len(cutouts.names)} cutouts can serve as a host; the first: {refused[0]}")
    if refused:
        log.warning(
            "%s: %d of %d cutouts cannot serve as hosts; the first: %s", settings.path, len(refused), len(cutouts.names), refused[0]
        )
    vetoed = sum(bool(row["known_lens"]) for row in rows)
    log.info("%s: %d galaxies, %d of them marked as lenses by their labels; %s", settings.path, len(rows), vetoed, what_was_done(settings))
    schema = host_schema(size)
    return RealHosts(
        PARENT.table({c.name: [row[c.name] for row in rows] for c in PARENT.columns}),
        schema.table(
            {
                "brickname": [row["brickname"] for row in rows],
                "x_offset_arcsec": [p.x_offset_arcsec for p in planes],
                "y_offset_arcsec": [p.y_offset_arcsec for p in planes],
                **{f"psfsize_{b}": [p.psfsize[k] for p in planes] for k, b in enumerate(BANDS)},
                "image": np.stack([p.image for p in planes]),
                "invvar": np.stack([p.invvar for p in planes]),
            }
        ),
    )


# --- one host ----------------------------------------------------------------------------------


def _host(
    cutouts: FolderOfCutouts, name: str, known: Label | None, settings: HostCutouts, size: int, psfsize: NDArray
) -> tuple[dict[str, object], Cutout]:
    """Return a row of `PARENT` and the stamp of one cutout, or raise `CutoutError` with the reason why it cannot serve."""
    found = cutouts.read(name)
    whole = cutouts.middle(name, found, max(found.image.shape[1:]))
    stamp = stamp_of(cutouts, name, found, whole, settings, size)
    said = told({"ra": None, "dec": None, "label": None, "given_label": None}, known, found, settings)
    if said["ra"] is None:
        raise CutoutError(f"{name} has no position, by which splits are made; give ra and dec in its file or in `labels`")
    stamp = replace(stamp, invvar=_weights(name, stamp, whole, found.invvar is not None, settings), psfsize=psfsize.astype(np.float32))
    axis = (np.arange(size) - (size - 1) / 2) * PIXEL_SCALE_ARCSEC
    near = np.hypot(axis[:, None] - stamp.y_offset_arcsec, axis[None, :] - stamp.x_offset_arcsec) <= HOST_ARCSEC
    flux = np.where(near, stamp.image, 0).sum((1, 2), dtype=float)
    if not (flux > 0).all():
        raise CutoutError(f"{name} has no light within {HOST_ARCSEC:g} arcsec of its middle in {BANDS[int(np.argmin(flux))]}")
    area = 4 * np.pi * (psfsize / PSFSIZE_PER_SIGMA / PIXEL_SCALE_ARCSEC) ** 2
    depth = [float(np.median(w[w > 0])) / a for w, a in zip(stamp.invvar, area, strict=True)]
    cell = lonlat_to_healpix(said["ra"] * units.deg, said["dec"] * units.deg, settings.nside, order="nested")
    maybe = said["given_label"] is not None and said["given_label"] > settings.control_to
    galaxy = {
        **{"object_id": stable_hash("host cutout", name) >> 2, "release": 0, "brickid": 0, "objid": 0, "brickname": name, "type": "cutout"},
        **{"ra": said["ra"], "dec": said["dec"], "healpix": int(cell), "maskbits": 0, "ebv": 0.0, "flux_w1": float("nan")},
        **{"known_lens": maybe, "contaminant_class": LOOKALIKE if said["label"] == 0 else ""},
    }
    for k, band in enumerate(BANDS):
        galaxy |= {f"flux_{band}": flux[k], f"mag_{band}": ZERO_POINT - 2.5 * np.log10(flux[k])}
        galaxy |= {f"psfsize_{band}": psfsize[k], f"psfdepth_{band}": depth[k], f"nobs_{band}": 1}
    return galaxy, stamp


def _weights(name: str, stamp: Cutout, whole: Cutout, given: bool, settings: HostCutouts) -> NDArray[np.float32]:
    """Return inverse variances of the pixels: those that came with the cutout, or those of its own noise; 0 where a pixel is bad.

    Pixels that were resampled share noise, and differ from each other by less than it: their noise is that of the cutout as it came, by area.
    """
    if given:
        return np.where(stamp.good, stamp.invvar, 0).astype(np.float32)
    same = stamp.pixel_scale_arcsec == whole.pixel_scale_arcsec
    order = [settings.bands.index(source) for source in settings.sources]
    planes, goods = (stamp.image, stamp.good) if same else (whole.image[order], whole.good[order])
    unit = 1.0 if same else 10 ** (0.4 * (ZERO_POINT - settings.zero_point)) * stamp.pixel_scale_arcsec / whole.pixel_scale_arcsec
    out = np.zeros(stamp.image.shape, np.float32)
    size = planes.shape[-1]
    axis = np.arange(size) - (size - 1) / 2
    outside = np.hypot(axis[:, None], axis[None, :]) > 0.7 * size / 2
    for k, (plane, good) in enumerate(zip(planes, goods, strict=True)):
        # Pixels beside each other may share light of one pixel where the survey resampled them.
        pairs = (outside & good)[:, 2:] & good[:, :-2]
        difference = (plane[:, 2:] - plane[:, :-2])[pairs]
        sigma = 1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2) if pairs.any() else 0.0
        if not sigma > 0:
            raise CutoutError(f"{name} has no noise in {BANDS[k]} that could be measured; give weights (`noise`)")
        out[k] = np.where(stamp.good[k], 1 / (sigma * unit) ** 2, 0)
    return out
