"""Cutouts of any survey as the stamps that a network of bands sees: its bands, pixels, zero point and size."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.cutouts import Labelled
from ..config.legacysurvey import BANDS, PIXEL_SCALE_ARCSEC, ZERO_POINT
from ..config.subhalo import FWHM_PER_SIGMA
from ..core.reading import readable
from ..core.tables import PARQUET, Column, Schema, read_columns
from .cutouts import Cutout, resampled
from .folder import CutoutError, FolderOfCutouts, Found
from .said import as_label, place_of
from .table import cutouts_of, name_of, nameless
from .text_tables import read_text_table

log = logging.getLogger("darkhaloscope")

#: The label that is looked for where the config names none.
UNASKED = Labelled.model_fields["label"].default
#: Below this share of good pixels a cutout is mostly bad.
MOSTLY = 0.5
#: Galaxies that networks know are of about 17 to 21.5 within this radius in r; a median beyond these limits is that of another zero point [arcsec, mag].
CORE_ARCSEC, CORE_MAG = 2.0, (16.5, 24.0)
#: Stamps that are written at a time.
PART = 256
#: Slope of the PSF whose FWHM the config says: that of ground-based images, and of a dataset's camera by default.
MOFFAT_BETA = 3.5


def prepared_schema(size: int) -> Schema:
    """Return the columns of cutouts made ready to be scored, of `size` pixels on a side."""
    scalars = [
        *(Column(f"psfsize_{b}", "float32", "arcsec", f"psfsize that the FWHM in {b}, as the config says it, stands for; null where it does not", nullable=True) for b in BANDS),
        *(Column(f"psfdepth_{b}", "float32", "1/nanomaggy²", f"Inverse variance of a point source's flux in {b}, from weights and psfsize", nullable=True) for b in BANDS),
    ]  # fmt: skip
    return Schema(
        "cutouts",
        (
            Column("stamp_id", "string", "", "Name of the file or object"),
            Column("ra", "float64", "deg", "Right ascension, where it is known", nullable=True),
            Column("dec", "float64", "deg", "Declination, where it is known", nullable=True),
            Column("label", "int8", "", "1 lens, 0 control; null where nobody says, or the label lies between", nullable=True),
            Column("given_label", "float64", "", "Label as it was given", nullable=True),
            Column("width", "int32", "pixel", "Width of the cutout as it came", nullable=True),
            Column("height", "int32", "pixel", "Height of the cutout as it came", nullable=True),
            Column("covered", "float32", "", "Share of the stamp's pixels with data in the worst band; others are 0"),
            Column("usable", "float32", "", "Share of the cutout's own pixels that are good in the worst band: finite, of some weight, not masked"),
            Column("ok", "bool", "", "Whether it can be scored"),
            Column("reason", "string", "", "Why it cannot; empty where it can"),
            *scalars,
            Column("image", "float32", "nanomaggy", f"Stamp in {', '.join(BANDS)} on pixels of {PIXEL_SCALE_ARCSEC} arcsec", (len(BANDS), size, size)),
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class Label:
    """What a table of labels says of one object."""

    value: float | None
    place: tuple[float, float] | None


def prepare_cutouts(settings: Labelled, size: int, bands: Sequence[str] = BANDS) -> Iterator[pa.Table]:
    """Give the cutouts as tables of `prepared_schema(size)`, in the order of their names; one that cannot be used has a row that says why.

    Parameters
    ----------
    settings : where they are and what they hold
    size : pixels on a side of the stamps that the networks were trained on
    bands : what networks saw in the places of g, r and z

    Raises
    ------
    CutoutError
        There are none; none of them can be used; the networks saw other bands; the table of labels is unreadable, or knows none of them.
    """
    if tuple(bands) not in (BANDS, settings.sources):
        raise CutoutError(
            f"{settings.path}: the networks were trained on {', '.join(bands)}, expected the same of the cutouts; found {', '.join(settings.sources)} "
            f"in these places. Name the bands that they have (such as stand_in: {{z: {bands[-1]}}}), or take networks trained on g, r, z"
        )
    cutouts = cutouts_of(settings)
    cores: list[float] = []
    labels = labels_of(settings, cutouts)
    schema, rows, usable, labelled, first, holed = prepared_schema(size), [], 0, 0, "", 0
    for name in cutouts.names:
        rows.append(_row(cutouts, name, labels.get(name), settings, size))
        labelled += rows[-1]["given_label"] is not None
        cores += [core_flux(rows[-1]["image"])] if rows[-1]["ok"] else []
        usable, first = usable + rows[-1]["ok"], first or rows[-1]["reason"]
        holed += rows[-1]["ok"] and rows[-1]["usable"] < MOSTLY
        if len(rows) == PART:
            yield _table(schema, rows)
            rows = []
    if rows:
        yield _table(schema, rows)
    total = len(cutouts.names)
    if not usable:
        raise CutoutError(f"{settings.path}: none of its {total} cutouts can be used; the first: {first}")
    if settings.label != UNASKED and not labelled:
        raise CutoutError(
            f"{settings.path}: expected a label {settings.label} of its cutouts, as cutouts.label names it, found none; correct the name, or take it out"
        )
    if usable < total:
        log.warning("%s: %d of %d cutouts cannot be used and get no score; the first: %s", settings.path, total - usable, total, first)
    if holed:
        log.warning(
            "%s: weights, noise or masks call more than half of the pixels of %d cutouts bad, which are then 0; are they what the config says?",
            *(settings.path, holed),
        )
    if not flux_of(CORE_MAG[1]) <= np.median(cores) <= flux_of(CORE_MAG[0]):
        log.warning(
            "%s: the flux of r within %g″ is %.3g nanomaggies in the median, expected that of galaxies of %g to %g mag, %.3g to %.3g; is zero_point (%g) that of the files?",
            *(settings.path, CORE_ARCSEC, np.median(cores), *CORE_MAG, *map(flux_of, reversed(CORE_MAG)), settings.zero_point),
        )
    log.info("%s: %d cutouts, %s", settings.path, usable, what_was_done(settings, bands))


def core_flux(stamp: NDArray) -> float:
    """Return the flux of r within `CORE_ARCSEC` of the middle of a stamp (bands, size, size) [nanomaggy]."""
    y, x = np.indices(stamp.shape[1:]) - (stamp.shape[1] - 1) / 2
    return float(stamp[BANDS.index("r")][np.hypot(x, y) * PIXEL_SCALE_ARCSEC < CORE_ARCSEC].sum(dtype=float))


def flux_of(magnitude: float) -> float:
    """Return the flux of an AB magnitude [nanomaggy]."""
    return 10 ** (0.4 * (ZERO_POINT - magnitude))


def what_was_done(settings: Labelled, bands: Sequence[str] = BANDS) -> str:
    """Say in words how cutouts became stamps; `bands` is what networks saw in the places of g, r and z."""
    same = np.isclose(settings.pixel_scale_arcsec, PIXEL_SCALE_ARCSEC, rtol=1e-3)
    pixels = (
        f"pixels of {settings.pixel_scale_arcsec:g}″ as they are, cropped about the middle"
        if same
        else f"resampled in surface brightness from pixels of {settings.pixel_scale_arcsec:g}″ to {PIXEL_SCALE_ARCSEC:g}″ about the middle"
    )
    factor = 10 ** (0.4 * (ZERO_POINT - settings.zero_point))
    flux = (
        "fluxes in nanomaggies"
        if settings.zero_point == ZERO_POINT
        else f"fluxes of zero point {settings.zero_point:g} times {factor:.4g}, in nanomaggies"
    )
    flux += ", whatever the files say" if settings.ignore_zero_points else ""
    own = settings.stand_in and tuple(bands) == settings.sources
    instead = "".join(f"; {other} stands in for {band}" for band, other in settings.stand_in.items())
    instead = f"; {', '.join(bands)}, as in training" if own else instead
    return f"{pixels}; {flux}{instead}"


def labels_of(settings: Labelled, cutouts: FolderOfCutouts) -> dict[str, Label]:
    """Return what the table of labels says of the cutouts, by name; empty without a table.

    Raises
    ------
    CutoutError
        As `read_labels`; also where the table knows none of them.
    """
    labels = read_labels(settings) if settings.labels else {}
    if labels and not set(labels) & set(cutouts.names):
        raise CutoutError(
            f"{settings.labels}: none of its {len(labels)} ids, such as {next(iter(labels))}, is the name of a cutout, such as {cutouts.names[0]}; "
            "ids are the names of files without their ending, or those of a table's objects"
        )
    if labels:
        log.info("%s: says something of %d of %d cutouts", settings.labels, len(set(labels) & set(cutouts.names)), len(cutouts.names))
        if lost := sorted(set(labels) - set(cutouts.names)):
            log.warning(
                "%s: %d of its %d ids are no cutout's name, such as %s, and count nowhere", settings.labels, len(lost), len(labels), lost[0]
            )
    return labels


def read_labels(settings: Labelled) -> dict[str, Label]:
    """Return what the table of labels says, by name.

    Raises
    ------
    CutoutError
        It is missing or unreadable, lacks a column or an id, or holds a label that is no number or a position that is none.
    """
    path = Path(settings.labels)
    with readable(path, "labels as a CSV or Parquet table", "write it again", CutoutError):
        table = read_columns(path).to_pandas() if path.name.lower().endswith(PARQUET) else read_text_table(path)
    lost = [column for column in ("id", settings.label) if column not in table]
    if lost:
        raise CutoutError(
            f"{path}: no column {' and no column '.join(lost)}, found {', '.join(map(str, table.columns))}; rename it, or set cutouts.label"
        )
    if table.empty:
        raise CutoutError(f"{path}: expected a row for each object, found a header alone; write the labels again, or take `labels` out")
    if lost := sum(map(nameless, table["id"])):
        raise CutoutError(f"{path}: {lost} of {len(table)} rows have no id, expected one in each; write it, or leave these rows out")
    values = [_number(v, settings.label, path) for v in table[settings.label]]
    places = (
        [_place(*row, path) for row in zip(table["ra"], table["dec"], strict=True)] if {"ra", "dec"} <= set(table) else [None] * len(table)
    )
    found: dict[str, Label] = {}
    for name, value, place in zip((name_of(v, path) for v in table["id"]), values, places, strict=True):
        label = Label(value, place)
        if found.setdefault(name, label) != label:
            raise CutoutError(f"{path}: {name} has two rows that differ, expected one for each id; keep one of them")
    return found


def _place(ra: object, dec: object, path: Path) -> tuple[float, float] | None:
    place = place_of(ra, dec)
    if place is None and not (nameless(ra) or nameless(dec)):
        raise CutoutError(
            f"{path}: columns ra and dec hold {ra!r} and {dec!r}, expected degrees from 0 to 360 and -90 to 90; leave empty what is not known"
        )
    return place


def _number(value: object, column: str, path: Path) -> float | None:
    try:
        return as_label(value)
    except (ValueError, TypeError):
        raise CutoutError(
            f"{path}: column {column} holds {value!r}, expected numbers, or yes and no; write lenses as 1 and controls as 0"
        ) from None


def _row(cutouts: FolderOfCutouts, name: str, known: Label | None, settings: Labelled, size: int) -> dict[str, object]:
    """Return one row, its image among it."""
    blank = {
        "stamp_id": name,
        **dict.fromkeys(("ra", "dec", "label", "given_label", "width", "height")),
        "covered": 0.0,
        "usable": 0.0,
        "ok": False,
    }
    blank |= {f"{kind}_{b}": None for kind in ("psfsize", "psfdepth") for b in BANDS}
    blank |= {"image": np.zeros((len(BANDS), size, size), np.float32)}
    try:
        found = cutouts.read(name)
        whole = cutouts.middle(name, found, max(found.image.shape[1:]))
        stamp = stamp_of(cutouts, name, found, whole, settings, size)
    except CutoutError as error:
        return told(blank, known, None, settings) | {"reason": str(error)}
    height, width = found.image.shape[1:]
    row = blank | {
        "width": width,
        "height": height,
        "covered": 1 - stamp.bad_fraction,
        "usable": 1 - whole.bad_fraction,
        "image": stamp.image,
    }
    dead = ", ".join(
        b for b, plane, good in zip(settings.sources, stamp.image, stamp.good, strict=True) if not good.any() or np.ptp(plane[good]) == 0
    )
    reason = dead and f"{name} has no measurement in {dead}: every pixel is masked, not finite, of no weight, or of the same value"
    row |= _scalars(whole, settings) | {"ok": not dead, "reason": reason}
    return told(row, known, found, settings)


def told(row: dict[str, object], known: Label | None, found: Found | None, settings: Labelled) -> dict[str, object]:
    """Return a row with position (`ra`, `dec`) and label (`given_label`, `label`), from the cutout or from the table of labels, which comes first."""
    place = (found.place if found else None) or (known.place if known else None)
    value = known.value if known and known.value is not None else found.label if found else None
    if place:
        row |= {"ra": place[0], "dec": place[1]}
    if value is not None and np.isfinite(value):
        row |= {"given_label": value, "label": 1 if value >= settings.positive_from else 0 if value <= settings.control_to else None}
    return row


def stamp_of(cutouts: FolderOfCutouts, name: str, found: Found, whole: Cutout, settings: Labelled, size: int) -> Cutout:
    """Return a cutout in the networks' bands, on their pixels and in nanomaggies.

    Parameters
    ----------
    cutouts, name : what it is one of
    found, whole : what `cutouts` read of it, and its largest square
    size : pixels on a side

    Raises
    ------
    CutoutError
        Its image has another shape than its noise.
    """
    cutout = whole
    if np.isclose(settings.pixel_scale_arcsec, PIXEL_SCALE_ARCSEC, rtol=1e-3):
        # An odd image in an even stamp, or the other way round, is cropped by a pixel: half a pixel's shift would blur it.
        side = whole.image.shape[-1]
        cutout = cutouts.middle(name, found, size if side >= size else side - (size - side) % 2)
    stamp = resampled(cutout, settings.zero_point, PIXEL_SCALE_ARCSEC, ZERO_POINT, size)
    order = [settings.bands.index(band) for band in settings.sources]
    return replace(stamp, **{key: getattr(stamp, key)[order] for key in ("image", "invvar", "good", "psfsize", "bad_fractions")})


def moffat_psfsize(fwhm_arcsec: float) -> float:
    """Return the survey's psfsize of a PSF: 2.355 σ of the Gaussian with the noise-equivalent area of a Moffat profile of slope `MOFFAT_BETA`.

    Networks know PSFs by it, and so do strata: an FWHM in its place would be that of a PSF sharper by a fifth.
    """
    alpha = fwhm_arcsec / (2 * math.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    return FWHM_PER_SIGMA * alpha / 2 * math.sqrt(2 * MOFFAT_BETA - 1) / (MOFFAT_BETA - 1)


def _scalars(cutout: Cutout, settings: Labelled) -> Mapping[str, float | None]:
    """PSF size and depth where they are known: the variance of a point source's flux is that of a pixel times 4π σ² [pixel], for white noise."""
    out: dict[str, float | None] = {}
    weighed = bool((settings.noise_hdus or settings.noise_files) or not np.isin(cutout.invvar, (0, 1)).all())
    factor = 10 ** (0.4 * (ZERO_POINT - settings.zero_point))
    for band, source in zip(BANDS, settings.sources, strict=True):
        fwhm, k = settings.psf_fwhm_arcsec.get(source), settings.bands.index(source)
        size = out[f"psfsize_{band}"] = moffat_psfsize(fwhm) if fwhm else None
        known: NDArray = cutout.invvar[k][cutout.good[k]]
        if size and weighed and len(known):
            sigma = size / FWHM_PER_SIGMA / settings.pixel_scale_arcsec
            out[f"psfdepth_{band}"] = float(np.median(known)) / (4 * np.pi * sigma**2) / factor**2
    return out


def _table(schema: Schema, rows: list[dict[str, object]]) -> pa.Table:
    return schema.table(
        {c.name: [row[c.name] for row in rows] if c.shape is None else np.stack([row[c.name] for row in rows]) for c in schema.columns}
    )
