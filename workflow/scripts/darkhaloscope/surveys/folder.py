"""A folder of cutouts, a member of the survey protocol: any survey's images, one FITS or NPZ file per object.

NPZ files hold `image`, `images` or `cutout`, bands first or last, and where they are known `invvar` (or `variance`, `rms`),
`mask` (not 0, or the bits named: bad), `ra` and `dec` (or `meta_ra`, `meta_dec`). FITS files hold a cube, or an image per band, or each band
has a file of its own; `RA` and `DEC` of the header give the position, or else the middle of the image by its WCS. What files say of their
bands, pixels and fluxes is held against the config (`surveys.said`).
One NPZ file or Parquet table of many objects is read by `surveys.table`.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from ..config.cutouts import CutoutFolder
from ..config.legacysurvey import ZERO_POINT
from ..core.reading import UNREADABLE, read_npz, readable
from .cutouts import Cutout
from .fits_cutouts import FitsImage, check_order, layout, one_image, read_images
from .said import NO_LABEL, CutoutError, as_label, as_text, check_one_zero_point, check_said, chosen_bands, place_of, said_bands, said_key

log = logging.getLogger("darkhaloscope")

#: How names of files of cutouts end, in whatever case.
ENDINGS = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fts", ".npz")
#: A position asked for is that of a file within this [arcsec].
MATCH_ARCSEC = 2.0
#: Variances below this are no measurements: their inverse in nanomaggies does not fit into a float32 [nanomaggy²].
LEAST_VARIANCE = 1e-30
#: No cutout has more pixels than this on a side.
MAX_SIDE = 2048
#: Arrays that hold pixels; all others say something of the object.
IMAGES = ("image", "images", "cutout")
NOISE = ("invvar", "variance", "rms")
PIXELS = (*IMAGES, "mask", *NOISE)
#: Why an image of 8 bits is refused.
PICTURE = (
    "expected fluxes, found numbers of 8 bits as pictures have them ({}), stretched and clipped; give the images that they were made of"
)
#: What names objects where a file holds many.
NAMES = ("stamp_id", "id", "name", "object_id", "objid", "targetid", "source_id", "galaxy_id")


@dataclass(frozen=True)
class Found:
    """What a file holds of one object.

    Attributes
    ----------
    image, invvar : (bands, ny, nx); no `invvar` where noise is unknown
    place : right ascension and declination [deg], where they are known
    label : where there is one
    """

    image: NDArray
    invvar: NDArray | None = None
    place: tuple[float, float] | None = None
    label: float | None = None


class FolderOfCutouts:
    """The cutouts of a folder, by name or by position.

    Parameters
    ----------
    settings : what the files hold.

    Raises
    ------
    CutoutError
        The folder does not exist, or holds no file of cutouts.
    """

    def __init__(self, settings: CutoutFolder) -> None:
        self.settings = settings
        self.bands = settings.bands
        self.pixel_scale_arcsec = settings.pixel_scale_arcsec
        self.zero_point = settings.zero_point
        folder = Path(settings.path)
        with readable(folder, "a folder of cutouts", "check its permissions, or give another", CutoutError):
            files = sorted(folder.iterdir()) if folder.is_dir() else []
        # Hidden files are other programs' own: half-written copies, and what file systems leave beside a file.
        files = [p for p in files if not p.name.startswith((".", "_"))]
        files, others = ([p for p in files if p.name.lower().endswith(ENDINGS) is named] for named in (True, False))
        if not files:
            raise CutoutError(f"{folder}: expected a folder with files ending in {', '.join(ENDINGS)}, found none; correct its path")
        if settings.band_files:
            self._files = _by_object(files, settings.band_files, folder)
            self._noise = _by_object(files, settings.noise_files, folder) if settings.noise_files else {}
        else:
            self._files, self._noise = {}, {}
            for path in files:
                if fnmatch.fnmatchcase(path.name, settings.files):
                    _once(self._files, _stem(path.name), [path], "files")
        if not self._files:
            raise CutoutError(
                f"{folder}: none of its {len(files)} files is named {settings.files}, such as {files[0].name}; correct the pattern"
            )
        if others:
            log.warning(
                "%s: %d files or folders do not end in %s and are passed over, such as %s",
                folder,
                len(others),
                ", ".join(ENDINGS),
                others[0].name,
            )
        self._places: dict[str, tuple[float, float]] | None = None
        self._unread: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Names of the objects: those of their files."""
        return list(self._files)

    def named(self, name: str, size: int | None = None) -> Cutout:
        """Return an object's cutout, cropped about its middle to `size` pixels where that is given.

        Raises
        ------
        CutoutError
            There is no such object; its file is unreadable, has other bands than the settings say, is not square, or is smaller than `size`.
        """
        if name not in self._files:
            raise CutoutError(
                f"{self.settings.path}: there is no cutout '{name}' (it has {len(self._files)}, such as {next(iter(self._files))})"
            )
        found = self.read(name)
        return self._cutout(self._files[name][0], found.image, found.invvar, size)

    def middle(self, name: str, found: Found, size: int) -> Cutout:
        """Return the largest square about an object's middle of at most `size` pixels, each a pixel of its image; errors as `named`."""
        height, width = found.image.shape[1:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        window = np.s_[:, top : top + side, left : left + side]
        return self._cutout(self._where(name), found.image[window], None if found.invvar is None else found.invvar[window], min(size, side))

    def read(self, name: str) -> Found:
        """Return what is known of an object, its image as large as it is; errors as `named`, but any shape is taken."""
        files = self._files[name]
        if not self.settings.band_files:
            return self._read(files[0])
        parts = [self._plane(path, self.settings.image_hdus) for path in files]
        check_one_zero_point([part.get for part in parts], self.settings, files[0])
        check_order(parts, self.bands, "`band_files`", files[0])
        for path, part in zip(files, parts, strict=True):
            check_said(part.get, part.sky, self.settings, path)
        noise_files = self._noise.get(name, []) or (files if self.settings.noise_hdus else [])
        noise = [self._plane(path, self.settings.noise_hdus) for path in noise_files]
        for path, plane in zip(files + noise_files, [p.data for p in (*parts, *noise)], strict=True):
            if plane.shape != parts[0].data.shape:
                raise CutoutError(f"{path}: an image of {plane.shape} pixels, expected {parts[0].data.shape} as in {files[0].name}")
        image, weight = (np.array([p.data for p in planes], float) if planes else None for planes in (parts, noise))
        return Found(image, _invvar(weight, self.settings.noise, self.zero_point), _place(parts[0]))

    def _where(self, name: str) -> Path:
        return self._files[name][0]

    def cutout(self, ra: float, dec: float, size: int) -> Cutout:
        """Return the stamp of the file whose position is within `MATCH_ARCSEC`; errors as `named`."""
        if self._places is None:
            found = {name: self.read(name).place for name in self._files}
            self._places = {name: place for name, place in found.items() if place is not None}
        if self._places:
            names = list(self._places)
            sky = SkyCoord(*np.array(list(self._places.values())).T, unit="deg")
            away = sky.separation(SkyCoord(ra, dec, unit="deg")).arcsec
            if away.min() <= MATCH_ARCSEC:
                return self.named(names[int(away.argmin())], size)
        raise CutoutError(
            f"{self.settings.path}: no file has a position within {MATCH_ARCSEC:g} arcsec of {ra:.5f}, {dec:.5f} "
            f"({len(self._places)} of {len(self._files)} files say theirs); ask for it by name"
        )

    def close(self) -> None:
        """Nothing stays open."""

    def _read(self, path: Path) -> Found:
        """Return what a file holds."""
        with readable(path, "a cutout as FITS or NPZ", "fetch it again, or take it away", CutoutError):
            content = path.read_bytes()
            read = self._from_npz if content[:4] == b"PK\x03\x04" else self._from_fits
            return read(content, path)

    def _plane(self, path: Path, hdus: tuple[int, ...]) -> FitsImage:
        """Return the image of a file of one band."""
        with readable(path, "one band of a cutout as FITS", "fetch it again, or take it away", CutoutError):
            return one_image(read_images(path.read_bytes()), hdus, path)

    def _from_npz(self, content: bytes, path: Path) -> Found:
        arrays = self._renamed(read_npz(content))
        key = next((k for k in IMAGES if k in arrays), None)
        if key is None:
            raise CutoutError(f"{path}: expected an array image or cutout, found {', '.join(arrays) or 'none'}; rename it")
        return self.of_arrays(arrays, key, path)

    def of_arrays(self, arrays: Mapping[str, NDArray], key: str, path: Path | str) -> Found:
        """Return what the arrays of one object hold; `key` is the name of its image."""
        said = {said_key(name): _scalar(value) for name, value in arrays.items() if name not in PIXELS}
        check_said(said.get, None, self.settings, path)
        names = said_bands(said.get, self.bands)
        image = self._fluxes(arrays[key], path, names)
        self._tell_unread(arrays, image.shape[1:])
        kind = next((k for k in (self.settings.noise, *NOISE) if arrays.get(k) is not None), None)
        noise = self._bands_first(arrays[kind], path, names) if kind else None
        if arrays.get("mask") is not None:
            mask = np.asarray(arrays["mask"])
            image = self._masked(image, mask if mask.ndim == 2 else self._bands_first(mask, path, names), path)
        return Found(
            image, _invvar(noise, kind, self.zero_point), self._place(said.get("RA"), said.get("DEC"), path), self._label(arrays, path)
        )

    def _place(self, ra: object, dec: object, path: Path | str) -> tuple[float, float] | None:
        """Return the position that is said, and tell once of what is none: the object is scored, but known by its name alone."""
        place, blank = place_of(ra, dec), any(as_text(value).strip().lower() in NO_LABEL for value in (ra, dec))
        if place is None and not blank and "RA" not in self._unread:
            self._unread.add("RA")
            log.warning(
                "%s: ra and dec are %s and %s, expected degrees from 0 to 360 and -90 to 90; what is none is passed over, and the object has no position",
                *(path, ra, dec),
            )
        return place

    def _renamed(self, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Return arrays by the names that are looked for, in whatever case they are written."""
        return {self._key(name, arrays): array for name, array in arrays.items()}

    def _key(self, name: str, names: Collection[str]) -> str:
        """Return the name that is looked for and that one of a file's names is in another case, or else itself."""
        wanted = {key.lower(): key for key in (*PIXELS, *NAMES, getattr(self.settings, "label", NAMES[0]))}
        key = wanted.get(name.lower(), name)
        return name if key in names else key

    def _tell_unread(self, arrays: Mapping[str, NDArray], shape: tuple[int, int]) -> None:
        """Say once of every array that has the image's pixels, and a name that nothing is read from, that it is passed over."""
        for name, array in arrays.items():
            if (
                name not in PIXELS
                and np.ndim(array) in (2, 3)
                and shape in (np.shape(array)[-2:], np.shape(array)[:2])
                and name not in self._unread
            ):
                self._unread.add(name)
                log.warning("%s: %s is passed over; noise and masks are read from %s", self.settings.path, name, ", ".join(PIXELS[3:]))

    def _fluxes(self, array: NDArray, path: Path | str, names: list[str] | None = None) -> NDArray:
        """Return `_bands_first` of an image, which must not be a picture."""
        if array.dtype.itemsize == 1:
            raise CutoutError(f"{path}: {PICTURE.format(array.dtype)}")
        return self._bands_first(array, path, names)

    def _masked(self, image: NDArray, mask: NDArray, path: Path | str) -> NDArray:
        """Return the image without the pixels that a mask calls bad."""
        if mask.shape[-2:] != image.shape[-2:]:
            raise CutoutError(f"{path}: a mask of {mask.shape} pixels, expected {image.shape[-2:]} as the image has; write it anew")
        if bits := self.settings.mask_bits:
            mask = mask.astype(np.int64) & sum(1 << bit for bit in set(bits))
        return np.where(mask != 0, np.nan, image)

    def _label(self, arrays: Mapping[str, NDArray], path: Path | str) -> float | None:
        name = getattr(self.settings, "label", None)
        if name not in arrays or arrays[name] is None:
            return None
        try:
            return as_label(_scalar(arrays[name]))
        except (TypeError, ValueError):
            raise CutoutError(f"{path}: expected one number as {name}, found {arrays[name]!r}; give labels as numbers") from None

    def _from_fits(self, content: bytes, path: Path) -> Found:
        found = layout(read_images(content), self.bands, self.settings.image_hdus, self.settings.noise_hdus, path)
        check_one_zero_point([shown.get for shown in found.images], self.settings, path)
        for shown in found.images:
            check_said(shown.get, shown.sky, self.settings, path)
        image = self._stack(found.images, path, self._fluxes)
        noise = self._stack(found.noise, path) if found.noise else None
        if found.mask is not None:
            image = self._masked(image, found.mask.data, path)
        kind = self.settings.noise if self.settings.noise_hdus else "invvar"
        return Found(image, _invvar(noise, kind, self.zero_point), _place(found.images[0]))

    def _stack(self, images: list[FitsImage], path: Path, read: Callable[..., NDArray] | None = None) -> NDArray:
        """Return a cube, or images of one shape, as (bands, ny, nx); `read` is `_fluxes` for images."""
        if len(images) == 1 and images[0].data.ndim == 3:
            return (read or self._bands_first)(images[0].data, path, said_bands(images[0].get, self.bands))
        planes = [image.data for image in images]
        if len(planes) != len(self.bands) or len({p.shape for p in planes}) != 1 or planes[0].ndim != 2:
            raise CutoutError(
                f"{path}: expected an image of one shape for each of {', '.join(self.bands)}, found {', '.join(str(p.shape) for p in planes)}; "
                "correct `image_hdus` and `noise_hdus`"
            )
        return (read or self._bands_first)(np.stack(planes), path)

    def _bands_first(self, array: NDArray, path: Path | str, names: list[str] | None = None) -> NDArray:
        """Return (bands, ny, nx), the bands those of the config: by the names that the file gives its planes, or else in its order."""
        n = len(names or self.bands)
        if array.ndim == 3 and array.dtype.kind in "fiub" and n in (array.shape[0], array.shape[2]):
            array = array if array.shape[0] == n else np.moveaxis(array, 2, 0)
            order = None if names is None else chosen_bands(names, self.bands, path)
            if order is not None or n == len(self.bands):
                return array.astype(float) if order is None else array[order].astype(float)
        if names is not None:
            return self._bands_first(array, path)
        raise CutoutError(
            f"{path}: expected numbers of shape ({n}, size, size) or (size, size, {n}) for {', '.join(self.bands)}, "
            f"found {array.shape} of {array.dtype}; write the file anew, or correct `bands`"
        )

    def _cutout(self, path: Path | str, image: NDArray, invvar: NDArray | None, size: int | None) -> Cutout:
        height, width = image.shape[1:]
        if (
            height != width
            or width > MAX_SIDE
            or (size is not None and width < size)
            or (invvar is not None and invvar.shape != image.shape)
        ):
            raise CutoutError(
                f"{path}: images are {width} × {height} pixels, expected square ones of {size or 1} to {MAX_SIDE}, and noise of the same shape"
            )
        start = 0 if size is None else (width - size) // 2
        window = slice(start, start + (size or width))
        image = image[:, window, window]
        finite = np.isfinite(image)
        weight = (
            np.where(finite, 1.0, 0.0)
            if invvar is None
            else np.where(finite & np.isfinite(invvar[:, window, window]), invvar[:, window, window], 0.0)
        )
        good = finite & (weight > 0)
        # An even crop of an odd image, or the other way round, has its middle half a pixel beside the object.
        offset = 0.0 if size is None or (width - size) % 2 == 0 else 0.5 * self.pixel_scale_arcsec
        bad = 1 - good.mean((1, 2))
        return Cutout(
            image=np.where(finite, image, 0.0).astype(np.float32),
            invvar=weight,
            good=good,
            psfsize=np.array([self.settings.psf_fwhm_arcsec.get(b, 0.0) for b in self.bands], np.float32),
            bad_fractions=bad.astype(np.float32),
            n_not_finite=int((~finite).sum()),
            ok=bool(good.any((1, 2)).all()),
            reason="" if good.any((1, 2)).all() else f"{Path(path).name} has a band without a good pixel",
            x_offset_arcsec=offset,
            y_offset_arcsec=offset,
            x0=start,
            y0=start,
            pixel_scale_arcsec=self.pixel_scale_arcsec,
        )


def _stem(name: str) -> str:
    return next(name[: -len(ending)] for ending in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(ending))


def _once(found: dict, key: str, value: Path | list[Path], remedy: str) -> None:
    """Put a file into its place; two files of one object must not replace each other."""
    if key in found:
        one, other = (v[0] if isinstance(v, list) else v for v in (found[key], value))
        raise CutoutError(
            f"{other}: expected one file for '{key}', found {one.name} too; rename one, or choose with {remedy} that one alone fits"
        )
    found[key] = value


def _by_object(files: Sequence[Path], patterns: Mapping[str, str], folder: Path) -> dict[str, list[Path]]:
    """Return the file of each band, in the bands' order, by what the first `*` of the bands' patterns stands for."""
    found: dict[str, dict[str, Path]] = {}
    for band, pattern in patterns.items():
        first, _, rest = pattern.partition("*")
        regex = re.compile(re.escape(first) + "(.*?)" + fnmatch.translate(rest))
        for path in files:
            if match := regex.match(path.name):
                _once(found.setdefault(match[1], {}), band, path, "a pattern")
    whole = {name: [of_band[band] for band in patterns] for name, of_band in sorted(found.items()) if set(of_band) == set(patterns)}
    if not whole:
        has = "; ".join(f"{name}: {', '.join(of_band)}" for name, of_band in [*found.items()][:5]) or "none"
        raise CutoutError(f"{folder}: no object has a file of each band {', '.join(patterns)} (found {has}); correct the patterns")
    if lost := sorted(set(found) - set(whole)):
        log.warning("%s: %d objects have no file of every band and are left out, such as %s", folder, len(lost), lost[0])
    return whole


def _invvar(noise: NDArray | None, kind: str | None, zero_point: float) -> NDArray | None:
    """Return inverse variances of noise of one of the kinds `NOISE`, of fluxes of a zero point."""
    if noise is None or kind == "invvar":
        return noise
    variance = noise if kind == "variance" else noise**2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Noise of nothing, or below it, is that of no measurement.
        return np.where((noise > 0) & (variance > LEAST_VARIANCE * 10 ** (0.8 * (zero_point - ZERO_POINT))), 1 / variance, 0.0)


def _scalar(value: NDArray | object) -> object:
    """Return an array of one value as that value."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _place(image: FitsImage) -> tuple[float, float] | None:
    """Return the position that a header says, unless its WCS has that outside of the image, as the telescope's pointing is; or else the image's middle."""
    said, middle = place_of(image.get("RA"), image.get("DEC")), _middle(image)
    if said is None or middle is None:
        return said or middle[0] if middle else said
    away = SkyCoord(*said, unit="deg").separation(SkyCoord(*middle[0], unit="deg")).deg
    return said if away <= middle[1] else middle[0]


def _middle(image: FitsImage) -> tuple[tuple[float, float], float] | None:
    """Return right ascension and declination of an image's middle and how far its corner is [deg], where its header has a celestial WCS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(image.sky).celestial
            if not wcs.has_celestial:
                return None
            height, width = image.data.shape[-2:]
            sky = wcs.pixel_to_world([(width - 1) / 2, -0.5], [(height - 1) / 2, -0.5]).icrs
        except UNREADABLE:  # a header that is no projection, whatever astropy or wcslib say of it: the cutout is used without its place
            return None
    place = float(sky[0].ra.deg), float(sky[0].dec.deg)
    return (place, float(sky[0].separation(sky[1]).deg)) if np.isfinite(place).all() else None
