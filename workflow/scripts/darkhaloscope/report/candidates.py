"""A scored catalogue as a ranked list of candidates, with three-colour pictures of the first ones."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ..config.legacysurvey import BANDS, PIXEL_SCALE_ARCSEC
from ..stamps.rows import bands_of
from .composites import three_colours
from .html import render
from .pictures import data_uri

#: Candidates with a picture.
#: Below this share of good pixels a cutout is said to be mostly bad.
MOSTLY = 0.5
SHOWN = 120
#: The Legacy Surveys' sky viewer; a stamp of 26″ is a sixth of the window at this zoom.
VIEWER = "https://www.legacysurvey.org/viewer"

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
        _card(row.rank, row.stamp_id, (row.score, row.calibrated), pictures[row.stamp_id], _place(row), kind=_kind(row))
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
        bands=", ".join(bands_of(shards)),
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
        _card(
            rank,
            row["stamp_id"],
            (row[key], row[f"calibrated_{detector}"]),
            pictures[row["stamp_id"]],
            (row["ra"], row["dec"]) if pd.notna(row["ra"]) else None,
            named=True,
            kind=", ".join(text for text in (_said_of(row), _passing(row, detector)) if text),
        )
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


def rank_parents(pieces: Iterable[pa.Table], known: pa.Table, detector: str) -> pa.Table:
    """Return the galaxies of a parent sample in the order of one detector's score, best first, those without a score last.

    Parameters
    ----------
    pieces : tables of `learning.cutouts.score_cutouts` for pieces of the sample
    known : the survey's known lenses: object_id and name
    detector : name

    Returns
    -------
    pyarrow.Table
        `rank`, `score`, `calibrated`, then the pieces' other columns but those of other detectors, and `known_name`; equal scores in
        the order of stamp_id.
    """
    own = {f"score_{detector}": "score", f"calibrated_{detector}": "calibrated"}
    of_detectors = ("score_", "calibrated_", "learnt_", "rank")
    kept = [piece.select([*own, *(c for c in piece.column_names if not c.startswith(of_detectors))]) for piece in pieces]
    table = pa.concat_tables(kept).rename_columns({c: own.get(c, c) for c in kept[0].column_names})
    for k, name in enumerate(own.values()):
        values = table[name]
        table = table.set_column(k, name, pc.if_else(pc.is_nan(values), None, values))
    table = table.sort_by([("score", "descending"), ("stamp_id", "ascending")])
    names = dict(zip(known["object_id"].to_pylist(), known["name"].to_pylist(), strict=True))
    objects = table["object_id"].to_pylist()
    table = table.append_column("known_name", pa.array([names.get(i, "") for i in objects], pa.string()))
    return table.add_column(0, "rank", pa.array(np.arange(1, len(objects) + 1)))


def search_page(
    ranked: pa.Table,
    best: Sequence[str | Path],
    *,
    shown: int,
    survey: str,
    mock: bool,
    network: str,
    seeds: int,
    table: str,
    bands: Sequence[str] = BANDS,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page of a survey's own candidates, nothing injected, known lenses marked.

    Parameters
    ----------
    ranked : table of `rank_parents`
    best : tables of `learning.cutouts.best_stamps`, which hold the pixels of the first ones
    shown : galaxies on the page, at most
    survey, mock : the survey's name, and whether its sky is a mock
    network, seeds : the network, and the number of seeds whose mean the score is
    table : address of the whole list, relative to the page
    bands : what the survey gives for g, r and z
    pages : further addresses that the page links to, by their texts
    """
    scored = ranked.num_rows - ranked["score"].null_count
    first = ranked.slice(0, min(shown, scored)).to_pylist()
    pictures = _pictures([row["stamp_id"] for row in first], best)
    cards = [
        _card(
            row["rank"],
            row["stamp_id"],
            (row["score"], row["calibrated"]),
            pictures[row["stamp_id"]],
            (row["ra"], row["dec"]),
            known=row["known_name"] or ("lens" if row["known_lens"] else ""),
            kind=_sky_of(row),
        )
        for row in first
    ]
    side = f"{next(iter(pictures.values())).shape[-1] * PIXEL_SCALE_ARCSEC:.1f}" if pictures else "–"
    return render(
        "candidates.html",
        title=f"Candidates of survey {survey}, ranked by {network}",
        what="galaxies, nothing injected,",
        dataset=f"survey {survey}",
        members=_members(network, seeds),
        total=scored,
        notes=[
            *_search_notes(ranked, scored, len(first)),
            *(["The sky is a mock: the viewer shows what really is at these places."] if mock else []),
        ],
        table=table,
        bands=", ".join(bands),
        side=side,
        cards=cards,
        pages=dict(pages or {}),
    )


