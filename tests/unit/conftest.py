"""A small bank of rotating galaxies, for the rooms that lens them."""

import numpy as np
import pytest

from darkhaloscope.ifu.bank import bank_schema


@pytest.fixture(scope="session")
def make_bank():
    """Function that makes a bank of some galaxies, with columns changed by name."""

    def make(count=4, size=32, **changes):
        y, x = np.indices((size, size)) - (size - 1) / 2
        flux = [np.exp(-np.hypot(x, y / 0.6) / (size / 8)) * 100 for _ in range(count)]
        values = {
            "galaxy_id": [f"{8000 + i}-12701" for i in range(count)],
            "physical_id": [f"1-{i}" for i in range(count)],
            "flux": np.stack(flux),
            "velocity": np.stack([150 * np.tanh(x / 4)] * count),
            "dispersion": np.full((count, size, size), 30.0),
            "valid": np.broadcast_to(np.hypot(x, y) < size / 2 - 1, (count, size, size)).astype(np.uint8),
        }
        numbers = {
            "z": 0.03, "pixel_scale_arcsec": 1.0, "pixel_scale_kpc": 0.6, "centre_x_pix": (size - 1) / 2, "centre_y_pix": (size - 1) / 2,
            "inclination_rad": 0.9, "pa_rad": 0.0, "half_light_radius_arcsec": 5.0, "half_light_radius_kpc": 4.0, "v_peak_kms": 180.0,
            "v_peak_los_kms": 150.0, "v_systemic_kms": 0.0, "dispersion_kms": 30.0, "psf_fwhm_arcsec": 2.6, "psf_fwhm_kpc": 1.5, "score": 70.0,
        }  # fmt: skip
        values |= {k: [v] * count for k, v in numbers.items()}
        values |= {"tier": ["good"] * count, "used_although_rejected": [False] * count, "source_sha256": [""] * count}
        values |= {"instrument": ["MaNGA"] * count, "line": ["Ha-6564"] * count, "flux_unit": ["1e-17 erg/s/cm^2"] * count}
        return bank_schema(size).table(values | changes)

    return make
