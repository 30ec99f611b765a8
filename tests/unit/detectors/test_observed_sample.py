"""What a sample of observed lenses shows, of tables made by hand."""

from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from darkhaloscope.config.observed import Subhalos
from darkhaloscope.detectors.observed.sample import describe_sample
from darkhaloscope.detectors.observed.schema import PROMISES


@pytest.fixture
def sample():
    """Three lenses, the last not to be trusted; injections of two masses in the first two, promised z of 2.5 and 7."""
    halos = np.zeros((3, len(PROMISES) - 1))
    low, high = (np.searchsorted(PROMISES, z, side="right") - 1 for z in (2.5, 7.0))
    halos[:, low], halos[:, high] = 1.0, 0.2
    lenses = pd.DataFrame(
        {
            "lens": ["a", "b", "c"],
            "good": [True, True, False],
            "flags": ["", "", "χ² per bin 2.00; not converged"],
            "theta_e_published_arcsec": [1.0, np.nan, 1.0],
            "theta_e_effective_arcsec": [1.02, 1.2, 2.0],
            "chi2": [0.9, 1.1, 2.0],
            "z_max": [6.0, 4.0, 20.0],
            "z_negative": [5.5, 3.0, 30.0],
            "false_alarm": [0.2, 0.4, 0.2],
            "least_log10_mass": [9.0, 9.7, 8.5],
            "halos": list(halos),
            "seconds_fit": [1.0, 2.0, 3.0],
        }
    )
    trials = pd.DataFrame(
        [(lens, "control", np.nan, np.nan, z, np.nan) for lens in "abc" for z in (2.0, 5.2, 3.0, 4.0)]
        + [
            (lens, "injection", mass, promised, z, away)
            for lens in "abc"
            # Found; too far; too weak; found; found above 5 alone; too far.
            for mass, promised, z, away in (
                (9.0, 2.5, 6.0, 0.1),
                (9.0, 2.5, 9.0, 1.0),
                (9.0, 2.5, 4.0, 0.1),
                (9.5, 7.0, 9.0, 0.2),
                (9.5, 7.0, 5.2, 0.3),
                (9.5, 7.0, 9.0, 0.4),
            )
        ],
        columns=["lens", "kind", "log10_mass_msun", "promised", "z", "distance_arcsec"],
    )
    return lenses, trials


def test_lenses_that_are_not_trusted_count_in_their_number_alone(sample):
    out = describe_sample(*sample, Subhalos(threshold=5.0, controls=4))
    assert (out["lenses"], out["good"], out["flags"]) == (3, 2, {"χ² per bin": 1})
    assert out["theta_e"]["compared"] == 1 and out["theta_e"]["median_difference"] == pytest.approx(0.02)
    found = out["detections"]["configured"]
    assert found["found"] == ["a"] and found["negative"] == ["a"]
    assert found["false_alarms_of_controls"]["of"] == 8 and found["false_alarms_of_controls"]["share"] == 0.25
    # The quiet threshold is that of the greatest negative mass of the good ones.
    assert out["detections"]["quiet"]["threshold"] == 5.5 and out["detections"]["quiet"]["found"] == ["a"]


def test_injections_are_found_at_their_place_and_say_what_is_expected(sample):
    out = describe_sample(*sample, Subhalos(threshold=5.0, controls=4))
    found, quiet = out["detections"]["configured"], out["detections"]["quiet"]
    assert [found["completeness"][m]["share"] for m in ("9", "9.5")] == pytest.approx([1 / 3, 2 / 3])
    assert [found["completeness_by_promise"][m]["of"] for m in ("2 to 3", "6 to 8")] == [6, 6]
    # Two good lenses, each with 1 halo of the one promise and 0.2 of the other.
    assert found["expected"] == pytest.approx(2 * (1 / 3 + 0.2 * 2 / 3))
    assert quiet["expected"] == pytest.approx(2 * (1 / 3 + 0.2 / 3))
    assert found["chance_of_none"] == pytest.approx(poisson.pmf(0, found["expected"]))
    assert out["could_show"] == {"8.5": 0, "9": 1, "9.5": 1, "10": 2, "10.5": 2}


def test_places_that_are_asked_about_count_for_themselves_alone(sample):
    lenses, trials = sample
    asked = trials[(trials["lens"] == "c") & (trials["kind"] == "injection")].assign(kind="asked")
    settings = Subhalos(threshold=5.0, controls=4, asked={"c": ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6)), "d": ((0.0, 1.0),)})
    out = describe_sample(lenses, pd.concat([trials, asked]), settings)
    assert out.pop("asked") == {
        "c": {"9": {"of": 3, "share": 1 / 3, "low": ANY, "high": ANY}, "9.5": {"of": 3, "share": 2 / 3, "low": ANY, "high": ANY}},
        "d": {},
    }
    assert out == {k: v for k, v in describe_sample(*sample, settings).items() if k != "asked"}


def test_a_sample_without_a_good_lens_shows_nothing(sample):
    lenses, trials = sample
    out = describe_sample(lenses.assign(good=False), trials, Subhalos())
    assert out["good"] == 0 and out["detections"]["configured"]["expected"] == 0 and out["detections"]["configured"]["completeness"] == {}
    assert out["z"]["observed_median"] is None
