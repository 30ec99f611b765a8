"""The quality report of a lens-finder dataset as one page that opens from disk."""

from __future__ import annotations

import io
from importlib.resources import files

import jinja2

from ..stamps.injection_quality import SNR_LEVELS, InjectionQuality
from .composites import enlarged
from .pictures import data_uri


def dataset_page(name: str, quality: InjectionQuality) -> str:
    """Return the page of a dataset: gates, counts per split, distributions as in a data paper, pictures."""
    assets = files(__package__) / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    table = quality.distributions
    groups = table[table["count"] > 0].groupby(["split", "label"], sort=False)
    return environment.from_string((assets / "dataset.html").read_text(encoding="utf-8")).render(
        name=name,
        gates=quality.gates,
        splits=quality.splits,
        snr_levels=SNR_LEVELS,
        notes=quality.notes,
        distributions=[(f"{split}, {'positives' if label else 'controls'}", group.to_dict("records")) for (split, label), group in groups],
        statistics=[c for c in table.columns if c not in ("split", "label", "column", "count", "missing")],
        pictures=[
            (p.title, [(_picture(image), caption) for image, caption in zip(p.images, p.captions, strict=True)]) for p in quality.pictures
        ],
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
