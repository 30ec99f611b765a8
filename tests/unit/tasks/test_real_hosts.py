"""Real cutouts as hosts: what the chain sees of them, arcs on their pixels, and no object on both sides."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import ValidationError

from darkhaloscope.config.cutouts import RealSky
from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.core.tables import images, write_table
from darkhaloscope.learning.altered import labelled_bands
from darkhaloscope.learning.cutouts import _learnt
from darkhaloscope.mock.survey_light import psfsize_of
from darkhaloscope.stamps.manifest import read_rows
from darkhaloscope.surveys.folder import CutoutError
from darkhaloscope.surveys.legacysurvey.schema import PARENT
from darkhaloscope.surveys.real_sky import prepare_real_sky, real_sky_schema
from darkhaloscope.tasks.lensfinder.host_cutouts import host_schema
from darkhaloscope.tasks.lensfinder.hosts import read_parent
from darkhaloscope.tasks.lensfinder.inject import InjectionError, inject_rows
from darkhaloscope.tasks.lensfinder.inputs import cut_rows
from darkhaloscope.tasks.lensfinder.manifest import draw_manifest
from darkhaloscope.tasks.lensfinder.real_hosts import read_hosts
from darkhaloscope.tasks.lensfinder.schema import MANIFEST, stamp_schema

N, SIZE, NOISE = 400, 64, 0.02
GRADES = np.array([0.3, 0.3, 0.3, 1.0, 3.0])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """400 galaxies all over the sky in g, r, i of known light and noise, three of five look-alikes, one a lens, one between; the dataset."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("hosts")
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    profile = np.exp(-(x**2 + y**2) / (2 * 4.0**2))
    flux = np.array([10.0, 30.0, 50.0])[:, None, None] * profile / profile.sum()
    image = (flux * rng.uniform(0.8, 1.2, N)[:, None, None, None] + rng.normal(0, NOISE, (N, 3, SIZE, SIZE))).astype(np.float32)
    names = [f"g{k:03d}" for k in range(N)]
    np.savez(folder / "sky.npz", image=image, name=names)
    place = {"ra": rng.uniform(0, 360, N), "dec": np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, N)))}
    pd.DataFrame({"id": names, **place, "grade": GRADES[np.arange(N) % 5]}).to_csv(folder / "labels.csv", index=False)
    cutouts = {
        **{"path": str(folder / "sky.npz"), "bands": ["g", "r", "i"], "stand_in": {"z": "i"}, "nside": 16},
        **{"psf_fwhm_arcsec": {"g": 0.9, "r": 0.8, "i": 0.7}, "labels": str(folder / "labels.csv"), "label": "grade"},
        **{"positive_from": 2, "control_to": 0.3},
    }
    dataset = LensFinderDataset.model_validate(
        {
            "size": {"train": 60, "validation": 20, "test": 20},
            "shard_size": 60,
            "splits": {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}},
            "hosts": {"cutouts": cutouts, "psfsize_r_arcsec": [0.7, 1.2], "match_bins": [1, 1, 2]},
            "sources": {"mix": {"sersic": 1.0}},
            "injection": {"theta_e_arcsec": {"uniform": [1.2, 2.0]}, "src_dmag": 1.0},
        }
    )
    hosts = read_hosts(dataset.hosts.cutouts, dataset.camera)
    write_table(folder / "galaxies.parquet", PARENT, hosts.galaxies)
    write_table(folder / "host_cutouts.parquet", host_schema(SIZE), hosts.cutouts, row_group=64)
    manifest = pa.concat_tables(draw_manifest("real", dataset, read_parent(folder / "galaxies.parquet"), {}))
    write_table(folder / "manifest.parquet", MANIFEST, manifest)
    return folder, dataset, image, hosts, manifest


def injected(made, split="train"):
    folder, dataset, *_ = made
    rows = read_rows(folder / "manifest.parquet", MANIFEST, split, 0, dataset.shard_size)
    cutouts = cut_rows(rows, [folder / "host_cutouts.parquet"], SIZE, maskbits=[], max_bad_fraction=0.2)
    return rows, inject_rows(rows, dataset, cutouts, {})


