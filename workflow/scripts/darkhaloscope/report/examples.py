"""Choosing the stamps that a reader sees, and reading their pictures; the choice depends on the stamps alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.tables import images
from .context import Browser, ColourBrowser, ReportError, ReportSettings

#: Columns of a stamp that the browser shows, where the table has them.
BROWSER_COLUMNS = (
    "subhalo_profile",
    "mass_bin",
    "log10_mass_msun",
    "source_kind",
    "galaxy_id",
    "theta_e_arcsec",
    "theta_over_psf",
    "peak_snr",
    "arc_snr_matched",
    "magnification",
    "mask_fraction",
    "subhalo_x_arcsec",
    "subhalo_y_arcsec",
    "subhalo_arc_distance_arcsec",
    "subhalo_critical_distance_arcsec",
    "d_prime_flux",
    "d_prime_velocity",
    "d_prime_both",
)
#: The same of the lens finder's stamps.
LENS_COLUMNS = (
    *("contaminant_class", "source_kind", "theta_e_arcsec", "theta_over_psf", "arc_snr", "arc_snr_matched", "lensed_hlr_arcsec"),
    *("magnification", "src_dmag", "src_reff_arcsec", "mag_r", "psf_fwhm_used_r", "psfdepth_r", "bad_pixel_frac", "ra", "dec", "brickname"),
)
#: Share of the browser's sample that is the most misleading stamps of each class.
TAIL_SHARE = 0.125


def collect_examples(stamp_table: pa.Table | pd.DataFrame, scores: pd.Series | np.ndarray, n: int) -> dict[str, list[str]]:
    """Return the stamps worth looking at first.

    Parameters
    ----------
    stamp_table : table with `stamp_id` and `label`
    scores : (rows,) float
        Score of each row.
    n : int
        Stamps per group.

    Returns
    -------
    dict
        `stamp_id`s under `highest-scored controls`, `lowest-scored positives` and `random`. Ties are
        broken and random ones chosen by a hash of the id, so the order of the rows does not matter.
    """
    frame = _frame(stamp_table, ("stamp_id", "label"))
    if len(scores) != len(frame):
        raise ReportError(f"{len(frame)} stamps but {len(scores)} scores; give one score per stamp")
    frame = frame.assign(score=np.asarray(scores, float), order=[_order(i) for i in frame["stamp_id"]])
    controls, positives = frame[frame["label"] == 0], frame[frame["label"] == 1]
    groups = {
        "highest-scored controls": controls.sort_values(["score", "order"], ascending=[False, True]),
        "lowest-scored positives": positives.sort_values(["score", "order"]),
        "random": frame.sort_values("order"),
    }
    return {name: group["stamp_id"].head(n).tolist() for name, group in groups.items()}


def merge_scores(tables: Mapping[tuple[str, int], pa.Table | pd.DataFrame], columns: Sequence[str] = BROWSER_COLUMNS) -> pd.DataFrame:
    """Return one row per stamp with `score_NETWORK`, the mean over seeds, and the columns that the browser shows.

    Parameters
    ----------
    tables : mapping of (network, seed) to a table of scores
        All on the same stamps of one dataset; rows of other splits than test are left out.
    columns : names of columns to show, where the tables have them
    """
    if not tables:
        raise ReportError("no score tables were given; the stamp browser needs those of at least one network")
    first = None
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for (network, seed), table in tables.items():
        frame = _frame(table, ("stamp_id", "label", "score", "split", *columns), needed=("stamp_id", "label", "score"))
        if "split" in frame:
            frame = frame[frame["split"] == "test"].drop(columns="split")
        frame = frame.sort_values("stamp_id", ignore_index=True)
        if first is None:
            first = frame.drop(columns="score")
        elif not np.array_equal(first["stamp_id"].to_numpy(), frame["stamp_id"].to_numpy()):
            raise ReportError(f"network {network}, seed {seed} was not scored on the same stamps as the others; score them again")
        sums[network] = sums.get(network, 0.0) + frame["score"].to_numpy(float)
        counts[network] = counts.get(network, 0) + 1
    scores = {f"score_{network}": total / counts[network] for network, total in sums.items()}
    return pd.concat([first[["stamp_id", "label"]], pd.DataFrame(scores), first.drop(columns=["stamp_id", "label"])], axis=1)


def choose_browser_rows(rows: pd.DataFrame, network: str, settings: ReportSettings) -> pd.DataFrame:
    """Return the rows of the stamp browser: all, or the tails of `network`'s scores and others by hash of the id.

    The rows are ordered by score, best first, so that neighbours in the browser share a sprite sheet.
    """
    score = f"score_{network}"
    if len(rows) > settings.browser_stamps:
        tail = max(1, int(settings.browser_stamps * TAIL_SHARE))
        groups = collect_examples(rows, rows[score], len(rows))
        wanted = dict.fromkeys([*groups["highest-scored controls"][:tail], *groups["lowest-scored positives"][:tail]])
        for stamp in groups["random"]:
            if len(wanted) >= settings.browser_stamps:
                break
            wanted[stamp] = None
        chosen = list(wanted)[: settings.browser_stamps]
        rows = rows[rows["stamp_id"].isin(chosen)]
    return rows.sort_values([score, "stamp_id"], ascending=[False, True], ignore_index=True)


def collect_browser(
    tables: Mapping[tuple[str, int], pa.Table | pd.DataFrame], shards: Iterable[str | os.PathLike], network: str, settings: ReportSettings
) -> Browser:
    """Return the stamp browser's rows and images; only the images of chosen stamps stay in memory."""
    rows = merge_scores(tables)
    total = len(rows)
    rows = choose_browser_rows(rows, network, settings)
    return Browser(rows=rows, total=total, **read_images(shards, rows["stamp_id"].tolist()))


