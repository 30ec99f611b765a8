"""A new survey: a module of its own gives cutouts as the protocol has them, and they become stamps of other pixels."""

import importlib
import sys
import textwrap

import numpy as np
import pytest

from darkhaloscope.config.legacysurvey import PIXEL_SCALE_ARCSEC, ZERO_POINT
from darkhaloscope.surveys.cutouts import CutoutSource, resampled

MODULE = '''
"""One wide image in memory, as a survey would give its cutouts."""

import numpy as np

from darkhaloscope.surveys.cutouts import Cutout


class Strip:
    bands = ("i", "Y")
    pixel_scale_arcsec = 0.1
    zero_point = 25.0

    def __init__(self, image, ra, dec):
        self._image, self._corner = image, (ra, dec)

    def cutout(self, ra, dec, size):
        x0 = round((self._corner[0] - ra) * 3600 / self.pixel_scale_arcsec) - size // 2
        y0 = round((dec - self._corner[1]) * 3600 / self.pixel_scale_arcsec) - size // 2
        there = x0 >= 0 and y0 >= 0 and y0 + size <= self._image.shape[1] and x0 + size <= self._image.shape[2]
        image = self._image[:, y0 : y0 + size, x0 : x0 + size] if there else np.zeros((2, size, size), np.float32)
        good = np.full(image.shape, there)
        return Cutout(
            image=image, invvar=good.astype(np.float32), good=good, psfsize=np.array([0.2, 0.5], np.float32),
            bad_fractions=np.full(2, 0.0 if there else 1.0, np.float32), n_not_finite=0, ok=there,
            reason="" if there else "the strip does not reach there", x_offset_arcsec=0.0, y_offset_arcsec=0.0, x0=x0, y0=y0,
            pixel_scale_arcsec=self.pixel_scale_arcsec,
        )

    def close(self):
        self._image = None
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "strip_survey.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "strip_survey", raising=False)
    return importlib.import_module("strip_survey")


def test_a_module_makes_a_survey(module):
    image = np.zeros((2, 400, 600), np.float32)
    image[:, 198:202, 298:302] = 10.0
    survey: CutoutSource = module.Strip(image, 30.0, 0.0)
    cutout = survey.cutout(30.0 - 300 * 0.1 / 3600, 200 * 0.1 / 3600, 200)
    assert cutout.ok
    stamp = resampled(cutout, survey.zero_point, PIXEL_SCALE_ARCSEC, ZERO_POINT, 64)
    # 16 pixels of 10 at zero point 25 are 16 at 22.5.
    assert stamp.image.sum((1, 2)).tolist() == pytest.approx([16.0, 16.0])
    assert np.unravel_index(stamp.image[0].argmax(), (64, 64)) in {(31, 31), (31, 32), (32, 31), (32, 32)}
    assert survey.cutout(31.0, 0.0, 200).reason == "the strip does not reach there"
    survey.close()
