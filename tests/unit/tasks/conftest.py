"""Small datasets."""

import pytest

from darkhaloscope.config.subhalo import SubhaloDataset


@pytest.fixture(scope="session")
def make_dataset():
    """Function that makes a small dataset, with sections changed by name."""

    def make(**changes):
        values = {
            "size": {"train": 12, "validation": 0, "test": 0},
            "splits": {"tolerance": 0.5},
            "sources": {"mix": {"disk": 1.0}, "sample": None},
            "subhalo": {"profiles": {"sis": 0.4, "nfw": 0.3, "tnfw": 0.3}},
            "instrument": {"stamp_size": 32, "pixel_scale_arcsec": 0.12, "psf": {"fwhm_arcsec": 0.2}, "smooth_peak": 1.0},
            "rendering": {"accuracy": 0.03, "supersampling": 2, "batch_size": 6},
        }
        for key, value in changes.items():
            values[key] = {**values[key], **value} if isinstance(value, dict) and isinstance(values.get(key), dict) else value
        return SubhaloDataset.model_validate(values)

    return make


@pytest.fixture(scope="session")
def mixed():
    """Sources of all kinds."""
    return {"mix": {"manga": 0.4, "disk": 0.4, "hybrid": 0.2}, "sample": "mock"}
