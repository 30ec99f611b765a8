"""The page of a dataset: stamps to look at, its gates, how many stamps of which kind, and how their columns are distributed."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ..config.subhalo import SubhaloDataset
from ..core.tables import images
from ..tasks.lensfinder.pictures import Pictures
from . import charts
from .answer import quality_gates
from .composites import enlarged
from .context import Dataset
from .examples import collect_examples
from .facts import dataset_counts, dataset_facts
from .frames import column_name, count
from .html import render
from .pictures import data_uri, palette, tile, velocity_limit
from .sections import checks_table, distributions

#: Columns whose distribution is drawn, where the stamps have them.
DRAWN = (
    *("theta_e_arcsec", "theta_over_psf", "peak_snr", "arc_snr", "arc_snr_matched", "psf_fwhm_used_r", "psfsize_r", "mag_r"),
    *("magnification", "log10_mass_msun", "d_prime_flux", "d_prime_velocity", "mask_fraction"),
)
#: Stamps of each class in the pictures of a subhalo dataset, and screen pixels for each of theirs.
STAMPS, ENLARGED = 6, 2

Paths = Sequence[str | os.PathLike]
Group = tuple[str, list[tuple[str, str]]]


def dataset_page(
    name: str, dataset: Dataset, checks: Mapping[str, Any], shards: Paths, pictures: Sequence[Pictures] = (), pages: Mapping[str, str] | None = None
) -> str:
    """Return the page of a dataset.

    Parameters
    ----------
    name, dataset : the dataset's name and settings
    checks : its `checks.json`: gates, splits, distributions, and notes where there are any
    shards : shards of one split, of which distributions are drawn
    pictures : stamps to look at, of a dataset of bands
    pages : addresses that the page links to, by their texts
    """
    gates = quality_gates(checks)
    lost = [gate.name for gate in gates if not gate.passed]
    stamps = sum(split["stamps"] for split in checks["splits"].values())
    said = f"{count(stamps)} stamps in {len(checks['splits'])} splits; "
    said += f"{len(lost)} of {len(gates)} gates FAILED: {', '.join(lost)}." if lost else f"all {len(gates)} gates pass."
    maps = isinstance(dataset, SubhaloDataset)
    return render(
        "dataset.html",
        title=f"Dataset {name}",
        name=name,
        said=said,
        failed=bool(lost),
        description=dataset.description,
        maps=maps,
        groups=_stamps_of_maps(shards) if maps else [_group(p) for p in pictures],
        gates=checks_table(gates),
        facts=dataset_facts(dataset),
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


def _group(pictures: Pictures) -> Group:
    stamps = []
    for image, caption in zip(pictures.images, pictures.captions, strict=True):
        stamps.append((_uri(enlarged(image)), caption))
    return pictures.title, stamps


def _stamps_of_maps(shards: Paths) -> list[Group]:
    """Return stamps of flux, velocity and mask of each class, chosen by a hash of their ids from the first shard."""
    if not shards:
        return []
    names = ["stamp_id", "label", "source_kind", "theta_e_arcsec", "peak_snr", "flux", "velocity", "mask"]
    with pq.ParquetFile(shards[0]) as file:
        table = pa.Table.from_batches([next(file.iter_batches(512, columns=names))])
    frame = table.select(["stamp_id", "label", "source_kind", "theta_e_arcsec", "peak_snr"]).to_pandas()
    groups = []
    for title, label in (("Positives", 1), ("Controls", 0)):
        of_class = frame[frame["label"] == label]
        wanted = collect_examples(of_class, np.zeros(len(of_class)), STAMPS)["random"]
        rows = of_class.reset_index().set_index("stamp_id").loc[wanted]
        chosen = table.take(pa.array(rows["index"].to_numpy()))
        flux, velocity, mask = (images(chosen, c) for c in ("flux", "velocity", "mask"))
        limit = velocity_limit(velocity, mask)
        tiles = tile(flux, velocity, mask, limit)[:, ::-1]
        captions = [f"{r.source_kind}, θ_E {r.theta_e_arcsec:.2f}″, peak S/N {r.peak_snr:.0f}, ±{limit:.0f} km/s" for r in rows.itertuples()]
        groups.append((title, [(_uri(_coloured(one)), caption) for one, caption in zip(tiles, captions, strict=True)]))
    return [group for group in groups if group[1]]


def _coloured(numbers: NDArray) -> Image.Image:
    picture = Image.fromarray(palette()[numbers])
    return picture.resize([ENLARGED * s for s in picture.size], Image.Resampling.NEAREST)


def _uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())
