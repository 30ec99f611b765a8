"""Tables of scores whose true rates are known: normal scores of unit width, positives shifted by d′."""

import numpy as np
import pyarrow as pa
import pytest


def _table(n=2000, split="test", seed=1, separation=1.5, galaxies=0, network="flux", extra=None, mapping=lambda s: 1 / (1 + np.exp(-s))):
    rng = np.random.default_rng([seed, n, len(split)])
    label = np.arange(n) % 2
    score = rng.normal(size=n) + separation * label
    number = np.arange(n)
    columns = {
        "stamp_id": [f"{split}-{i:06d}" for i in number],
        "split": [split] * n,
        "label": label.astype(np.int8),
        "score": mapping(score),
        "detector": [network] * n,
        "physical_id": [f"1-{i}" if galaxies else None for i in rng.integers(0, max(galaxies, 1), n)],
        "theta_e_arcsec": rng.uniform(0.8, 1.2, n),
        "mass_bin": rng.choice(["9.0-9.5", "9.5-10.0"], n),
        "theta_over_psf": np.full(n, np.inf),
        "d_prime_flux": np.full(n, separation),
        "d_prime_both": np.full(n, separation),
    }
    columns |= extra or {}
    return pa.table({k: pa.array(v, pa.string()) if k == "physical_id" else pa.array(v) for k, v in columns.items()})


@pytest.fixture(scope="session")
def make_table():
    """Return the function that makes a table of normal scores."""
    return _table
