"""The lensability score on tables built by hand: every hard cut, every step of every ladder, the tiers."""

import pytest

from darkhaloscope.config.manga import Lensability
from darkhaloscope.ifu.lensability import LensabilityError, lensability_table, score_lensability

CUTS = Lensability()
#: Passes every cut and is on the top step of every ladder: 30 + 30 + 20 + 10 + 5 + 3.
BEST = {
    "galaxy_id": "8593-12705",
    "physical_id": "1-1",
    "z": 0.03,
    "ba": 0.6,
    "inclination_deg": 53.1,
    "reff_arcsec": 5.0,
    "n_valid_spaxels": 3000,
    "usable": True,
    "unusable_because": [],
    "vel_grad": 6.0,
    "frac_valid_in_1p5re": 0.95,
    "vel_std": 130.0,
    "mask_fraction": 0.3,
    "flux_max": 300.0,
    "flux_vel_corr": 0.1,
}


def score(**changes):
    return score_lensability(BEST | changes, CUTS)


def test_best_galaxy():
    result = score()
    assert (result["score"], result["tier"]) == (98.0, "elite")
    assert result["points"] == {
        "vel_grad": 30,
        "frac_valid_in_1p5re": 30,
        "vel_std": 20,
        "mask_fraction": 10,
        "flux_max": 5,
        "abs_flux_vel_corr": 3,
    }
    assert "vel_grad 6 (≥ 5): +30" in result["reasons"]
    assert len(result["reasons"]) == 6


LADDERS = {
    "vel_grad": [(2.5, 12), (2.999, 12), (3.0, 22), (4.999, 22), (5.0, 30)],
    "frac_valid_in_1p5re": [(0.60, 16), (0.7999, 16), (0.80, 24), (0.8999, 24), (0.90, 30), (1.0, 30)],
    "vel_std": [(50.0, 8), (69.99, 8), (70.0, 14), (119.9, 14), (120.0, 20)],
    "mask_fraction": [(0.0, 10), (0.40, 10), (0.4001, 6), (0.60, 6), (0.6001, 2), (0.70, 2)],
    "flux_max": [(50.0, 1), (99.9, 1), (100.0, 3), (199.9, 3), (200.0, 5)],
    "flux_vel_corr": [(0.0, 3), (0.20, 3), (-0.20, 3), (0.2001, 0), (-0.40, 0), (0.4001, -5), (-1.0, -5)],
}


@pytest.mark.parametrize(("metric", "value", "points"), [(m, v, p) for m, steps in LADDERS.items() for v, p in steps])
def test_every_step_and_its_boundary(metric, value, points):
    result = score(**{metric: value})
    name = "abs_flux_vel_corr" if metric == "flux_vel_corr" else metric
    assert result["points"][name] == points
    assert result["score"] == sum(result["points"].values())


@pytest.mark.parametrize(
    ("metric", "rejected", "passes"),
    [
        ("frac_valid_in_1p5re", 0.5999, 0.60),
        ("vel_grad", 2.4999, 2.5),
        ("mask_fraction", 0.7001, 0.70),
        ("flux_max", 49.99, 50.0),
        ("vel_std", 49.99, 50.0),
    ],
)
def test_every_hard_cut_and_its_boundary(metric, rejected, passes):
    assert score(**{metric: passes})["tier"] != "reject"
    result = score(**{metric: rejected})
    assert (result["score"], result["tier"], result["points"]) == (0.0, "reject", {})
    assert len(result["reasons"]) == 1
    assert result["reasons"][0].startswith(f"rejected: {metric} ")


def test_unusable_galaxy_is_rejected_with_its_reason():
    result = score(usable=False, unusable_because=["critical quality: DRP3QUAL 1073741824"])
    assert (result["score"], result["tier"]) == (0.0, "reject")
    assert result["reasons"] == ["rejected: not usable (critical quality: DRP3QUAL 1073741824)"]


@pytest.mark.parametrize("metric", ["vel_grad", "frac_valid_in_1p5re", "flux_max", "vel_std"])
def test_metric_that_could_not_be_measured_rejects(metric):
    assert score(**{metric: None})["reasons"] == [f"rejected: {metric} could not be measured"]


