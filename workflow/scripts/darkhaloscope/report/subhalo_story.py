"""The page of an experiment on flux and velocity: ideal and marginal observers, smooth and perturbed lenses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.tidy import ALL, count, is_number, number, pick
from . import charts, panels
from .answer import answer, gates, marginal_gain, rates_of, unsaid
from .context import ReportContext
from .frames import column_name
from .grids import Cell, Grid, plain_grid, rate_cell
from .pictures import colour_bar, data_uri, velocity_limit, write_sheets
from .story import Chart, Story

#: What the two lenses of an example are called, by the dataset's contrast.
CONTRASTS = {"subhalo": ("smooth", "perturbed"), "kinematics": ("smooth", "perturbed"), "lensed": ("unlensed", "lensed")}
_SEEN = ("flux", "velocity", "both")
_BLIND = ("Blind d′, flux / velocity / both", "Blind AUC, flux / velocity / both")


def information_bins(context: ReportContext) -> pd.DataFrame:
    """Return AUC of network and ideal observer by bin of the ideal d′, lowest bin first; empty without ideal observers."""
    parts = []
    for name in context.experiment.detectors:
        if context.detectors[name].channels == "mask":
            continue
        frame = rates_of(context, name, name="information")
        frame = frame[frame["stratum"] != ALL] if len(frame) else frame
        if len(frame):
            ideal = frame[frame["metric"] == "ideal_auc"].set_index("stratum")["value"]
            own = frame[(frame["metric"] == "auc") & frame["resolved"]]
            parts.append(own.assign(network=name, ideal=own["stratum"].map(ideal)))
    if not parts:
        return pd.DataFrame()
    bins = pd.concat(parts, ignore_index=True)
    # Networks with fewer bins must not decide the order of the axis.
    return bins.assign(first=[_leading_number(s) for s in bins["stratum"]]).sort_values("first", kind="stable", ignore_index=True)


def information_table(context: ReportContext) -> Grid | None:
    """Return AUC and d′ of network and ideal observer and the share reached, over all stamps and by bin."""
    rows = []
    for name in context.experiment.detectors:
        frame = rates_of(context, name, name="information")
        for stratum in dict.fromkeys(frame["stratum"]) if len(frame) else ():
            part = frame[frame["stratum"] == stratum]
            cells = [pick(part, metric) for metric in ("auc", "ideal_auc", "d_prime", "ideal_d_prime", "share")]
            first = cells[0] if cells[0] is not None else part.iloc[0]
            place: Cell = (-1.0, "all") if stratum == ALL else (_leading_number(stratum), stratum)
            counts = f"{count(first['n_positives'])} / {count(first['n_negatives'])}"
            rows.append((name, column_name(part["column"].iloc[0]), place, counts, *(rate_cell(c) for c in cells)))
    heads = ("Network", "Observer", "Bin of ideal d′", "Positives / negatives", "AUC", "Ideal AUC", "d′", "Ideal d′", "Share of d′")
    return Grid(heads, tuple(rows), "information-table", ("Network",)) if rows else None


def observer_tables(context: ReportContext) -> dict[str, tuple[str, Grid]]:
    """Return, per test dataset, how many stamps and the medians of the ideal, the marginal and, where there is one, the blind observer, over all and by mass bin."""
    out = {}
    for test, frame in context.observers.items():
        if not len(frame):
            continue
        groups = [("all stamps", frame)]
        if "mass_bin" in frame:
            groups += [(str(name), part) for name, part in frame.groupby("mass_bin", sort=True)]
        rows = []
        for name, part in groups:
            medians = [_one_decimal(part[f"{who}_d_prime_{c}"].median()) for who in ("ideal", "marginal") for c in _SEEN]
            rows.append((name, count(len(part)), *medians, marginal_gain(part), *_blind(part)))
        observers = (f"{who} d′, {c}" for who in ("Ideal", "Marginal") for c in _SEEN)
        heads = ("log₁₀ mass", "Stamps", *observers, "Marginal, flux → both", *(_BLIND if "blind_auc_both" in frame else ()))
        out[test] = count(len(frame)), plain_grid(heads, rows)
    return out


def _blind(observers: pd.DataFrame) -> tuple[str, ...]:
    """Return the blind observer's median d′ and its AUC from flux, velocity and both, where the table has it."""
    if "blind_auc_both" not in observers:
        return ()
    d, aucs = ([observers[f"blind_{what}_{c}"] for c in _SEEN] for what in ("d_prime", "auc"))
    values = [value.median() for value in d], [value.mean() for value in aucs]
    return " / ".join(map(_one_decimal, values[0])), " / ".join(f"{v:.2f}" if is_number(v) else "–" for v in values[1])


