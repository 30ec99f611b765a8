"""A scored catalogue as a ranked list of candidates, with three-colour pictures of the first ones."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ..config.legacysurvey import PIXEL_SCALE_ARCSEC
from .composites import three_colours
from .html import render
from .pictures import data_uri

#: Candidates with a picture.
SHOWN = 120

#: Columns of the list, of those that the scores have.
LISTED = (
    "stamp_id",
    "ra",
    "dec",
    "brickname",
    "object_id",
    "label",
    "contaminant_class",
    "theta_e_arcsec",
    "theta_over_psf",
    "arc_snr",
    "mag_g",
    "mag_r",
    "mag_z",
    "psf_fwhm_used_r",
)


def rank_candidates(tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    """Return the stamps of a test split in the order of the mean score of several seeds, best first.

    Parameters
    ----------
    tables : score tables by seed, of the same stamps

    Returns
    -------
    DataFrame
        `rank`, `score`, `calibrated` (means), and those of `LISTED` that there are; equal scores in the order of stamp_id.
    """
    frames = []
    for table in tables.values():
        names = ["score", "calibrated", *(c for c in LISTED if c in table.column_names)]
        frame = table.select([*names, *(["split"] if "split" in table.column_names else [])]).to_pandas()
        frames.append(frame[frame.pop("split") == "test"] if "split" in frame else frame)
    first = frames[0].set_index("stamp_id")
    for other in frames[1:]:
        first[["score", "calibrated"]] += other.set_index("stamp_id").loc[first.index, ["score", "calibrated"]]
    first[["score", "calibrated"]] /= len(frames)
    ordered = first.reset_index().sort_values(["score", "stamp_id"], ascending=[False, True], ignore_index=True)
    ordered.insert(0, "rank", np.arange(1, len(ordered) + 1))
    return ordered[["rank", "score", "calibrated", *(c for c in ordered if c not in ("rank", "score", "calibrated"))]]


def candidate_page(
    ranked: pd.DataFrame,
    shards: Sequence[str | Path],
    *,
    dataset: str,
    network: str,
    seeds: int,
    table: str,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page of the first `SHOWN` candidates.

    Parameters
    ----------
    ranked : list of `rank_candidates`
    shards : shards that hold the stamps
    dataset, network : names
    seeds : number of networks whose mean the score is
    table : address of the whole list, relative to the page
    pages : further addresses that the page links to, by their texts
    """
    first = ranked.head(SHOWN)
    pictures = _pictures(first["stamp_id"].tolist(), shards)
    size = next(iter(pictures.values())).shape[-1]
    cards = [
        {
            "rank": row.rank,
            "score": f"{row.score:.4f}",
            "calibrated": f"{row.calibrated:.3f}",
            "place": f"{row.ra:.5f} {row.dec:+.5f}" if hasattr(row, "ra") else row.stamp_id,
            "kind": _kind(row),
            "picture": data_uri(_png(three_colours(pictures[row.stamp_id]))),
        }
        for row in first.itertuples()
    ]
    truth = ""
    if "label" in first:
        truth = f"Of the first {len(first)}, {int((first['label'] == 1).sum())} are injected lenses; of all, {int((ranked['label'] == 1).sum())}."
    return render(
        "candidates.html",
        title=f"{dataset} ranked by {network}",
        what="stamps",
        dataset=dataset,
        members=_members(network, seeds),
        total=len(ranked),
        notes=[truth] if truth else [],
        table=table,
        bands="g, r, z",
        side=f"{size * PIXEL_SCALE_ARCSEC:.1f}",
        cards=cards,
        pages=dict(pages or {}),
    )


