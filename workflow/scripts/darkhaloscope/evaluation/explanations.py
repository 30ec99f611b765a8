"""Where networks look: attributions of chosen test stamps, and how much of them lies at the subhalo or the arc."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.experiment import Explanations
from ..config.legacysurvey import BANDS
from ..core.random import stable_hash, stream
from ..core.rates import EvaluationError
from ..core.tables import images
from ..detectors.schema import maps_schema
from ..learning.explain import Explained, explain_stamps
from ..learning.networks import Classifier

#: Groups of stamps, in the order in which they choose.
GROUPS = ("highest-scored positives", "lowest-scored positives", "highest-scored controls", "positives by chance")
TABLE = (
    "stamp_id", "number", "label", "group", "network", "score", "margin", "baseline_margin", "attribution_sum", "error", "complete", "steps",
    "mark", "x_arcsec", "y_arcsec", "mark_radius_arcsec", "share_near", "share_of_area", "share_of_flux",
)  # fmt: skip
SUMMARY = ("network", "group", "stamps", "share_near", "low", "high", "share_of_area", "share_of_flux", "complete", "largest_error")
#: Pixels of a stamp that pictures show, by chain: column, and the name that the table of maps gives it.
SHOWN = {"image": BANDS, "flux": ("flux",), "velocity": ("velocity",), "mask": ("mask",)}
SUBHALO, RING = "subhalo", "ring"


def choose_stamps(scores: pa.Table, n: int) -> pd.DataFrame:
    """Choose test stamps by their scores, each for the first of `GROUPS` that takes it.

    Parameters
    ----------
    scores : table of scores of one network; rows of its test split are used
    n : int
        Stamps in each group; fewer where the split has no more.

    Returns
    -------
    DataFrame
        stamp_id, number, label, score, group, in the order of the groups.
    """
    frame = scores.select(["stamp_id", "number", "label", "score", "split"]).to_pandas()
    frame = frame[frame["split"] == "test"].drop(columns="split").sort_values("number", ignore_index=True)
    frame["chance"] = [stable_hash("explained", number) for number in frame["number"]]
    orders = {GROUPS[0]: (1, "score", False), GROUPS[1]: (1, "score", True), GROUPS[2]: (0, "score", False), GROUPS[3]: (1, "chance", True)}
    parts, left = [], frame
    for group, (label, by, rising) in orders.items():
        chosen = left[left["label"] == label].sort_values(by, ascending=rising, kind="stable").head(n)
        parts.append(chosen.assign(group=group))
        left = left.drop(chosen.index)
    return pd.concat(parts, ignore_index=True).drop(columns="chance")


def explain_networks(
    networks: Mapping[str, Classifier], stamps: pa.Table, chosen: pd.DataFrame, settings: Explanations, pixel_arcsec: float, mark: str
) -> tuple[pd.DataFrame, pa.Table]:
    """Explain the margins of several networks for the same stamps.

    Parameters
    ----------
    networks : by name
    stamps : rows of the shards, images included, as `read_stamps` gives them
    chosen : DataFrame
        The same stamps, as `choose_stamps` gives them; their `score` is that of the network that chose.
    settings : Explanations
    pixel_arcsec : float
    mark : "subhalo" or "ring"
        What is looked for: a place, or the ring about θ_E.

    Returns
    -------
    table : DataFrame
        Columns `TABLE`, one row per network and stamp; shares are of the sum of absolute attributions over all inputs.
    maps : pyarrow.Table
        Rows of `maps_schema`: each stamp's own pixels, then attributions per network and input.
    """
    rows = {int(row["number"]): (i, row) for i, row in enumerate(stamps.select(_scalars(stamps)).to_pylist())}
    light = _light(stamps)
    schema, ids = maps_schema(light.shape[-1]), {n: row["stamp_id"] for n, (_, row) in rows.items()}
    maps = [schema.table(_own_pixels(stamps))]
    table = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stamps.parquet"
        pq.write_table(stamps, path)
        for name, classifier in networks.items():
            found = explain_stamps(classifier, path, settings)
            place = {int(number): k for k, number in enumerate(found.numbers)}
            missing = [n for n in chosen["number"] if int(n) not in place]
            if missing:
                raise EvaluationError(
                    f"{name} cannot read {len(missing)} of the chosen stamps, first {ids[int(missing[0])]}; check their pixels"
                )
            maps += [schema.table(_attributed(name, found, ids, k)) for k in range(len(found.inputs))]
            for line in chosen.to_dict("records"):
                number = int(line["number"])
                i, row = rows[number]
                table.append({**line, "network": name, **_explained(found, place[number], row, light[i], settings, pixel_arcsec, mark)})
    return pd.DataFrame(table, columns=list(TABLE)), pa.concat_tables(maps)


def near(row: Mapping[str, object], size: int, pixel_arcsec: float, radius: float, mark: str) -> NDArray[np.bool_] | None:
    """Return the pixels whose centres are near what is looked for, (size, size); None where the stamp has nothing of the kind.

    Near is within `radius` of the subhalo (a control's phantom likewise), or of the ring of radius θ_E about the lens.
    """
    axis = (np.arange(size) - (size - 1) / 2) * pixel_arcsec
    x, y = axis[None, :], axis[:, None]
    if mark == SUBHALO:
        return np.hypot(x - row["subhalo_x_arcsec"], y - row["subhalo_y_arcsec"]) <= radius
    theta = row["theta_e_arcsec"]
    if not theta:
        return None
    distance = np.hypot(x - (row.get("lens_x_arcsec") or 0.0), y - (row.get("lens_y_arcsec") or 0.0))
    return np.abs(distance - theta) <= radius


def summarise_explanations(table: pd.DataFrame, confidence: float, resamples: int) -> pd.DataFrame:
    """Return mean shares by network and group, with a bootstrap over stamps; columns `SUMMARY`.

    Shares of stamps with nothing to look for are left out, and a group of them has none.
    """
    out = []
    for (network, group), part in table.groupby(["network", "group"], sort=False):
        known = part.dropna(subset=["share_near"])
        low = high = math.nan
        if len(known) > 1:
            rng = stream(0, stable_hash(network, group), "explanations")
            draws = rng.choice(known["share_near"].to_numpy(), size=(resamples, len(known))).mean(1)
            low, high = np.percentile(draws, [50 * (1 - confidence), 50 * (1 + confidence)])
        means = {name: known[name].mean() for name in ("share_near", "share_of_area", "share_of_flux")}
        largest = float(part["error"].abs().max())
        out.append(
            {"network": network, "group": group, "stamps": len(part), **means, "low": low, "high": high}
            | {"complete": int(part["complete"].sum()), "largest_error": largest}
        )
    return pd.DataFrame(out, columns=list(SUMMARY))


def _explained(
    found: Explained, k: int, row: Mapping[str, object], light: NDArray, settings: Explanations, pixel_arcsec: float, mark: str
) -> dict[str, object]:
    given = found.attributions
    size = np.abs(given.values[k]).sum(0, dtype=np.float64)
    inside = near(row, size.shape[-1], pixel_arcsec, settings.radius_arcsec, mark)
    ring = mark == RING
    place = ("lens_x_arcsec", "lens_y_arcsec") if ring else ("subhalo_x_arcsec", "subhalo_y_arcsec")
    return {
        "margin": given.margin[k],
        "baseline_margin": given.baseline_margin[k],
        "attribution_sum": float(given.values[k].sum(dtype=np.float64)),
        "error": given.error[k],
        "complete": bool(given.complete[k]),
        "steps": int(given.steps[k]),
        "mark": mark if inside is not None else "",
        "x_arcsec": float(row.get(place[0]) or 0.0) if inside is not None else math.nan,
        "y_arcsec": float(row.get(place[1]) or 0.0) if inside is not None else math.nan,
        "mark_radius_arcsec": math.nan if inside is None else row["theta_e_arcsec"] if ring else settings.radius_arcsec,
        "share_near": _share(size, inside),
        "share_of_area": _share(np.ones_like(size), inside),
        "share_of_flux": _share(light, inside),
    }


def _share(weight: NDArray, inside: NDArray[np.bool_] | None) -> float:
    total = weight.sum()
    return math.nan if inside is None or total <= 0 else float(weight[inside].sum() / total)


def _scalars(stamps: pa.Table) -> list[str]:
    wanted = ("stamp_id", "number", "subhalo_x_arcsec", "subhalo_y_arcsec", "theta_e_arcsec", "lens_x_arcsec", "lens_y_arcsec")
    return [name for name in wanted if name in stamps.column_names]


def _light(stamps: pa.Table) -> NDArray[np.float64]:
    """Return the light above zero of every stamp, over all bands, (n, size, size)."""
    light = images(stamps, "flux")[:, None] if "flux" in stamps.column_names else images(stamps, "image")
    return np.maximum(light, 0).sum(1, dtype=np.float64)


def _own_pixels(stamps: pa.Table) -> dict[str, Sequence]:
    names, ids, pixels = [], [], []
    for column, called in SHOWN.items():
        if column in stamps.column_names:
            found = images(stamps, column).astype(np.float32)
            found = found if found.ndim == 4 else found[:, None]
            for k, name in enumerate(called):
                names += [name] * len(found)
                ids += stamps["stamp_id"].to_pylist()
                pixels.append(found[:, k])
    return {"stamp_id": ids, "network": [""] * len(ids), "input": names, "map": np.concatenate(pixels)}


def _attributed(name: str, found: Explained, ids: Mapping[int, str], k: int) -> dict[str, Sequence]:
    n = len(found.numbers)
    values = found.attributions.values[:, k]
    return {
        "stamp_id": [ids[int(number)] for number in found.numbers],
        "network": [name] * n,
        "input": [found.inputs[k]] * n,
        "map": values,
    }