def test_several_cuts_are_all_named():
    reasons = score(flux_max=1.0, vel_std=1.0)["reasons"]
    assert [r.split()[1] for r in reasons] == ["flux_max", "vel_std"]


def test_correlation_that_could_not_be_measured_gives_no_points():
    assert score(flux_vel_corr=None)["points"]["abs_flux_vel_corr"] == 0


#: The least that passes all cuts: 12 + 16 + 8 + 2 + 1 − 5 = 34, a reject by points alone.
LEAST = {"vel_grad": 2.5, "frac_valid_in_1p5re": 0.6, "vel_std": 50.0, "mask_fraction": 0.7, "flux_max": 50.0, "flux_vel_corr": 0.9}


@pytest.mark.parametrize(
    ("changes", "total", "tier"),
    [
        (LEAST, 34, "reject"),
        (LEAST | {"flux_vel_corr": 0.3}, 39, "reject"),
        (LEAST | {"flux_vel_corr": 0.3, "flux_max": 100.0}, 41, "borderline"),
        (LEAST | {"vel_grad": 3.0, "frac_valid_in_1p5re": 0.8, "flux_vel_corr": 0.1}, 60, "good"),
        (LEAST | {"vel_grad": 3.0, "frac_valid_in_1p5re": 0.8, "flux_vel_corr": 0.3}, 57, "borderline"),
        ({"frac_valid_in_1p5re": 0.8, "vel_std": 70.0, "mask_fraction": 0.7, "flux_vel_corr": 0.1}, 78, "good"),
        ({"vel_std": 50.0, "mask_fraction": 0.6, "flux_max": 100.0}, 80, "elite"),
    ],
)
def test_sums_and_tiers(changes, total, tier):
    result = score(**changes)
    assert (result["score"], result["tier"]) == (total, tier)


def test_points_are_clipped():
    high = Lensability(vel_grad=({"bound": 0, "points": 500},))
    low = Lensability(vel_grad=({"bound": 0, "points": -500},))
    assert score_lensability(BEST, high)["score"] == 100
    assert (score_lensability(BEST, low)["score"], score_lensability(BEST, low)["tier"]) == (0, "reject")


def test_order_of_steps_in_the_config_does_not_matter():
    shuffled = Lensability(vel_grad=tuple(reversed(CUTS.vel_grad)), mask_fraction=tuple(reversed(CUTS.mask_fraction)))
    assert score_lensability(BEST, shuffled) == score()


def test_tiers_of_a_table():
    elite, good = {"vel_std": 100.0}, {"vel_grad": 3.5, "frac_valid_in_1p5re": 0.85, "vel_std": 60.0}
    rows = {
        **{"1-1": elite, "1-2": elite, "2-1": good, "2-2": good},
        **{"3-1": {"vel_grad": 2.0}, "3-2": {"frac_valid_in_1p5re": 0.5}, "3-3": {"vel_std": 45.0}},
    }
    table = lensability_table([BEST | changes | {"galaxy_id": name} for name, changes in rows.items()], CUTS)
    tiers = table.groupby("tier")["galaxy_id"].apply(set).to_dict()
    assert tiers == {"elite": {"1-1", "1-2"}, "good": {"2-1", "2-2"}, "reject": {"3-1", "3-2", "3-3"}}


def test_table_is_ordered_and_says_why():
    table = lensability_table([BEST | {"galaxy_id": "2-2", "flux_max": 1.0}, BEST | {"galaxy_id": "1-1", "vel_std": 80.0}, BEST], CUTS)
    assert table["galaxy_id"].tolist() == ["8593-12705", "1-1", "2-2"]
    assert table["score"].tolist() == [98.0, 92.0, 0.0]
    assert table["points_vel_std"].tolist()[:2] == [20.0, 14.0]
    assert table["reasons"][2] == "rejected: flux_max 1 < 50"
    assert table["reasons"][0].count("; ") == 5


def test_missing_metric_is_named():
    with pytest.raises(LensabilityError, match="8593-12705 lack vel_std"):
        score_lensability({k: v for k, v in BEST.items() if k != "vel_std"}, CUTS)


def test_empty_table_has_its_columns():
    assert {"galaxy_id", "tier", "reasons"} <= set(lensability_table([], CUTS).columns)
