"""Cutouts of other surveys, from folders of their own files, on the pixels and in the zero point of the Legacy Surveys."""

import shutil

import numpy as np
import pytest

from darkhaloscope.config.cutouts import CutoutFolder
from darkhaloscope.config.legacysurvey import PIXEL_SCALE_ARCSEC, ZERO_POINT
from darkhaloscope.surveys.cutouts import resampled
from darkhaloscope.surveys.folder import FolderOfCutouts

HSC = {
    "bands": ("g", "r", "i", "z"),
    "pixel_scale_arcsec": 0.168,
    "zero_point": 27.0,
    "image_hdus": (1, 3, 5, 7),
    "noise_hdus": (2, 4, 6, 8),
}
FOLDERS = [
    ("candidates/dr10", "*.npz", {"bands": ("g", "r", "z"), "pixel_scale_arcsec": 0.262}, 3, (101, 101)),
    ("candidates/other/holismokes9", "*.fits", HSC | {"noise": "variance"}, 16, (64, 64)),
    ("candidates/other", "esavary_DES_*.fits", {"bands": ("g", "r", "i"), "pixel_scale_arcsec": 0.263, "zero_point": 30.0}, 2, (50, 50)),
    ("candidates/other", "gleam_*.R.*.fits", {"bands": ("r",), "pixel_scale_arcsec": 0.1857, "zero_point": 30.0}, 1, (128, 128)),
]


@pytest.mark.parametrize(("place", "pattern", "settings", "count", "shape"), FOLDERS)
def test_a_folder_of_another_survey(real, tmp_path, place, pattern, settings, count, shape):
    files = sorted((real / place).glob(pattern))
    if len(files) != count:
        pytest.skip(f"needs {count} files {pattern} in {real / place}")
    for path in files:
        shutil.copy(path, tmp_path)
    cutouts = FolderOfCutouts(CutoutFolder(path=str(tmp_path), **settings))
    assert len(cutouts.names) == count
    for name in cutouts.names:
        cutout = cutouts.named(name)
        assert cutout.image.shape == (len(settings["bands"]), *shape)
        assert cutout.ok, cutout.reason
        side = int(shape[0] * cutout.pixel_scale_arcsec / PIXEL_SCALE_ARCSEC)
        stamp = resampled(cutout, cutouts.zero_point, PIXEL_SCALE_ARCSEC, ZERO_POINT, side)
        core = slice(side // 2 - 6, side // 2 + 6)
        # The object stays in the middle, and is of a magnitude that a lens can have.
        magnitude = ZERO_POINT - 2.5 * np.log10(stamp.image[:, core, core].sum((1, 2)).max())
        assert 15 < magnitude < 24
        if cutout.good.all():  # otherwise what lies beside a bad pixel is bad too
            whole = cutout.image.sum(dtype=float) * 10 ** (0.4 * (ZERO_POINT - cutouts.zero_point))
            assert stamp.image.sum(dtype=float) == pytest.approx(whole, rel=0.2)
