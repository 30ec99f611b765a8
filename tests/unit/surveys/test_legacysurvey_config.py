"""The survey's section of the config: names of sweeps, and errors in words."""

import pytest
from pydantic import ValidationError

from darkhaloscope.config.legacysurvey import LensCatalogue, Survey


def test_boxes_become_the_names_of_dr10_sweeps():
    # DR10 cut its sweeps into 5 × 5 degrees.
    survey = Survey(sweeps=("sweep-310m005-320p000", {"ra": [355, 360], "dec": [-10, 0]}))
    assert survey.sweep_names == ["sweep-310m005-320p000", "sweep-355m010-360m005", "sweep-355m005-360p000"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sweeps": [{"ra": [1, 5], "dec": [0, 5]}]}, "multiples of 5 degrees"),
        ({"sweeps": [{"ra": [5, 0], "dec": [0, 5]}]}, "must rise within 0 to 360"),
        ({"sweeps": ["sweep-000p000-005p005", {"ra": [0, 5], "dec": [0, 5]}]}, "names sweep-000p000-005p005 twice"),
        ({"nside": 100}, "power of two"),
        ({"bands": ["g", "g"]}, "one band twice"),
        ({"lrg": {"z_bright": 22}}, "z_bright 22 must be below z_faint 21"),
        ({"base": "ftp://x"}, "base"),
    ],
)
def test_what_cannot_be_is_said(values, words):
    with pytest.raises(ValidationError, match=words):
        Survey.model_validate(values)


def test_own_layout_needs_positions_and_others_need_nothing():
    with pytest.raises(ValidationError, match="at least ra and dec"):
        LensCatalogue(path="x.csv", layout="own", columns={"ra": "a"})
    with pytest.raises(ValidationError, match="layout `stein` knows its columns"):
        LensCatalogue(path="x.csv", layout="stein", columns={"ra": "a"})
    assert LensCatalogue(path="x.csv").layout == "lenscat"
