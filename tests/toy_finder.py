"""A network of bands trained on a handful of stamps, where a run looks for those of its experiment."""

from pathlib import Path

import yaml

from darkhaloscope.config.network import Network
from darkhaloscope.learning.finish import calibrate
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.weights import save_network
from unit.learning.band_shards import band_columns, write_band_shards

NETWORK = {"architecture": "toy", "channels": "bands", "training": {"epochs": 1, "batch_size": 16, "scratch_gb": 0}}
#: A run whose finder learnt from stamps made elsewhere.
RUN = {
    "run": ["finder"],
    "datasets": {"own": {"kind": "imported", "table": "own.parquet"}},
    "detectors": {"toy": NETWORK},
    "experiments": {"finder": {"question": "Is it a lens?", "dataset": "own", "detectors": ["toy"]}},
}


def train_toy(folder: Path, size: int = 64) -> tuple[Path, Path]:
    """Train for an epoch on 48 stamps of noise and a galaxy; return weights and description."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [
        write_band_shards(folder, band_columns(n, size=size, first=first, signal=0.3), [0, n], name)
        for name, n, first in (("train", 48, 0), ("validation", 24, 1000))
    ]
    trained = train_network(*shards, Network.model_validate(NETWORK), 1, folder / "checkpoints", 1)
    paths = folder / "network.safetensors", folder / "network.json"
    save_network(calibrate(trained, shards[1]), *paths)
    return paths


def write_run(folder: Path) -> str:
    """Write the run's config into a project, and the table that its dataset would be imported from; return its name."""
    (folder / "own.parquet").write_bytes(b"")
    (folder / "finder.yaml").write_text(yaml.safe_dump(RUN), encoding="utf-8")
    return "finder.yaml"
