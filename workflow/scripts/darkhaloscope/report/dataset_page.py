"""The quality report of a dataset as one page that opens from disk."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..stamps.pictures import Pictures
from .composites import enlarged
from .pictures import data_uri, palette, tile, velocity_limit

#: Columns that name a row of the distributions; all others are statistics.
NAMES = ("split", "label", "column", "count", "missing")

BANDS_LEGEND = "z, r, g as red, green, blue, in the stretch of the Legacy Surveys' viewer. North is up, east to the left."
MOMENTS_LEGEND = "Flux, and line-of-sight velocity where there is one, on one scale in each row of stamps."


def dataset_page(name: str, checks: Mapping[str, Any], pictures: Sequence[Pictures]) -> str:
    """Return the page of a dataset: gates, counts per split, distributions as in a data paper, pictures.

    Parameters
    ----------
    name : the dataset's
    checks : its `checks.json`: gates, splits, distributions and notes
    pictures : stamps to look at
    """
    assets = files(__package__) / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    known = [row for row in checks["distributions"] if row["count"] > 0]
    groups = groupby(known, key=lambda row: (row["split"], row["label"]))
    first = next(iter(checks["splits"].values()), {})
    return environment.from_string((assets / "dataset.html").read_text(encoding="utf-8")).render(
        name=name,
        gates=checks["gates"],
        splits=checks["splits"],
        snr_levels=[key.removeprefix("arc_snr_above_") for key in first if key.startswith("arc_snr_above_")],
        notes=checks["notes"],
        distributions=[(f"{split}, {'positives' if label else 'controls'}", list(rows)) for (split, label), rows in groups],
        statistics=list(dict.fromkeys(key for row in known for key in row if key not in NAMES)),
        pictures=[(p.title, list(zip(_drawn(p.images), p.captions, strict=True))) for p in pictures],
        legend=BANDS_LEGEND if pictures and pictures[0].images.shape[1] > 2 else MOMENTS_LEGEND,
        number=_number,
    )


def _drawn(images: NDArray) -> Iterator[str]:
    """Yield pictures of stamps: bands in colours, or flux and velocity side by side."""
    if images.shape[1] > 2:
        drawn = map(enlarged, images)
    else:
        flux, velocity = images[:, 0], images[:, 1]
        known = np.isfinite(velocity)
        # Row 0 of an array is the bottom of the sky; pictures begin at the top.
        tiles = tile(flux, velocity, known, velocity_limit(velocity, known))[:, ::-1, : 2 * flux.shape[-1]]
        drawn = (Image.fromarray(palette()[t]) for t in tiles)
    for picture in drawn:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        yield data_uri(buffer.getvalue())


def _number(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
