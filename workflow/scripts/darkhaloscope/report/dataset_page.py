"""The page of a dataset: stamps to look at, its gates, how many stamps of which kind, and how their columns are distributed."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ..evaluation.tidy import count
from ..stamps.pictures import Pictures
from ..stamps.rows import bands_of
from . import charts
from .answer import quality_gates
from .composites import enlarged
from .context import Dataset
from .facts import checks_table, dataset_counts, dataset_facts, distributions
from .frames import column_name
from .html import render
from .pictures import data_uri, palette, tile, velocity_limit

#: Columns whose distribution is drawn, where the stamps have them.
DRAWN = (
    *("theta_e_arcsec", "theta_over_psf", "peak_snr", "arc_snr", "arc_snr_matched", "psf_fwhm_used_r", "psfsize_r", "mag_r"),
    *("magnification", "log10_mass_msun", "d_prime_flux", "d_prime_velocity", "mask_fraction"),
)

Paths = Sequence[str | os.PathLike]


def dataset_page(
    name: str,
    dataset: Dataset,
    checks: Mapping[str, Any],
    shards: Paths,
    pictures: Sequence[Pictures],
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page of a dataset.

    Parameters
    ----------
    name, dataset : the dataset's name and settings
    checks : its `checks.json`: gates, splits, distributions, and notes where there are any
    shards : shards of one split, of which distributions are drawn
    pictures : stamps to look at
    pages : addresses that the page links to, by their texts
    """
    gates = quality_gates(checks)
    lost = [gate.name for gate in gates if not gate.passed]
    stamps = sum(split["stamps"] for split in checks["splits"].values())
    said = f"{count(stamps)} stamps in {len(checks['splits'])} splits; "
    said += f"{len(lost)} of {len(gates)} gates FAILED: {', '.join(lost)}." if lost else f"all {len(gates)} gates pass."
    return render(
        "dataset.html",
        title=f"Dataset {name}",
        name=name,
        said=said,
        failed=bool(lost),
        description=dataset.description,
        maps=bool(pictures) and pictures[0].images.shape[1] == 2,
        groups=[(p.title, list(zip(_stamps(p.images), p.captions, strict=True))) for p in pictures],
        gates=checks_table(gates),
        facts=dataset_facts(dataset, bands_of(shards)),
        counts=dataset_counts(checks["splits"]),
        notes=checks.get("notes", ()),
        distributions=distributions(checks.get("distributions") or []),
        charts=_histograms(shards),
        pages=dict(pages or {}),
    )


def _histograms(shards: Paths) -> dict[str, list[dict[str, str]]]:
    """Return the distributions of the columns that the shards have, positives beside controls."""
    if not shards:
        return {}
    names = [c for c in DRAWN if c in pq.read_schema(shards[0]).names]
    frame = pd.concat([pq.read_table(path, columns=["label", *names]).to_pandas() for path in shards], ignore_index=True)
    drawn = {}
    for name in names:
        groups = {}
        for words, label in (("positives", 1), ("controls", 0)):
            values = pd.to_numeric(frame.loc[frame["label"] == label, name], errors="coerce").to_numpy(float)
            # A control without a lens has 0 where a positive has its lens' value, and so no distribution.
            if np.any(values[np.isfinite(values)]):
                groups[words] = values[np.isfinite(values)]
        if groups and max(map(np.ptp, groups.values())) > 0:
            figure = charts.histogram(groups, column_name(name))
            drawn[f"column-{name}"] = [{"label": name, "svg": charts.svg(figure, name), "pdf": ""}]
    return drawn


def _stamps(images: NDArray) -> Iterator[str]:
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
