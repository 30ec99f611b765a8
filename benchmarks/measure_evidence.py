"""What the model-based detector reaches: whether it finds the lens, AUC by channel and stratum, what velocity adds, and false positives.

Takes shards of findings and of the stamps they belong to (labels, strata and true lenses come from these), in the same order:

    snakemake --cores 2 --configfile config/subhalo-reference.yaml results/reference/findings/informative/informative/test/00000.parquet
    PYTHONPATH=workflow/scripts python benchmarks/measure_evidence.py \\
        --findings results/reference/findings/informative/informative/test/*.parquet \\
        --stamps results/reference/datasets/informative/stamps/test/*.parquet

With --validation FINDINGS… --validation-stamps STAMPS… thresholds come from validation stamps, else from one half of the test controls
(and are tried on the other half). With --observers (`results/…/observers/informative.csv` of rule `observe_marginal`) the detector's own √ν′
at the place where it found the subhalo is told as a share of the marginal observer's d′, and the blind ceiling's AUC. With --variants
NAME=FINDINGS:STAMPS … rows of robustness variants are added to the first table, and their false positives to the last. With --plot FILE
quantiles of controls' z are drawn: of z_max, and with --injections FILE (of `recover_injections.py`) of z at one place, against N(0, 1).

Intervals are 95% of 1,000 bootstraps over stamps, paired where two channels are compared. Stamps of one galaxy count as independent.
"""

from __future__ import annotations

import argparse
import glob
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import norm, rankdata

from darkhaloscope.evaluation.information import ideal_auc

