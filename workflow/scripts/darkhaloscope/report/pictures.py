"""Stamps as pictures: one colour scale for flux, one for velocity, and sheets of many stamps.

Flux is shown in viridis with an asinh stretch, velocity in a blue-white-red scale that is symmetric
about the systemic velocity, and pixels without a velocity in grey. All three are told apart by
colour-blind readers.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from PIL import Image

#: Flux, over the stamp's unit, at which the asinh stretch turns from linear to logarithmic.
FLUX_SOFTENING = 0.1
FLUX_RANGE = (-0.1, 1.0)
#: Colour of pixels without a velocity.
MASKED = (158, 158, 158)

_FLUX_LEVELS = 64
_VELOCITY_LEVELS = 63  # odd, so that zero velocity is the neutral colour
_FIRST_VELOCITY = _FLUX_LEVELS
_MASKED_INDEX = _FLUX_LEVELS + _VELOCITY_LEVELS
_DARK_INDEX, _LIGHT_INDEX = _MASKED_INDEX + 1, _MASKED_INDEX + 2

flux_colours = matplotlib.colormaps["viridis"]
velocity_colours = ListedColormap(matplotlib.colormaps["RdBu_r"](np.linspace(0.04, 0.96, 255)), "velocity").with_extremes(
    bad=tuple(c / 255 for c in MASKED)
)


@dataclass(frozen=True)
class Sheets:
    """Sprite sheets of stamps: tile `i` lies in file `i // per_sheet`, `columns` tiles to a row."""

    files: tuple[str, ...]
    per_sheet: int
    columns: int
    tile_width: int
    tile_height: int


def stretch_flux(flux: np.ndarray) -> np.ndarray:
    """Return flux between 0 and 1 on the asinh stretch of the pictures, clipped to `FLUX_RANGE`."""
    low, high = (np.arcsinh(v / FLUX_SOFTENING) for v in FLUX_RANGE)
    return np.clip((np.arcsinh(np.nan_to_num(flux) / FLUX_SOFTENING) - low) / (high - low), 0, 1)


def velocity_limit(velocity: np.ndarray, mask: np.ndarray) -> float:
    """Return the velocity [km/s] at the ends of the colour scale: the 99th percentile of |v|, rounded up.

    One limit for all stamps, so that they can be compared; 100 km/s where nothing is valid.
    """
    valid = np.abs(velocity[mask.astype(bool)])
    valid = valid[np.isfinite(valid)]
    if not valid.size:
        return 100.0
    limit = float(np.percentile(valid, 99))
    return max(10.0, float(np.ceil(limit / 10) * 10))


def tile(flux: np.ndarray, velocity: np.ndarray, mask: np.ndarray, limit: float) -> np.ndarray:
    """Return stamps as colour numbers, flux | velocity | mask side by side.

    Parameters
    ----------
    flux, velocity, mask : (n, h, w)
    limit : float
        Velocity at the ends of the colour scale [km/s].

    Returns
    -------
    (n, h, 3 w) uint8
        Numbers into `palette()`.
    """
    valid = mask.astype(bool) & np.isfinite(velocity)
    first = np.rint(stretch_flux(flux) * (_FLUX_LEVELS - 1)).astype(np.uint8)
    scaled = np.clip(np.where(valid, velocity, 0.0) / limit, -1, 1)
    second = _FIRST_VELOCITY + np.rint((scaled + 1) / 2 * (_VELOCITY_LEVELS - 1)).astype(np.uint8)
    second = np.where(valid, second, _MASKED_INDEX).astype(np.uint8)
    third = np.where(valid, _LIGHT_INDEX, _DARK_INDEX).astype(np.uint8)
    return np.concatenate([first, second, third], axis=-1)


def palette() -> np.ndarray:
    """Return the colours of the tiles, (130, 3) uint8."""
    flux = flux_colours(np.linspace(0, 1, _FLUX_LEVELS))[:, :3]
    velocity = velocity_colours(np.linspace(0, 1, _VELOCITY_LEVELS))[:, :3]
    fixed = np.array([MASKED, (34, 34, 34), (255, 255, 255)]) / 255
    return np.rint(np.concatenate([flux, velocity, fixed]) * 255).astype(np.uint8)


def write_sheets(
    folder: Path, flux: np.ndarray, velocity: np.ndarray, mask: np.ndarray, limit: float, per_sheet: int, columns: int = 4
) -> Sheets:
    """Write stamps as PNG sprite sheets `stamps-NNN.png` into `folder`.

    Sheets are small, so that a browser that shows a few stamps decodes only theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n, height, width = flux.shape
    columns = min(columns, per_sheet)
    files = []
    for number, start in enumerate(range(0, n, per_sheet)):
        part = slice(start, start + per_sheet)
        # Row 0 of an array is the bottom of the sky; pictures begin at the top.
        tiles = tile(flux[part], velocity[part], mask[part], limit)[:, ::-1]
        image = Image.fromarray(arrange(tiles, columns, _LIGHT_INDEX))
        image.putpalette(palette().tobytes())
        name = f"stamps-{number:03d}.png"
        image.save(folder / name, optimize=True)
        files.append(name)
    return Sheets(tuple(files), per_sheet, columns, 3 * width, height)


def arrange(tiles: np.ndarray, columns: int, empty: int) -> np.ndarray:
    """Return pictures, (n, h, w) or (n, h, w, 3) uint8, as one sheet of `columns` to a row; places left over are `empty`."""
    n, height, width = tiles.shape[:3]
    sheet = np.full((-(-n // columns) * height, columns * width, *tiles.shape[3:]), empty, np.uint8)
    for i, one in enumerate(tiles):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = one
    return sheet


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def colour_bar(name: str, width: int = 128, height: int = 10) -> bytes:
    """Return a horizontal colour bar as PNG; `name` is `flux` or `velocity`."""
    colours = {"flux": flux_colours, "velocity": velocity_colours}[name](np.linspace(0, 1, width))[:, :3]
    buffer = io.BytesIO()
    Image.fromarray(np.rint(np.broadcast_to(colours * 255, (height, width, 3))).astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()