def test_magnitudes_noise_and_psf_are_those_of_the_cutouts(made):
    _, _, image, hosts, _ = made
    galaxies = hosts.galaxies.to_pandas()
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * 0.262
    near = np.hypot(axis[:, None], axis[None, :]) <= 4.0
    r = 22.5 - 2.5 * np.log10(image[:, 1][:, near].sum(1, dtype=float))
    np.testing.assert_allclose(galaxies["mag_r"], r, atol=1e-3)
    # White noise of 0.02: the median of a thousand differences is right to some per cent, that of 400 such numbers to half a per cent.
    sigma = 1 / np.sqrt(images(hosts.cutouts, "invvar")[:, :, 0, 0])
    np.testing.assert_allclose(np.median(sigma, 0), NOISE, rtol=0.01)
    assert (abs(sigma / NOISE - 1) < 0.25).all()
    # As the mock sky computes it, from the Moffat profile's noise-equivalent area; what stands for z is the i band's.
    np.testing.assert_allclose(galaxies["psfsize_z"], psfsize_of(0.7), rtol=2e-4)  # 2.355 against 2.3548
    # Noise-equivalent area of that Gaussian: a point source's inverse variance.
    area = 4 * np.pi * (galaxies["psfsize_r"] / 2.355 / 0.262) ** 2
    np.testing.assert_allclose(galaxies["psfdepth_r"], 1 / sigma[:, 1] ** 2 / area, rtol=1e-4)


@pytest.mark.parametrize("weights", [True, False])
def test_depth_does_not_know_the_pixels_that_noise_came_in(tmp_path, weights):
    """White noise of 0.02 in pixels of 0.168″ and of zero point 25: a point source's inverse variance is that of 4π σ² such pixels."""
    rng = np.random.default_rng(8)
    y, x = np.indices((112, 112)) - 55.5
    image = (30 * np.exp(-(x**2 + y**2) / 50) + rng.normal(0, 0.02, (3, 112, 112))).astype(np.float32)
    known = {"invvar": np.full((3, 112, 112), 0.02**-2)} if weights else {}
    np.savez(tmp_path / "a.npz", image=image, ra=10.0, dec=1.0, **known)
    cutouts = {"path": str(tmp_path), "pixel_scale_arcsec": 0.168, "zero_point": 25.0, "psf_fwhm_arcsec": {"g": 0.9, "r": 0.8, "z": 0.7}}
    dataset = LensFinderDataset.model_validate({"hosts": {"cutouts": cutouts}})
    galaxy = read_hosts(dataset.hosts.cutouts, dataset.camera).galaxies.to_pandas().iloc[0]
    area = 4 * np.pi * (psfsize_of(0.8) / 2.355 / 0.168) ** 2
    # Measured of two thousand differences, noise is known to some per cent, its square to twice that.
    assert galaxy["psfdepth_r"] == pytest.approx((0.02 * 10**-1.0) ** -2 / area, rel=1e-3 if weights else 0.1)


def test_lenses_and_what_may_be_one_are_no_hosts_and_lookalikes_are_called_so(made):
    *_, hosts, manifest = made
    galaxies = hosts.galaxies.to_pandas()
    grade = GRADES[galaxies["brickname"].str[1:].astype(int) % 5]
    np.testing.assert_array_equal(galaxies["known_lens"], grade > 0.3)
    assert set(galaxies[grade == 0.3]["contaminant_class"]) == {"look-alike"} and set(galaxies[grade > 0.3]["contaminant_class"]) == {""}
    assert set(GRADES[manifest["brickname"].to_pandas().str[1:].astype(int) % 5]) == {0.3}


def test_an_object_is_in_one_split_alone_and_in_one_role(made):
    *_, manifest = made
    frame = manifest.select(["object_id", "split", "is_control", "region_id"]).to_pandas()
    assert frame.groupby("object_id")["split"].nunique().max() == 1 and frame.groupby("region_id")["split"].nunique().max() == 1
    assert frame.groupby("object_id")["is_control"].nunique().max() == 1