CHANNELS = ("flux", "velocity", "both")
#: Paired differences that are told: the first less the second.
DIFFERENCES = (("both", "flux"), ("both", "velocity"))
STRATA = ("subhalo_profile", "mass_bin", "source_kind", "peak_snr")
SNR_EDGES = (0, 16, 22, np.inf)
BOOTSTRAPS = 1000
#: What false positives may come from, beside the source's kind: columns whose upper and lower halves are told.
HALVES = ("multipoles", "disk_knot_fraction")
LEVELS = np.array((0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99))
#: Columns of the stamps that a true lens is made of; vectors as length and direction, and how many turns the direction takes.
SCALARS = {"theta_e": "theta_e_arcsec", "slope": "lens_slope", "x": "lens_x_arcsec", "y": "lens_y_arcsec"}
VECTORS = {"e": ("lens_e", "lens_phi_rad", 2), "gamma": ("shear", "shear_phi_rad", 2)}
#: A lens counts as found where θ_E and ellipticity are nearer to the truth than this share of the population's standard deviation.
NEAR = {"theta_e": 0.5, "e1": 1.2, "e2": 1.2}
FALSE_POSITIVES = (0.1, 0.05, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", nargs="+", required=True)
    parser.add_argument("--stamps", nargs="+", required=True)
    parser.add_argument("--validation", nargs="+", default=[])
    parser.add_argument("--validation-stamps", nargs="+", default=[])
    parser.add_argument("--observers")
    parser.add_argument("--plot")
    parser.add_argument("--injections")
    parser.add_argument("--variants", nargs="+", default=[], metavar="NAME=FINDINGS:STAMPS")
    arguments = parser.parse_args()
    frame = read(arguments.findings, arguments.stamps)
    tell_lens(frame)
    tell_aucs(frame)
    thresholds = read(arguments.validation, arguments.validation_stamps) if arguments.validation else None
    tell_rates(frame, thresholds)
    tell_quantiles(frame)
    for variant in arguments.variants:
        name, paths = variant.split("=", 1)
        other = read(*(sorted(glob.glob(path)) for path in paths.split(":")))
        print(f"\n{name}")
        tell_line("all", other)
        tell_rates(other, frame if thresholds is None else thresholds)
        tell_quantiles(other)
    if arguments.observers:
        tell_shares(frame, pd.read_csv(arguments.observers))
    if arguments.plot:
        plot_quantiles(frame, pd.read_parquet(arguments.injections) if arguments.injections else None, arguments.plot)


def read(findings: Sequence[str], stamps: Sequence[str]) -> pd.DataFrame:
    """Return findings beside labels, strata and true lenses of their stamps."""
    columns = [
        "stamp_id",
        "label",
        "multipole_m3",
        "multipole_m4",
        "disk_knot_fraction",
        *STRATA,
        *SCALARS.values(),
        *(c for length, angle, _ in VECTORS.values() for c in (length, angle)),
    ]
    known = pd.concat([pq.read_table(path, columns=columns).to_pandas() for path in stamps])
    found = pd.concat([pq.read_table(path).to_pandas() for path in findings])
    known["multipoles"] = np.hypot(known["multipole_m3"], known["multipole_m4"])
    return found.merge(known, on="stamp_id", validate="one_to_one").assign(peak_snr=lambda f: pd.cut(f["peak_snr"], SNR_EDGES))


def tell_lens(frame: pd.DataFrame) -> None:
    """Print how often the lens is found, and its errors in units of those that the fit states."""
    truth = {name: frame[column] for name, column in SCALARS.items()}
    for name, (length, angle, turns) in VECTORS.items():
        truth |= {f"{name}1": frame[length] * np.cos(turns * frame[angle]), f"{name}2": frame[length] * np.sin(turns * frame[angle])}
    fitted = frame["fit_theta_e"].notna()
    near = pd.Series(True, frame.index)
    for name, share in NEAR.items():
        near &= ((frame[f"fit_{name}"] - truth[name]).abs() < share * truth[name].std()).fillna(False)
    unseen = frame["trusted"] & ~near
    print(
        f"{len(frame)} stamps, {int(frame['label'].sum())} with a subhalo; lens found {near.mean():.1%}"
        f" (controls {near[frame['label'] == 0].mean():.1%}), fit not trusted {1 - frame['trusted'].mean():.1%}, wrong and trusted"
        f" {unseen.mean():.1%}, too little light {1 - fitted.mean():.1%}"
    )
    control = near & (frame["label"] == 0)
    pulls = {name: ((frame[f"fit_{name}"] - truth[name]) / frame[f"fit_{name}_error"])[control] for name in truth}
    told = ", ".join(
        f"{name} {np.nanmedian(p):+.2f} ± {np.nanmedian(np.abs(p - np.nanmedian(p))) * 1.4826:.2f}" for name, p in pulls.items()
    )
    print(f"(found - true)/error of controls whose lens was found, median ± scaled median deviation: {told}")


def tell_aucs(frame: pd.DataFrame) -> None:
    """Print AUC of ln B by channel, what channels add to each other, and by stratum."""
    heads = [*CHANNELS, *(f"{a} - {b}" for a, b in DIFFERENCES)]
    print(f"{'':28}{'stamps':>7}" + "".join(f"{c:>24}" for c in heads))
    tell_line("all", frame)
    tell_line("trusted", frame[frame["trusted"]])
    for name in STRATA:
        for value, group in frame.groupby(name, observed=True):
            tell_line(f"{name} {value}", group)


def tell_line(name: str, group: pd.DataFrame) -> None:
    """Print a row of the table of AUCs."""
    if group["label"].nunique() == 2:
        print(f"{name:28}{len(group):7}" + "".join(f"{_text(*interval):>24}" for interval in _aucs(group)))


def tell_rates(frame: pd.DataFrame, thresholds: pd.DataFrame | None) -> None:
    """Print the share of subhalos and of controls above thresholds that other controls have set."""
    if thresholds is None:
        controls = frame.index[frame["label"] == 0]
        source, tried = frame.loc[controls[::2]], frame.drop(controls[::2])
        print("\nRates; thresholds from every second control, tried on the others")
    else:
        source, tried = thresholds[thresholds["label"] == 0], frame
        print(f"\nRates; thresholds from {len(source)} controls")
    label = tried["label"].to_numpy(bool)
    print(f"{'':20}{'aimed FPR':>10}{'threshold':>10}{'FPR':>20}{'TPR':>20}")
    for metric in ("log_bayes", "z_max"):
        for channel in CHANNELS:
            values = tried[f"{metric}_{channel}"].to_numpy()
            for rate in FALSE_POSITIVES:
                cut = np.quantile(source[f"{metric}_{channel}"], 1 - rate)
                shares = "".join(f"{_share(values[rows] > cut):>20}" for rows in (~label, label))
                print(f"{metric + ' ' + channel:20}{rate:10.0%}{cut:10.2f}{shares}")


def tell_quantiles(frame: pd.DataFrame) -> None:
    """Print quantiles of controls' z_max beside those of the greatest of some independent normal numbers."""
    controls = frame[(frame["label"] == 0) & frame["trusted"]]
    print(f"\nz_max of {len(controls)} trusted controls, by quantile; below, of the greatest of k normal numbers with the same median")
    print(f"{'':32}{'stamps':>6}" + "".join(f"{q:8.0%}" for q in LEVELS))
    groups = groups_of(controls)
    for channel in CHANNELS:
        for name, group in groups:
            values = group[f"z_max_{channel}"].to_numpy()
            print(f"{channel + ' ' + name:32}{len(group):6}" + "".join(f"{q:8.2f}" for q in np.quantile(values, LEVELS)))
        median = np.median(controls[f"z_max_{channel}"])
        places = max(np.log(0.5) / np.log(norm.cdf(median)), 1)
        print(f"{f'  k = {places:.0f}':38}" + "".join(f"{q:8.2f}" for q in norm.ppf(LEVELS ** (1 / places))))


def groups_of(controls: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return controls by what might be taken for a subhalo: kind of source, upper and lower half of multipoles and of knots."""
    groups = [("all", controls), *((str(kind), group) for kind, group in controls.groupby("source_kind"))]
    for column in HALVES:
        middle = controls[column].median()
        groups += [
            (f"{column} {sign} {middle:.3f}", controls[part])
            for sign, part in ((">", controls[column] > middle), ("<=", controls[column] <= middle))
        ]
    return groups


def plot_quantiles(frame: pd.DataFrame, injections: pd.DataFrame | None, path: str) -> None:
    """Draw quantiles of controls' z against those that they would have if the detector's model were true."""
    from matplotlib.figure import Figure

    figure = Figure((7.1, 2.9), layout="constrained")
    *before, greatest = figure.subplots(1, 1 if injections is None else 2, squeeze=False)[0]
    for one in before:
        z = np.sort(injections["before"].dropna())
        expected = norm.ppf((np.arange(len(z)) + 0.5) / len(z))
        one.plot(expected, z, ".", ms=3)
        one.axline((0, 0), slope=1, color="0.5", lw=0.8)
        one.set(xlabel="quantile of N(0, 1)", ylabel="z at one place, flux and velocity", title=f"{len(z)} controls")
    controls = frame[(frame["label"] == 0) & frame["trusted"]]
    median = controls["z_max_both"].median()
    places = max(np.log(0.5) / np.log(norm.cdf(median)), 1)
    for name, group in groups_of(controls):
        if name in ("all", "disk", "hybrid", "manga"):
            z = np.sort(group["z_max_both"])
            level = (np.arange(len(z)) + 0.5) / len(z)
            greatest.plot(norm.ppf(level ** (1 / places)), z, ".", ms=3, label=f"{name} ({len(z)})")
    greatest.axline((median, median), slope=1, color="0.5", lw=0.8)
    greatest.set(xlabel=f"greatest of {places:.0f} normal numbers", ylabel="z_max, flux and velocity", title="trusted controls")
    greatest.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=200)


def tell_shares(frame: pd.DataFrame, observers: pd.DataFrame) -> None:
    """Print √ν′ at the place found, as a share of the marginal observer's d′, of stamps with a subhalo."""
    both = frame[frame["label"] == 1].merge(observers.drop(columns=[c for c in STRATA if c in observers]), on="stamp_id")
    print(f"\n√ν′ where the subhalo was found, over the marginal observer's d′: median [quartiles] of {len(both)} stamps")
    groups = [("all", both)] + [(f"{name} {value}", group) for name in STRATA for value, group in both.groupby(name, observed=True)]
    for name, group in groups:
        line = []
        for channel in CHANNELS:
            share = group[f"d_prime_{channel}"] / group[f"marginal_d_prime_{channel}"].replace(0, np.nan)
            line.append(f"{channel} {share.median():.2f} [{share.quantile(0.25):.2f}, {share.quantile(0.75):.2f}]")
        print(f"{name:28}{len(group):5}  " + "  ".join(line))
    tell_ceiling(frame[frame["source_kind"] != "manga"], observers)


def tell_ceiling(analytic: pd.DataFrame, observers: pd.DataFrame) -> None:
    """Print AUC and d′ of the marginal and the blind observer over their stamps, and of the detector over all stamps with such sources.

    d′ = √2 Φ⁻¹(AUC) in all three, so that they compare; the marginal observer's AUC is `ideal_auc` of its d′.
    """
    known = observers.merge(analytic[["stamp_id", *STRATA]], on="stamp_id", suffixes=("_", ""))
    print(f"\nAUC (d′) of observers over {len(known)} disks and hybrids, of this detector over {len(analytic)}; its share of both d′")
    groups = [("all", known, analytic)]
    for name in ("subhalo_profile", "mass_bin"):
        groups += [(f"{name} {value}", known[known[name] == value], part) for value, part in analytic.groupby(name)]
    for name, seen, part in groups:
        for channel, (auc, low, high) in zip(CHANNELS, _aucs(part), strict=False):
            found = {"marginal": ideal_auc(*[seen[f"marginal_d_prime_{channel}"]] * 2)[0]}
            if f"blind_auc_{channel}" in seen:
                found["blind"] = seen[f"blind_auc_{channel}"].mean()
            own = np.sqrt(2) * norm.ppf(auc)
            told = "  ".join(
                f"{who} {a:.3f} ({np.sqrt(2) * norm.ppf(a):.2f}): {own / (np.sqrt(2) * norm.ppf(a)):4.0%}" for who, a in found.items()
            )
            print(f"{name:24}{channel:10}{len(seen):4} {len(part):5}  detector {auc:.3f} [{low:.3f}, {high:.3f}] ({own:.2f})  {told}")


def _aucs(group: pd.DataFrame) -> list[tuple[float, float, float]]:
    label = group["label"].to_numpy(bool)
    values = {c: group[f"log_bayes_{c}"].to_numpy() for c in CHANNELS}

    def aucs(rows: np.ndarray) -> list[float]:
        of = {c: _auc(v[rows], label[rows]) for c, v in values.items()}
        return [*of.values(), *(of[a] - of[b] for a, b in DIFFERENCES)]

    rng = np.random.default_rng(1)
    positive, negative = np.flatnonzero(label), np.flatnonzero(~label)
    draws = np.array(
        [aucs(np.concatenate([rng.choice(positive, len(positive)), rng.choice(negative, len(negative))])) for _ in range(BOOTSTRAPS)]
    )
    return [(value, *np.quantile(d, (0.025, 0.975))) for value, d in zip(aucs(np.arange(len(label))), draws.T, strict=True)]


def _auc(values: np.ndarray, label: np.ndarray) -> float:
    n1 = label.sum()
    return (rankdata(values)[label].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(label) - n1))


def _share(passed: np.ndarray) -> str:
    """A share with its 95% interval (Wilson 1927)."""
    n, p = max(len(passed), 1), passed.mean() if len(passed) else np.nan
    middle, half = (p + 1.92 / n) / (1 + 3.84 / n), 1.96 * np.sqrt(p * (1 - p) / n + 0.96 / n**2) / (1 + 3.84 / n)
    return f"{p:.2f} [{middle - half:.2f}, {middle + half:.2f}]"


def _text(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
