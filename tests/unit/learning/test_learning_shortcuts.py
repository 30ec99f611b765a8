"""No simple statistic of a network's own inputs may know the label: a guard against leaks between the channels.

Faint subhalos (3% of θ_E) hardly move a statistic of the whole stamp: what tells the classes apart without any training
is a leak. The guard itself is tested on one that was real: a network that saw the flux beside the smooth lens' σ_v
(science notes, "A label-blind mask beside the flux").
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.network import Network
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.learning import pixels
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_rows
from darkhaloscope.tasks.subhalo.schema import stamp_schema
from unit.learning.stamp_shards import read_stamps

STAMPS = 2000
#: Five standard deviations of the AUC of a statistic that knows nothing (Mann & Whitney 1947), classes of equal size.
CHANCE = 5 * np.sqrt((STAMPS + 1) / (12 * (STAMPS / 2) ** 2))


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Stamps of the default regime, smaller, of disks alone."""
    dataset = SubhaloDataset.model_validate(
        {
            "size": {"train": STAMPS, "validation": 0, "test": 0},
            "sources": {"mix": {"disk": 1.0}, "sample": None},
            "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": 0.03},
            "instrument": {"stamp_size": 32, "pixel_scale_arcsec": 0.12, "psf": {"fwhm_arcsec": 0.2}},
            "rendering": {"accuracy": 0.01, "batch_size": 64},
        }
    )
    stamps = render_rows(build_manifest("guard", dataset, None, Cosmology()), dataset, None, Cosmology())
    path = tmp_path_factory.mktemp("guard") / "stamps.parquet"
    write_table(path, stamp_schema(32), stamps)
    return path


def aucs(shard, channels: str) -> dict[str, float]:
    """AUC of each statistic, from the stamps as the loader gives them to a network."""
    stamps = read_stamps([shard], Network(channels=channels))
    constants = stamps.normalisation
    inputs = stamps.inputs * torch.tensor(constants.scale) + torch.tensor(constants.offset)
    seen = dict(zip(constants.inputs, np.moveaxis(inputs.numpy().astype(float), 3, 0), strict=True))
    rows = [statistics({name: images[k] for name, images in seen.items()}) for k in range(len(stamps))]
    return {name: roc_auc_score(stamps.labels, [row[name] for row in rows]) for name in rows[0]}


def statistics(seen: dict[str, np.ndarray]) -> dict[str, float]:
    """What can be formed of one stamp without training; the flux is in units of its background noise."""
    mask = seen["mask"] > 0.5
    found = {"pixels with a velocity": mask.sum()}
    if "inverse_sigma" in seen:
        weight = seen["inverse_sigma"][mask] ** 2
        found |= {"sum of 1/σ²": weight.sum(), "largest 1/σ²": weight.max(initial=0)}
    if "flux" in seen:
        flux = np.sinh(seen["flux"])
        inside = flux[mask]
        # 1/σ is that of the line's S/N, up to a floor of σ: a picture of the flux it was made from.
        free = weight < 0.998 * weight.max()
        template = np.polynomial.Polynomial.fit(np.sqrt(weight[free]), inside[free], 3)
        found |= {
            "sum of flux": flux.sum(),
            "peak flux": flux.max(),
            "flux outside the mask": flux[~mask].mean(),
            "share of flux in the mask": inside.sum() / flux.sum(),
            "correlation of flux and 1/σ²": np.corrcoef(inside, weight)[0, 1],
            "variance of flux about a curve of 1/σ": np.mean((inside[free] - template(np.sqrt(weight[free]))) ** 2),
        }
    if "velocity" in seen:
        velocity = seen["velocity"][mask]
        found |= {"spread of velocity": velocity.std(), "velocity over its error": np.mean(velocity**2 * weight)}
    return found


@pytest.mark.parametrize("channels", ["flux", "velocity", "both", "mask"])
def test_no_simple_statistic_knows_the_label(shard, channels):
    found = aucs(shard, channels)
    assert not {name: auc for name, auc in found.items() if abs(auc - 0.5) > CHANCE}


@pytest.mark.parametrize("channels", ["flux", "both"])
def test_the_label_blind_errors_beside_the_flux_are_found_out(shard, channels, monkeypatch):
    monkeypatch.setattr(pixels, "BESIDE_FLUX", {})
    assert aucs(shard, channels)["variance of flux about a curve of 1/σ"] > 0.95