def test_stamps_are_the_cutouts_pixels_and_arcs_come_on_top(made):
    _, _, image, _, _ = made
    rows, stamps = injected(made)
    host = rows["brickname"].to_pandas().str[1:].astype(int).to_numpy()
    found, label = images(stamps, "image"), rows["label"].to_numpy()
    np.testing.assert_array_equal(found[label == 0], image[host[label == 0]])
    light = (found - image[host])[label == 1].sum((2, 3), dtype=float)
    asked = stamps.filter(pc.equal(stamps["label"], 1)).to_pandas()
    # Poisson noise of 150 electrons per nanomaggy on some ten nanomaggies: 3% each, under 1% of their sum.
    np.testing.assert_allclose(light[:, 1].sum(), asked["total_injected_flux_r"].sum(), rtol=0.02)
    assert (asked["arc_snr"] > 20).all() and asked["psf_fwhm_used_r"].to_numpy() == pytest.approx(0.8)
    stamp_schema(SIZE).check(stamps.schema, "stamps")


def test_gates_and_rates_leave_out_objects_that_a_network_was_trained_on(made, tmp_path):
    folder, dataset, *_ = made
    _, stamps = injected(made)
    shard, sky = tmp_path / "00000.parquet", tmp_path / "real_sky.parquet"
    write_table(shard, stamp_schema(SIZE), stamps)
    write_table(sky, real_sky_schema(SIZE), prepare_real_sky(_as_real_sky(dataset.hosts.cutouts), SIZE))
    (lenses, *_), (lookalikes, *_) = labelled_bands([sky])
    (left, *_), (fewer, *_) = labelled_bands([sky], learnt=[shard])
    used = len(set(stamps["object_id"].to_pylist()))
    assert len(left) == len(lenses) == N // 5 and len(fewer) == len(lookalikes) - used == 3 * N // 5 - used
    frame = pd.read_csv(folder / "labels.csv").rename(columns={"id": "stamp_id"})
    learnt = _learnt(frame, [folder / "manifest.parquet"])
    assert set(frame[learnt]["stamp_id"]) == set(stamps["brickname"].to_pylist())


def _as_real_sky(settings):
    return RealSky.model_validate({k: v for k, v in settings.plain().items() if k not in ("nside", "max_bad_fraction")})


def test_what_cannot_serve_is_told(made, tmp_path):
    folder, dataset, image, *_ = made
    cutouts = dataset.hosts.cutouts
    with pytest.raises(ValidationError, match="psf_fwhm_arcsec lacks i"):
        LensFinderDataset.model_validate({"hosts": {"cutouts": cutouts.plain() | {"psf_fwhm_arcsec": {"g": 0.9, "r": 0.8}}}})
    np.savez(tmp_path / "nowhere.npz", image=image[:3])
    plain = {k: v for k, v in cutouts.plain().items() if k not in ("labels", "label")} | {"path": str(tmp_path / "nowhere.npz")}
    settings = type(cutouts).model_validate(plain)
    with pytest.raises(CutoutError, match="none of its 3 cutouts can serve as a host; the first: 0 has no position"):
        read_hosts(settings, dataset.camera)
    np.savez(tmp_path / "nowhere.npz", image=np.round(np.maximum(image[:3], 0), 0), ra=[1.0, 2, 3], dec=[0.0, 0, 0])
    with pytest.raises(CutoutError, match="has no noise in g that could be measured; give weights"):
        read_hosts(settings, dataset.camera)
    rows = read_rows(folder / "manifest.parquet", MANIFEST, "train", 0, dataset.shard_size)
    other = tmp_path / "host_cutouts.parquet"
    write_table(other, host_schema(SIZE), made[3].cutouts.slice(0, 1))
    with pytest.raises(InjectionError, match="is not among the 1 of .*build the manifest again"):
        list(cut_rows(rows, [other], SIZE, maskbits=[], max_bad_fraction=0.2))
