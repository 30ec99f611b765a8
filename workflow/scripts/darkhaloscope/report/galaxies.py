"""The page of a sample: its galaxies with the score that decided on each, their pictures, and the way to each one's own page."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from ..evaluation.tidy import count
from .grids import Grid, number_cell
from .html import render

#: Columns of the score's table that are shown: what they are called, and decimals.
_SHOWN = {
    "z": ("z", 4),
    "inclination_deg": ("Inclination [deg]", 0),
    "reff_arcsec": ("Rₑ [arcsec]", 1),
    "vel_grad": ("Velocity gradient", 1),
    "vel_std": ("Velocity spread [km/s]", 0),
    "frac_valid_in_1p5re": ("Valid within 1.5 Rₑ", 2),
}
#: Galaxies with a picture before the table.
PICTURED = 24


def galaxies_page(
    sample: str,
    scored: pd.DataFrame,
    inspections: Mapping[str, str],
    pictures: Mapping[str, str],
    *,
    mock: bool,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page of a sample of galaxies.

    Parameters
    ----------
    sample, mock : the sample's name, and whether its archive is a mock
    scored : table of `score_lensability`, best first
    inspections : address of each galaxy's inspection page
    pictures : address of the picture of each galaxy that serves as a source: flux and velocity
    pages : further addresses that the page links to, by their texts
    """
    used = scored[scored["galaxy_id"].isin(list(pictures))]
    rows = []
    for row in scored.to_dict("records"):
        cells = [number_cell(row[c], f"{row[c]:.{digits}f}") for c, (_, digits) in _SHOWN.items() if c in scored]
        name = row["galaxy_id"]
        link = Markup('<a href="{}">{}</a>').format(inspections[name], name) if name in inspections else name
        rows.append(
            ((name, link), "yes" if name in pictures else "no", str(row["tier"]), number_cell(row["score"], f"{row['score']:.0f}"), *cells)
        )
    heads = ("Galaxy", "A source", "Tier", "Score", *(name for c, (name, _) in _SHOWN.items() if c in scored))
    shown = [(name, pictures[name], inspections.get(name, ""), score) for name, score in zip(used["galaxy_id"], used["score"], strict=True)]
    return render(
        "galaxies.html",
        title=f"Galaxies of sample {sample}",
        said=f"{count(len(used))} of {count(len(scored))} galaxies of {'a mock archive' if mock else 'the archive'} are used as sources of stamps.",
        shown=shown[:PICTURED],
        table=Grid(heads, tuple(rows), "galaxies", ("A source", "Tier")),
        pages=dict(pages or {}),
    )
