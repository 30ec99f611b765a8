"""Nothing simulated but the lensing: COSMOS galaxies lensed into CFHTLS galaxies by the workflow, each object in one split."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from darkhaloscope.core.tables import images


def test_real_sources_are_lensed_into_real_hosts_by_the_workflow(real, project):
    sky, table, catalog = (
        real / name
        for name in (
            "candidates/spacewarps-cfhtls-gri.npz",
            "candidates/spacewarps-cfhtls.csv",
            "cosmos/paltas-real_galaxy_catalog_23.5.fits",
        )
    )
    for path in (sky, table, catalog):
        if not path.exists():
            pytest.skip(f"needs {path}")
    cosmos = project.folder / "cosmos"
    cosmos.mkdir()
    # The catalogue knows its images by the names that they had in the archive.
    for name in ("catalog_23.5", "catalog_23.5_fits", "images_23.5_n1"):
        shutil.copy(real / f"cosmos/paltas-real_galaxy_{name}.fits", cosmos / f"real_galaxy_{name}.fits")
    cutouts = {
        **{"path": str(sky), "bands": ["g", "r", "i"], "stand_in": {"z": "i"}, "psf_fwhm_arcsec": {"g": 0.8, "r": 0.7, "i": 0.7}},
        **{"labels": str(table), "label": "grade", "positive_from": 2, "control_to": 0.3},
    }
    dataset = {
        **{"kind": "lensfinder", "size": {"train": 20, "validation": 6, "test": 10}, "shard_size": 20, "rendering": {"accuracy": 0.005}},
        **{"splits": {"fractions": {"train": 0.5, "validation": 0.2, "test": 0.3}, "tolerance": 0.15}},
        **{"hosts": {"cutouts": cutouts, "psfsize_r_arcsec": [0.7, 1.2], "match_bins": [1, 1, 1]}},
        **{
            "injection": "gen6",
            "sources": {"mix": {"cosmos": 1.0}, "cosmos": {"catalog": "cosmos/real_galaxy_catalog_23.5.fits", "exclusion": "none"}},
        },
    }
    run = {
        "run": ["finder"],
        "datasets": {"real": dataset},
        "detectors": {"lens": {"channels": "bands", "architecture": "slim"}},
        "experiments": {"finder": {"question": "Is it a lens?", "dataset": "real", "detectors": ["lens"]}},
    }
    (project.folder / "real.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    shards = [f"results/datasets/real/stamps/{split}/00000.parquet" for split in ("train", "validation", "test")]
    project.snakemake(*shards, config="real.yaml", cores=1)
    stamps = [pq.read_table(project.folder / path) for path in shards]
    frames = [t.drop_columns(["image"]).to_pandas() for t in stamps]
    everything = pd.concat(frames)
    given = np.load(sky)
    grade = dict(zip(map(str, given["name"]), given["grade"], strict=True))
    pixels = dict(zip(map(str, given["name"]), given["image"], strict=True))
    assert len(everything) == 36 and everything["cutout_ok"].all() and set(everything["bandset"]) == {"gri"}
    assert everything["brickname"].map(grade).max() <= 0.3 + 1e-6 and set(everything["contaminant_class"]) == {"look-alike"}
    assert everything.groupby("object_id")["split"].nunique().max() == 1 and everything["source_id"].dropna().nunique() >= 5
    for shard, frame in zip(stamps, frames, strict=True):
        found = images(shard, "image")
        for k, row in enumerate(frame.itertuples()):
            added = found[k].astype(float) - pixels[row.brickname].astype(np.float32)
            # What is added is the lensed source: exactly nothing in controls, its flux to some per cent of noise in positives.
            if row.label == 0:
                assert not added.any()
            else:
                flux = row.total_injected_flux_r
                assert added[1].sum() == pytest.approx(flux, abs=5 * np.sqrt(flux / 150) + 0.01 * flux)
