"""What the evaluation decides of an experiment: main detector, the answer in numbers, the criterion, gates of rates."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from darkhaloscope.config.experiment import Evaluation, Experiment, Stratum
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.evaluation.answer import judge_criterion, judge_experiment
from darkhaloscope.evaluation.comparison import compare_networks
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.observers import with_strata
from darkhaloscope.evaluation.tidy import frame

N = 2000
EVALUATION = Evaluation(strata={"mass_bin": Stratum()}, fprs=(0.1, 0.001), bootstrap=100, clusters=())


def detector(channels, **changes):
    return SimpleNamespace(**({"channels": channels, "label_blind": True, "shuffle_velocity": False} | changes))


def judged(make_table, separations, comparisons=(), observers=None, dataset=None, **changes):
    """Judge detectors whose scores lie so many standard deviations apart."""
    tables = {
        name: {("d", 1): make_table(n=N, seed=k + 1, separation=value, network=name)} for k, (name, value) in enumerate(separations.items())
    }
    channels = {name: name if name in ("flux", "velocity", "mask") else "both" for name in separations}
    frames = {name: evaluate_network(t, EVALUATION, channels="flux" if channels[name] == "flux" else "both") for name, t in tables.items()}
    compared = [compare_networks(tables[a], tables[b], EVALUATION).assign(baseline=a, detector=b) for a, b in comparisons]
    experiment = Experiment(question="?", dataset="d", detectors=tuple(separations), comparisons=comparisons, evaluation=EVALUATION)
    dataset = dataset or SubhaloDataset(sources={"sample": None, "mix": {"disk": 1.0}})
    detectors = {name: detector(channels[name], **changes.get(name, {})) for name in separations}
    found = judge_experiment(
        experiment,
        dataset,
        detectors,
        frames,
        pd.concat(compared) if compared else pd.DataFrame(),
        pd.DataFrame() if observers is None else observers,
    )
    return json.loads(json.dumps(found, allow_nan=False)), frames


def test_the_main_detector_is_what_the_first_comparison_tests_or_the_first_detector():
    def main(detectors, comparisons=()):
        return Experiment(question="?", dataset="d", detectors=detectors, comparisons=comparisons).main_detector

    # Two definitions differed here: the report took the last one where there was no `both`.
    assert main(("flux", "mask")) == "flux"
    assert main(("flux", "velocity", "both")) == "flux"
    assert main(("mask", "flux", "both"), (("flux", "both"), ("mask", "both"))) == "both"
    assert main(("a", "b", "c"), (("c", "b"),)) == "b"


def test_the_main_detector_is_decided_once(make_table):
    found, _ = judged(make_table, {"flux": 1.0, "mask": 0.0})
    assert found["main_detector"] == "flux" and found["comparisons"] == found["strata"] == []


@pytest.mark.parametrize(
    ("separations", "outcome"), [((0.5, 1.5), "better"), ((1.5, 0.5), "worse"), ((1.0, 1.0), "no difference detected")]
)
def test_a_comparison_has_its_difference_interval_and_outcome(make_table, separations, outcome):
    found, frames = judged(make_table, dict(zip(("flux", "both"), separations, strict=True)), (("flux", "both"),))
    [compared] = found["comparisons"]
    assert (compared["baseline"], compared["detector"], compared["outcome"]) == ("flux", "both", outcome)
    values = [t["rates"].query("metric == 'auc' and seed == 'committee'")["value"].item() for t in frames.values()]
    assert compared["delta_auc"]["value"] == pytest.approx(values[1] - values[0])
    assert compared["delta_auc"]["low"] < compared["delta_auc"]["value"] < compared["delta_auc"]["high"]
    assert compared["fpr"] == 0.1 and compared["delta_tpr"]["resolved"] is True
    assert [(s["column"], s["stratum"]) for s in found["strata"]] == [("all", "all"), ("mass_bin", "9.0-9.5"), ("mass_bin", "9.5-10.0")]
    assert found["strata"][0]["auc"]["both"]["value"] == pytest.approx(values[1])


def test_a_detector_is_measured_against_chance_ideal_and_marginal_observer(make_table):
    d = np.full(40, 2.0)
    observers = pd.DataFrame(
        {"stamp_id": [f"test-{i:06d}" for i in range(40)], **{f"marginal_d_prime_{c}": d for c in ("flux", "velocity")}}
    )
    observers = observers.assign(marginal_d_prime_both=3.0)
    stamps = make_table(n=N).to_pandas()
    found, frames = judged(
        make_table, {"flux": 1.5, "both": 0.0}, (("flux", "both"),), with_strata(observers, stamps[["stamp_id", "mass_bin"]])
    )
    flux, both = found["detectors"]["flux"], found["detectors"]["both"]
    assert (flux["outcome"], both["outcome"]) == ("above chance", "not told from chance")
    # Equal d′ in all stamps: the set's d′ is that of two, d √2 in the mean over pairs, Φ(½ √(2² + 2²)).
    assert flux["marginal_d_prime"] == pytest.approx(2.0, abs=1e-6)
    auc = frames["flux"]["rates"].query("metric == 'auc' and seed == 'committee'")["value"].item()
    assert flux["share_of_marginal"] == pytest.approx(np.sqrt(2) * ndtri(auc) / 2.0)
    assert found["strata"][0]["marginal"] == {"flux": 2.0, "both": 3.0, "gain": 1.5, "stamps": 40}
    assert sum(s["marginal"]["stamps"] for s in found["strata"][1:]) == 40


def test_gates_of_rates_are_decided_here(make_table):
    found, _ = judged(make_table, {"flux": 1.0, "both": 0.2, "mask": 0.8}, (("flux", "both"),))
    gates = {g["name"]: g["passed"] for g in found["gates"]}
    assert gates["The mask alone (“mask”) knows nothing"] is False
    assert gates["“both” loses nothing against “flux”"] is False
    assert gates["No detector passes the ideal observer"] is True  # the made-up ideal observer has d′ 1.5 in every stamp
    own = {"mask": {"label_blind": False}}
    found, _ = judged(make_table, {"flux": 1.0, "mask": 0.8}, **own)
    assert not [g for g in found["gates"] if "mask" in g["name"]]


@pytest.mark.parametrize(("low", "high", "outcome"), [(0.04, 0.06, "not met"), (0.0003, 0.0009, "met"), (0.0005, 0.007, "undecided")])
def test_the_criterion_goes_by_its_interval(low, high, outcome):
    row = {
        "test_dataset": "d",
        "seed": "committee",
        "column": "theta_over_psf",
        "stratum": "θ_E/PSF ≥ 0.5",
        "metric": "criterion",
        "at": 0.8,
    }
    row |= {"value": (low + high) / 2, "low": low, "high": high, "resolved": True, "n_positives": 100, "n_negatives": 1000}
    found = judge_criterion(frame([row]), "d", 0.95)
    # (1 − 10⁻³)^n falls below 0.025 at n = 3,688.
    assert found["outcome"] == outcome and found["controls_needed"] == 3688
    assert judge_criterion(frame([row]), "elsewhere", 0.95) is None and judge_criterion(frame([]), "d", 0.95) is None