def cutouts_page(
    scored: pd.DataFrame,
    shards: Sequence[str | Path],
    rates: pd.DataFrame,
    *,
    name: str,
    detector: str,
    seeds: int,
    bands: Sequence[str],
    done: str,
    table: str,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page of cutouts that the user brought, ranked by one detector.

    Parameters
    ----------
    scored : table of `learning.cutouts`
    shards : the cutouts as the network saw them
    rates : of all detectors, as `evaluation.cutouts` gives them
    name, detector : what the cutouts are called, and the network
    seeds : number of networks whose mean the score is
    bands : the cutouts' bands that stand for g, r and z
    done : how cutouts became stamps, in words
    table : address of the whole list, relative to the page
    pages : further addresses that the page links to, by their texts
    """
    key = f"score_{detector}"
    ordered = scored[scored[key].notna()].sort_values([key, "stamp_id"], ascending=[False, True], ignore_index=True)
    first = ordered.head(SHOWN)
    pictures = _pictures(first["stamp_id"].tolist(), shards)
    cards = [
        {
            "rank": rank,
            "score": f"{row[key]:.4f}",
            "calibrated": f"{row[f'calibrated_{detector}']:.3f}",
            "place": str(row["stamp_id"]) + (f" · {row['ra']:.5f} {row['dec']:+.5f}" if pd.notna(row["ra"]) else ""),
            "kind": _said_of(row),
            "picture": data_uri(_png(three_colours(pictures[row["stamp_id"]]))),
        }
        for rank, row in enumerate(first.to_dict("records"), 1)
    ]
    return render(
        "candidates.html",
        title=f"{name} ranked by {detector}",
        what="cutouts",
        dataset=name,
        members=_members(detector, seeds),
        total=len(ordered),
        notes=[f"What the network saw: {done}.", *_counts(scored), _rates_said(rates[rates["detector"] == detector])],
        table=table,
        bands=", ".join(bands),
        side=f"{next(iter(pictures.values())).shape[-1] * PIXEL_SCALE_ARCSEC:.1f}",
        cards=cards,
        pages=dict(pages or {}),
    )


def _members(network: str, seeds: int) -> str:
    return f"{seeds} networks {network}" if seeds > 1 else f"network {network}"


def _counts(scored: pd.DataFrame) -> list[str]:
    """Say which cutouts have no score, and which do not fill their stamp."""
    said = []
    lost = scored[~scored["ok"]]
    if len(lost):
        said.append(f"{len(lost)} of {len(scored)} cutouts cannot be used and have no score; the first: {lost['reason'].iloc[0]}.")
    short = int((scored["ok"] & (scored["covered"] < 1)).sum())
    if short:
        least = scored.loc[scored["ok"], "covered"].min()
        said.append(
            f"{short} cutouts do not fill their stamp (the emptiest {100 * least:.0f}% of it): pixels without data are 0, as no training stamp has so many."
        )
    return said


def _rates_said(rates: pd.DataFrame) -> str:
    """Say what the rates of labelled cutouts are, the AUC first."""
    if rates.empty:
        return "No cutout has a label, so there are no rates."
    auc = rates[rates["metric"] == "auc"].iloc[0]
    of = f"{auc['n_positives']} lenses and {auc['n_negatives']} controls by their labels"
    if not auc["resolved"]:
        return f"{of}: {auc['note']}."
    said = [f"AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"]
    tpr = rates[(rates["metric"] == "tpr_at_fpr") & rates["resolved"].astype(bool)]
    said += [f"TPR {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] at FPR {row['at']:g}" for row in tpr.to_dict("records")]
    return f"{of}: {'; '.join(said)}."


def _said_of(row: Mapping[str, object]) -> str:
    """Say what a cutout's label is, and how much of its stamp it fills."""
    given = row["given_label"]
    kind = {1: "lens", 0: "control"}.get(row["label"], "between the classes" if pd.notna(given) else "no label")
    label = f"{kind} (label {given:g})" if pd.notna(given) else kind
    return label + (f", fills {100 * row['covered']:.0f}%" if row["covered"] < 1 else "")


def _pictures(wanted: Sequence[str], shards: Sequence[str | Path]) -> dict[str, NDArray]:
    """Read the stamps of some identifiers, row group by row group where any is."""
    found: dict[str, NDArray] = {}
    names = set(wanted)
    for path in shards:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["stamp_id"])["stamp_id"].to_pylist()
                rows = [k for k, i in enumerate(ids) if i in names]
                if rows:
                    images = file.read_row_group(group, columns=["image"])["image"].combine_chunks()
                    pixels = (images.chunk(0) if isinstance(images, pa.ChunkedArray) else images).to_numpy_ndarray()
                    found |= {ids[k]: pixels[k] for k in rows}
    return found


def _kind(row: object) -> str:
    """Say what a stamp is, where that is known."""
    if getattr(row, "label", 0) == 1:
        theta, snr = getattr(row, "theta_e_arcsec", np.nan), getattr(row, "arc_snr", np.nan)
        return f"injected, θ_E {theta:.2f}″, arc S/N {snr:.1f}"
    what = getattr(row, "contaminant_class", None)
    return f"control: {what}" if isinstance(what, str) and what else "control"


def _png(pixels: NDArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()
