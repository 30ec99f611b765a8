"""What is checked of a lens-finder dataset, and of imported stamps in its table, and said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ...config.legacysurvey import BANDS, ZERO_POINT
from ...config.lensfinder import LensFinderDataset
from ...config.subhalo import SPLITS
from ...core.intervals import delong_interval
from ...core.rates import Ranked, auc
from ...stamps.checks import Checks
from ...stamps.gates import Verdict, gate, of_sample, same_in_both_classes, shares, words
from ...stamps.pieces import Piece, Stamps, few, joined
from .seen import SEEN, central_columns

KINDS = ("lensfinder", "imported")
CONDITIONS = tuple(f"{name}_{b}" for name in ("psfsize", "psfdepth", "mag") for b in BANDS)
#: Measures of hosts before anything is injected, of which magnitude, colours and size of their cores are made.
HOST = (*(f"host_core_flux_{b}" for b in BANDS), "host_size_arcsec")
HOST_MEASURES = ("host_gr", "host_rz", "host_mag_r", "host_size_arcsec")
#: Columns of the table of distributions.
DESCRIBED = (
    "arc_snr", "arc_snr_sum", "arc_snr_matched", "theta_e_arcsec", "theta_over_psf", "lensed_hlr_arcsec", "magnification",
    "tangential_stretch", "radial_stretch", "src_dmag", "src_reff_arcsec", "src_gr", "src_rz", "total_injected_flux_r",
    "psf_fwhm_used_g", "psf_fwhm_used_r", "psf_fwhm_used_z", "psfsize_r", "psfdepth_r", "sky_sigma_r", "mag_g", "mag_r", "mag_z",
    "ebv", "bad_pixel_frac",
)  # fmt: skip
#: Bounds of lensed flux in the stamp over magnification times the flux of the source's magnitude, in the median.
FLUX_SCALE = (0.9, 1.02)
#: Fewest stamps of a class in the regression on central pixels, most of a split, its penalty, and its flux scale [nanomaggies].
LEAST_CORE, PROBED, PENALTY, SOFTENING = 50, 20_000, 1.0, 0.1
#: Positions closer than this count as one galaxy [deg].
SAME_PLACE_DEG = 1e-4


def _place(table: Piece) -> pd.Series:
    return np.rint(table["dec"] / SAME_PLACE_DEG) * 4_000_000 + np.rint(table["ra"] / SAME_PLACE_DEG)


def _caption(row: dict) -> str:
    if row["label"] == 0:
        kind = row["contaminant_class"]
        return f"r {row['mag_r']:.1f}" + (f", {kind}" if isinstance(kind, str) else "")
    return f"θ_E {row['theta_e_arcsec']:.2f}″, r {row['mag_r']:.1f}, arc S/N {row['arc_snr']:.1f}"


def _notes(dataset: LensFinderDataset) -> tuple[str, ...]:
    notes = [
        "Sources have one morphology in all bands; their colours are drawn from a prior.",
        "An arc's Poisson noise assumes "
        + ", ".join(f"{v:g} electrons per nanomaggy in {b}" for b, v in dataset.camera.electrons_per_nanomaggy.items())
        + "."
        if dataset.camera.poisson
        else "Arcs bring no Poisson noise of their own.",
        "A source's magnitude is that of the unlensed source: the host's r magnitude as observed plus src_dmag.",
    ]
    if dataset.controls == "paired":
        notes.append(
            "Controls are the positives' own galaxies: the sum of a stamp's pixels ranks every pair rightly, and a network can learn that alone."
        )
    return tuple(notes)


CHECKS = Checks(
    seen=SEEN,
    described=DESCRIBED,
    keys={"regions": "region_id", "hosts": "object_id", "places": _place, "source galaxies": "source_id"},
    counted={"hosts": "object_id", "regions": "region_id", "bricks": "brickname", "sources": "source_id"},
    planes=lambda pictures: pictures["image"],
    caption=_caption,
    ranked=("arc_snr", "Brightest arcs", "Faintest arcs"),
    notes=_notes,
)


@gate("split fractions", *KINDS)
def split_fractions(stamps: Stamps) -> Verdict:
    """Shares of the stamps in the splits."""
    dataset = stamps.dataset
    if hasattr(dataset, "size"):
        asked = {s: float(getattr(dataset.size, s)) for s in SPLITS}
    else:
        asked = {s: dataset.splits.fractions.get(s, 0.0) if dataset.shards(s) else 0.0 for s in SPLITS}
    return shares({s: 0 for s in SPLITS} | stamps.rows, asked, dataset.splits.tolerance)


@gate("cutouts", *KINDS)
def cutouts(stamps: Stamps) -> Verdict:
    """Enough cutouts are ok, as many in both classes."""
    limits = stamps.dataset.gates
    counts = stamps.each(lambda t: np.bincount(2 * (t["label"] == 1) + t["cutout_ok"], minlength=4).reshape(2, 2))
    share = {split: float(n[:, 1].sum() / n.sum()) for split, n in counts.items()}
    found = sum(counts.values())
    p = float(stats.chi2_contingency(found).pvalue) if found.any(0).all() and found.any(1).all() else 1.0
    asked = f"at least {limits.min_cutout_ok:g} ok in each split, as often in both classes (p above {limits.false_alarm:g})"
    return asked, f"{words(share)}, p = {p:.2g}", min(share.values()) >= limits.min_cutout_ok and p >= limits.false_alarm


@gate("hosts", *KINDS)
def hosts(stamps: Stamps) -> Verdict:
    """No galaxy with an arc and without one, unless the config pairs them: the arc would be all that differs."""

    def by_class(split: str, piece: Piece) -> dict[str, pd.Series]:
        rows = piece[["label", "object_id"]]
        return {"positives": rows["object_id"][rows["label"] == 1], "controls": rows["object_id"][rows["label"] == 0]}

    both = sum(len(np.intersect1d(part["positives"], part["controls"])) for part in stamps.different(by_class))
    if getattr(stamps.dataset, "controls", "unpaired") == "paired":
        return "controls are the positives' hosts", f"{both} galaxies in both classes", both > 0
    return "no galaxy both a positive's host and a control", f"{both} in both classes", not both


@gate("flux closure", *KINDS)
def flux_closure(stamps: Stamps) -> Verdict:
    """The unlensed source has the flux of its magnitude."""
    limit, unknown, greatest = stamps.dataset.gates.flux_closure, 0, []
    for _, piece in stamps.pieces():
        values = _made(piece[["label", "cutout_ok", "flux_closure"]])["flux_closure"].to_numpy(float)
        known = values[np.isfinite(values)]
        unknown += len(values) - len(known)
        greatest += [known.max()] if len(known) else []
    asked = f"every source's flux within {limit:g} of its magnitude's"
    if not greatest:
        return asked, "not judged: the table does not say", True
    return asked, f"greatest difference {max(greatest):.2g}, {unknown} not known", bool(max(greatest) <= limit)


@gate("flux scale", *KINDS)
def flux_scale(stamps: Stamps) -> Verdict:
    """Arcs are as bright as magnitude and magnification say: wrong units of surface brightness show here."""
    columns = ("label", "cutout_ok", "magnification", "mag_r", "src_dmag", "total_injected_flux_r")
    made = pd.concat([_made(rows) for _, rows in stamps.samples(columns)])
    expected = made["magnification"] * 10 ** (0.4 * (ZERO_POINT - made["mag_r"] - made["src_dmag"]))
    ratio = (made["total_injected_flux_r"] / expected).to_numpy(float)
    ratio = ratio[np.isfinite(ratio)]
    asked = f"median of injected over magnified flux between {FLUX_SCALE[0]:g} and {FLUX_SCALE[1]:g}"
    if not len(ratio):
        return asked, "not judged: the table does not say", True
    middle = float(np.median(ratio))
    return of_sample(stamps, (asked, f"{middle:.4g}", FLUX_SCALE[0] <= middle <= FLUX_SCALE[1]))


@gate("central pixels", *KINDS)
def central_pixels(stamps: Stamps) -> Verdict:
    """A logistic regression on the central pixels alone must not tell resolved lenses from controls."""
    limits = stamps.dataset.gates
    asked = f"AUC at most {limits.core_auc:g} from {limits.core_pixels} central pixels in each band, θ_E/PSF at least {limits.core_theta_over_psf:g}"
    chosen, columns = {}, [c.name for c in central_columns(stamps.dataset)]
    for split in stamps.rows:
        kept: list[pd.DataFrame] = []
        for _, piece in stamps.pieces(split):
            rows = piece[["number", "label", "usable", "theta_over_psf", *columns]]
            kept = [few(joined([*kept, rows[rows["usable"]]]), PROBED)]
        [rows] = kept
        rows = rows[(rows["label"] == 0) | ~(rows["theta_over_psf"].astype(float) < limits.core_theta_over_psf)]
        chosen[split] = (np.arcsinh(rows[columns].to_numpy(float) / SOFTENING), rows["label"].to_numpy())
    fit, judged = chosen.get("train"), chosen.get("test", chosen.get("validation"))
    if fit is None or judged is None or min((part[1] == k).sum() for part in (fit, judged) for k in (0, 1)) < LEAST_CORE:
        return asked, f"not judged: fewer than {LEAST_CORE} stamps of a class in training or test", True
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000))
    with threadpool_limits(1):
        score = regression.fit(*fit).decision_function(judged[0])
    area = float(roc_auc_score(judged[1], score))
    return asked, f"AUC {area:.3f}", area <= limits.core_auc


@gate("PSF, depth, magnitude", *KINDS)
def same_conditions(stamps: Stamps) -> Verdict:
    """Positives and controls drawn from the same PSF, depth and magnitude, each galaxy once."""
    samples = stamps.samples(("label", "object_id", *CONDITIONS))
    once = ((split, rows.drop_duplicates(["label", "object_id"])) for split, rows in samples)
    return of_sample(stamps, same_in_both_classes(once, CONDITIONS, stamps.dataset.gates.false_alarm))


@gate("core colour", *KINDS)
def core_colour(stamps: Stamps) -> Verdict:
    """Bare hosts of positives as red as controls: whatever makes them bluer gives positives away without an arc."""
    return _same_hosts(stamps, ("host_gr", "host_rz"))


@gate("core magnitude", *KINDS)
def core_magnitude(stamps: Stamps) -> Verdict:
    """Bare hosts of positives as bright as controls."""
    return _same_hosts(stamps, ("host_mag_r",))


@gate("host size", *KINDS)
def host_size(stamps: Stamps) -> Verdict:
    """Bare hosts of positives as large as controls."""
    return _same_hosts(stamps, ("host_size_arcsec",))


@gate("bare hosts", *KINDS)
def bare_hosts(stamps: Stamps) -> Verdict:
    """A logistic regression on colour, magnitude and size of bare hosts must not tell positives from controls."""
    limit = stamps.dataset.gates.host_auc
    asked = f"AUC within {limit:g} of 0.5, or its 99.9% interval holds 0.5"
    hosts = pd.concat(_hosts(stamps).values(), ignore_index=True)
    if len(hosts) and hosts["label"].value_counts().min() >= LEAST_CORE and hosts["label"].nunique() == 2:
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000))
        values, label = hosts[list(HOST_MEASURES)].to_numpy(float), hosts["label"].to_numpy()
        with threadpool_limits(1):
            score = cross_val_predict(
                regression, values, label, cv=StratifiedKFold(5, shuffle=True, random_state=0), method="decision_function"
            )
        ranked = Ranked(np.sort(score[label == 1]), np.sort(score[label == 0]))
        area, (low, high) = auc(ranked), delong_interval(ranked, 0.999)
        passed = abs(area - 0.5) <= limit or low <= 0.5 <= high
        return of_sample(stamps, (asked, f"AUC {area:.3f} ({low:.3f} to {high:.3f})", passed))
    return asked, f"not judged: fewer than {LEAST_CORE} hosts of a class with measures", True


def _hosts(stamps: Stamps) -> dict[str, pd.DataFrame]:
    """Return measures of the bare hosts, each galaxy once in each class, of every split that has some."""
    found = {}
    for split, rows in stamps.samples(("label", "object_id", *HOST)):
        rows = rows.drop_duplicates(["label", "object_id"])
        flux = rows[list(HOST[:3])].to_numpy(float)
        kept = (flux > 0).all(1) & np.isfinite(rows["host_size_arcsec"].to_numpy(float))
        mag = ZERO_POINT - 2.5 * np.log10(flux[kept])
        measures = (mag[:, 0] - mag[:, 1], mag[:, 1] - mag[:, 2], mag[:, 1], rows["host_size_arcsec"].to_numpy(float)[kept])
        found[split] = pd.DataFrame({"label": rows["label"].to_numpy()[kept], **dict(zip(HOST_MEASURES, measures, strict=True))})
    return found


def _same_hosts(stamps: Stamps, columns: tuple[str, ...]) -> Verdict:
    hosts = {split: rows for split, rows in _hosts(stamps).items() if len(rows)}
    if not hosts:
        return "bare hosts alike in both classes", "not judged: the table does not say", True
    return of_sample(stamps, same_in_both_classes(hosts.items(), columns, stamps.dataset.gates.false_alarm))


def _made(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["label"] == 1) & rows["cutout_ok"]]