def collect_colour_browser(
    tables: Mapping[tuple[str, int], pa.Table | pd.DataFrame], shards: Iterable[str | os.PathLike], network: str, settings: ReportSettings
) -> ColourBrowser:
    """Return the stamp browser's rows and images of the lens finder's stamps."""
    rows = merge_scores(tables, LENS_COLUMNS)
    total = len(rows)
    rows = choose_browser_rows(rows, network, settings)
    return ColourBrowser(rows=rows, total=total, **read_images(shards, rows["stamp_id"].tolist(), ("image",)))


def read_images(
    shards: Iterable[str | os.PathLike], stamp_ids: list[str], names: Sequence[str] = ("flux", "velocity", "mask")
) -> dict[str, np.ndarray]:
    """Return image columns of stamps, (n, …, size, size), in the order of their ids.

    Raises
    ------
    ReportError
        A stamp is in none of the shards.
    """
    place = {stamp: i for i, stamp in enumerate(stamp_ids)}
    wanted = pa.array(list(place), pa.string())
    out: dict[str, np.ndarray] = {}
    found = 0
    for shard in shards:
        with pq.ParquetFile(shard) as file:
            for group in range(file.num_row_groups):
                here = pc.is_in(file.read_row_group(group, columns=["stamp_id"])["stamp_id"], value_set=wanted)
                if not pc.any(here).as_py():
                    continue
                part = file.read_row_group(group, columns=["stamp_id", *names]).filter(here)
                at = [place[i] for i in part["stamp_id"].to_pylist()]
                for name in names:
                    data = images(part, name)
                    out.setdefault(name, np.zeros((len(place), *data.shape[1:]), data.dtype))[at] = data
                found += len(at)
    if found != len(place):
        raise ReportError(
            f"{len(place) - found} of {len(place)} scored stamps are in none of the shards given; score the present shards again"
        )
    return out


def _frame(table: pa.Table | pd.DataFrame, columns: Iterable[str], needed: Iterable[str] | None = None) -> pd.DataFrame:
    names = table.column_names if isinstance(table, pa.Table) else list(table.columns)
    missing = [c for c in (columns if needed is None else needed) if c not in names]
    if missing:
        raise ReportError(f"a table of stamps lacks the columns {missing}; it has {names}")
    kept = [c for c in columns if c in names]
    return table.select(kept).to_pandas() if isinstance(table, pa.Table) else table[kept].reset_index(drop=True)


def _order(stamp: str) -> bytes:
    return hashlib.sha256(stamp.encode()).digest()