def _one_decimal(value: float) -> str:
    """Return a d′ with one decimal whatever its size, so that a column's digits are even."""
    return f"{value:.1f}" if is_number(value) else "–"


def _leading_number(stratum: str) -> float:
    text = stratum.split("–")[0].split()[0] if stratum.strip() else ""
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _overview(context: ReportContext) -> Figure | None:
    pairs = context.examples.pairs
    if pairs is None or not pairs.captions:
        return None
    first = context.test_datasets.get(context.experiment.test_datasets[0], context.dataset)
    return panels.overview(pairs, *CONTRASTS[context.dataset.contrast], first.instrument.pixel_scale_arcsec, context.examples.evidence)


def _values(context: ReportContext) -> dict[str, Any]:
    return {
        "information": information_table(context),
        "observers": observer_tables(context),
        "bars": {name: data_uri(colour_bar(name)) for name in ("flux", "velocity")},
    }


def _charts(context: ReportContext) -> dict[str, list[Chart]]:
    bins = information_bins(context)
    if not len(bins):
        return {}
    said = [f"ideal observer {number(v) if is_number(v) else '–'}" for v in bins["ideal"]]
    bins = bins.rename(columns={"stratum": "category"}).assign(said=said)
    series = {name: part for name, part in bins.groupby("network", sort=False)}
    order = list(dict.fromkeys(bins["category"]))
    figure = charts.by_category(series, "Ideal observer's d′ (bars: its AUC)", "AUC", order=order, line=0.5)
    figure.axes[0].set_ylim(0.4, 1.03)
    return {"information": [Chart("AUC", "information", figure)]}


def _tables(context: ReportContext) -> dict[str, pd.DataFrame]:
    return {f"observers-{test}": frame for test, frame in context.observers.items()}


def _pictures(context: ReportContext) -> dict[str, Figure]:
    examples, found = context.examples, {}
    if examples.sources is not None and examples.sources.captions:
        found["sources"] = panels.sources(examples.sources)
    if examples.pairs is not None and examples.pairs.captions:
        found["stamps"] = panels.pairs(examples.pairs, *CONTRASTS[context.dataset.contrast])
    return found


def _sheets(context: ReportContext, folder: Path) -> dict[str, Any]:
    browser = context.browser
    limit = velocity_limit(browser.velocity, browser.mask)
    sheets = write_sheets(folder, browser.flux, browser.velocity, browser.mask, limit, context.settings.sheet_stamps)
    first = context.test_datasets.get(context.experiment.test_datasets[0], context.dataset)
    # Where the label is the lens itself, there is no subhalo to be marked.
    mark = {"name": "the subhalo", "x": "subhalo_x_arcsec", "y": "subhalo_y_arcsec", "radius": None, "panels": [0, 1]}
    return {
        "panels": ["flux", "velocity", "mask"],
        "mark": None if context.dataset.contrast == "lensed" else mark,
        "velocity_limit": limit,
        "pixel_scale": first.instrument.pixel_scale_arcsec,
        "widths": {"card": 208, "panel": 264},
        "sheets": sheets,
    }


def _hides(context: ReportContext, column: str) -> bool:
    # Where the label is the lens itself, the phantom subhalos of the manifest mean nothing.
    return context.dataset.contrast == "lensed" and (column.startswith("subhalo_") or column in ("mass_bin", "log10_mass_msun"))


STORY = Story("subhalo.html", answer, gates, unsaid, _overview, _values, _charts, _tables, _pictures, _sheets, _hides)
