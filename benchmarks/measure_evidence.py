"""What the model-based detector reaches: AUC by channel and stratum, what velocity adds, and z under controls.

Takes shards of findings and of the stamps they belong to (labels and strata come from these), in the same order:

    snakemake --cores 2 --configfile config/subhalo-reference.yaml results/reference/findings/informative/informative/test/00000.parquet
    PYTHONPATH=workflow/scripts python benchmarks/measure_evidence.py \\
        --findings results/reference/findings/informative/informative/test/*.parquet \\
        --stamps results/reference/datasets/informative/stamps/test/*.parquet

Intervals are 95% of 1,000 bootstraps over stamps, paired where two channels are compared. Stamps of one galaxy count as independent.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import norm, rankdata

CHANNELS = ("flux", "velocity", "both")
STRATA = ("subhalo_profile", "mass_bin", "source_kind", "peak_snr")
SNR_EDGES = (0, 16, 22, np.inf)
BOOTSTRAPS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", nargs="+", required=True)
    parser.add_argument("--stamps", nargs="+", required=True)
    arguments = parser.parse_args()
    columns = ["stamp_id", "label", *STRATA]
    stamps = pd.concat([pq.read_table(path, columns=columns).to_pandas() for path in arguments.stamps])
    found = pd.concat([pq.read_table(path).to_pandas() for path in arguments.findings])
    tell(found.merge(stamps, on="stamp_id", validate="one_to_one"))


def tell(frame: pd.DataFrame) -> None:
    """Print the tables of findings with the stamps' label and strata."""
    frame = frame.assign(peak_snr=pd.cut(frame["peak_snr"], SNR_EDGES))
    print(f"{len(frame)} stamps, {int(frame['label'].sum())} with a subhalo; {1 - frame['trusted'].mean():.1%} of the fits not trusted")
    print(f"{'':28}{'stamps':>7}" + "".join(f"{c:>24}" for c in CHANNELS) + f"{'both - flux':>24}")
    groups = [("all", frame)] + [(f"{name} {value}", group) for name in STRATA for value, group in frame.groupby(name, observed=True)]
    for name, group in groups:
        if group["label"].nunique() == 2:
            print(f"{name:28}{len(group):7}" + "".join(f"{_text(*interval):>24}" for interval in _aucs(group)))
    for metric in ("z_max", "log_bayes"):
        label = frame["label"].to_numpy(bool)
        line = []
        for rate in (0.1, 0.05):
            for channel in ("flux", "both"):
                values = frame[f"{metric}_{channel}"].to_numpy()
                line.append(f"{channel} {(values[label] > np.quantile(values[~label], 1 - rate)).mean():.2f} at {rate:.0%}")
        print(f"{metric}: TPR at FPR (threshold from these controls): " + ", ".join(line))
    controls = frame[(frame["label"] == 0) & frame["trusted"]]
    print("z_max of controls, quantiles 50, 90, 95, 99%: ")
    for channel in CHANNELS:
        quantiles = np.quantile(controls[f"z_max_{channel}"], (0.5, 0.9, 0.95, 0.99))
        # The greatest of k independent normal numbers has this median: k says how many places a stamp seems to have.
        places = np.log(0.5) / np.log(norm.cdf(quantiles[0]))
        print(f"  {channel:10}" + "".join(f"{q:8.2f}" for q in quantiles) + f"   as the greatest of {places:.0f} normal numbers")


def _aucs(group: pd.DataFrame) -> list[tuple[float, float, float]]:
    label = group["label"].to_numpy(bool)
    values = [group[f"log_bayes_{c}"].to_numpy() for c in CHANNELS]

    def aucs(rows: np.ndarray) -> list[float]:
        of = [_auc(v[rows], label[rows]) for v in values]
        return [*of, of[2] - of[0]]

    rng = np.random.default_rng(1)
    positive, negative = np.flatnonzero(label), np.flatnonzero(~label)
    draws = np.array(
        [aucs(np.concatenate([rng.choice(positive, len(positive)), rng.choice(negative, len(negative))])) for _ in range(BOOTSTRAPS)]
    )
    return [(value, *np.quantile(d, (0.025, 0.975))) for value, d in zip(aucs(np.arange(len(label))), draws.T, strict=True)]


def _auc(values: np.ndarray, label: np.ndarray) -> float:
    n1 = label.sum()
    return (rankdata(values)[label].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(label) - n1))


def _text(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
