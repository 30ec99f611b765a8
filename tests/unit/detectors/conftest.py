"""A few small stamps of disks, and a detector with the priors that they were drawn from."""

import numpy as np
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.evidence.detect import Detector
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_rows
from darkhaloscope.tasks.subhalo.schema import stamp_schema

#: Few pixels, so that a fit takes a fraction of a second; a subhalo that six stamps can show, and that is still a small change.
DATASET = {
    "size": {"train": 2, "validation": 2, "test": 6},
    "sources": {
        "sample": None,
        "mix": {"disk": 1.0},
        "disk": {"n_knots": 4, "knot_fraction": 0.05, "bulge_fraction": 0, "scale_radius_arcsec": {"uniform": [0.2, 0.25]}},
    },
    "lens": {"theta_e_arcsec": {"uniform": [0.75, 0.85]}},
    "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": 0.06},
    "instrument": {"stamp_size": 36, "noise": {"peak_snr": {"log_uniform": [28, 32]}}},
}


@pytest.fixture(scope="session")
def disks():
    return SubhaloDataset.model_validate(DATASET)


@pytest.fixture(scope="session")
def shard(disks, tmp_path_factory):
    """A shard of the dataset's test stamps, and its path."""
    rows = build_manifest("disks", disks, None, Cosmology())
    stamps = render_rows(rows.filter(np.array(rows["split"].to_pylist()) == "test"), disks, None, Cosmology())
    path = tmp_path_factory.mktemp("stamps") / "00000.parquet"
    write_table(path, stamp_schema(36), stamps)
    return stamps, path


@pytest.fixture(scope="session")
def detector(disks):
    return Detector.of(disks, Cosmology(), Evidence(draws=64, place_step=2))