def _search_notes(ranked: pa.Table, scored: int, shown: int) -> list[str]:
    """Say where the known lenses stand, what the networks may have seen, and what has no score."""
    said = []
    known = ranked.filter(ranked["known_lens"])
    ranks = known.slice(0, known.num_rows - known["score"].null_count)["rank"].to_pylist()
    if ranks:
        among = sum(rank <= shown for rank in ranks)
        said.append(
            f"Of {len(ranks)} known lenses among them {among} {'stands' if among == 1 else 'stand'} on this page; "
            f"half of all have rank {int(np.median(ranks))} or better, of {scored:,}."
        )
    elif scored:
        said.append("No known lens is among them.")
    away = pc.sum(pc.invert(pc.equal(ranked["split"], "test"))).as_py() or 0
    if away:
        said.append(
            f"{away:,} galaxies lie in the training or validation sky, where the networks may have been told that they are controls: a lens among them scores too low."
        )
    other = pc.sum(pc.invert(ranked["like_training"])).as_py() or 0
    if other:
        said.append(f"{other:,} have a PSF outside the range that the networks were trained on.")
    if lost := ranked.num_rows - scored:
        reason = ranked.filter(pc.is_null(ranked["score"]))["reason"][0].as_py()
        said.append(f"{lost:,} have no usable cutout and no score; the first: {reason or 'its pixels are not finite'}.")
    return said


def _sky_of(row: Mapping[str, object]) -> str:
    """Say what is known of a galaxy, and what of its sky."""
    said = [str(row["contaminant_class"])] if row["contaminant_class"] else []
    said += [f"{row['split']} sky"] if row["split"] != "test" else []
    return ", ".join([f"r {row['mag_r']:.1f}", *said])


def _card(
    rank: int,
    name: str,
    scores: tuple[float, float],
    pixels: NDArray,
    place: tuple[float, float] | None,
    *,
    kind: str,
    known: str = "",
    named: bool = False,
) -> dict[str, str | int]:
    """Return what the page says of one candidate; `place` is ra and dec [deg], `named` shows the name beside it."""
    ra, dec = (f"{place[0]:.6f}", f"{place[1]:.6f}") if place else ("", "")
    where = f"{place[0]:.5f} {place[1]:+.5f}" if place else ""
    return {
        "rank": rank,
        "id": name,
        "score": f"{scores[0]:.4f}",
        # A network without a calibration gives its score again.
        "calibrated": "" if scores[1] == scores[0] else f"{scores[1]:.3f}",
        "place": " · ".join(text for text in (name if named or not place else "", where) if text),
        "ra": ra,
        "dec": dec,
        "viewer": f"{VIEWER}?{urlencode({'ra': ra, 'dec': dec, 'layer': 'ls-dr10', 'zoom': 16})}" if place else "",
        "known": known,
        "kind": kind,
        "picture": data_uri(_png(three_colours(pixels))),
    }


def _place(row: object) -> tuple[float, float] | None:
    return (row.ra, row.dec) if hasattr(row, "ra") and np.isfinite(row.ra) else None


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
            f"{short} {'cutout does not fill its' if short == 1 else 'cutouts do not fill their'} stamp (the emptiest {100 * least:.0f}% of it): "
            "pixels without data are 0, as no training stamp has so many."
        )
    holed = int((scored["ok"] & (scored["usable"] < MOSTLY)).sum()) if "usable" in scored else 0
    if holed:
        said.append(
            f"In {holed} {'cutout' if holed == 1 else 'cutouts'} more than half of the pixels are called bad in some band by the weights, noise or mask "
            "that came along: the scores are of what is left. Are they what the config says?"
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


def _passing(row: Mapping[str, object], detector: str) -> str:
    """Say how many controls of the network's own dataset score as high, where that is known."""
    share, controls = row.get(f"passing_{detector}", np.nan), row.get(f"controls_{detector}", 0)
    return "" if np.isnan(share) else f"{round(share * controls):,} of {controls:,} controls score as high"


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
