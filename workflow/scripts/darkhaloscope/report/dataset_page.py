"""The quality report of a lens-finder dataset as one page that opens from disk."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

import jinja2

from ..tasks.lensfinder.pictures import Pictures
from .composites import enlarged
from .pictures import data_uri

#: Columns that name a row of the distributions; all others are statistics.
NAMES = ("split", "label", "column", "count", "missing")


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
        pictures=[(p.title, [(_picture(image), caption) for image, caption in zip(p.images, p.captions, strict=True)]) for p in pictures],
        number=_number,
    )


def _picture(image) -> str:
    buffer = io.BytesIO()
    enlarged(image).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())


def _number(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
