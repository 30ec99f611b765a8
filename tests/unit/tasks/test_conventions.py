"""One name, one meaning: the same lens through both tasks is the same light, and shared columns are defined once."""

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel

from darkhaloscope.config.lensfinder import PIXEL_SCALE_ARCSEC, LensFinderDataset
from darkhaloscope.lensing.engine import render_accurate
from darkhaloscope.lensing.light import PixelLight
from darkhaloscope.lensing.render import Grid
from darkhaloscope.sources.sersic import sersic_image
from darkhaloscope.stamps.columns import SHARED, source_from_lens, source_position
from darkhaloscope.tasks.lensfinder import schema as lensfinder
from darkhaloscope.tasks.lensfinder.light import lens_sources
from darkhaloscope.tasks.subhalo import schema as subhalo
from darkhaloscope.tasks.subhalo.render import macro_lenses

SIZE, RADIUS = 40, 0.25
#: Relative accuracy asked of the engine; two renderings differ by twice as much at most.
ACCURACY = 5e-4


def rows(count: int = 6) -> dict[str, np.ndarray]:
    """Lenses well off the stamps' middles, with strong shears, in the columns that both tasks have."""
    rng = np.random.default_rng(3)
    return {
        "src_x_arcsec": rng.uniform(-0.4, 0.4, count),
        "src_y_arcsec": rng.uniform(-0.4, 0.4, count),
        "theta_e_arcsec": rng.uniform(1.0, 1.6, count),
        "lens_e": rng.uniform(0, 0.4, count),
        "lens_phi_rad": rng.uniform(0, np.pi, count),
        "lens_x_arcsec": rng.uniform(-0.5, 0.5, count),
        "lens_y_arcsec": rng.uniform(-0.5, 0.5, count),
        "shear": rng.uniform(0.1, 0.2, count),
        "shear_phi_rad": rng.uniform(0, np.pi, count),
    }


def through_the_lens_finder(columns):
    """Lensed light before the PSF would matter: a PSF of one row's bands, 0.7 arcsec wide."""
    n = len(columns["shear"])
    extra = {"source_kind": np.full(n, "sersic", object), "src_reff_arcsec": np.full(n, RADIUS), "src_n": np.ones(n), "src_e": np.zeros(n)}
    extra |= {"src_phi_rad": np.zeros(n), "src_flip": np.zeros(n, bool), "source_id": np.full(n, None, object)}
    offset = np.stack([columns["lens_x_arcsec"], columns["lens_y_arcsec"]], 1)
    camera = LensFinderDataset.model_validate({"camera": {"stamp_size": SIZE}}).camera
    return lens_sources({**columns, **extra}, offset, np.full((n, 3), 0.7), camera, ACCURACY, {}).observed[:, 1], camera


def through_the_subhalo_task(columns, camera):
    """The same rows as the subhalo task lenses them, with the same source and PSF."""
    from darkhaloscope.lensing.observe import convolve
    from darkhaloscope.tasks.lensfinder.light import psf_kernels

    n = len(columns["shear"])
    still = sersic_image(RADIUS, 1.0, 0.0)
    smooth = {f"multipole_{m}{end}": np.zeros(n) for m in ("m3", "m4") for end in ("", "_phi_rad")}
    lens = macro_lenses({**columns, **smooth, "lens_profile": np.full(n, "sie", object), "lens_slope": np.full(n, 2.0)}, torch.float64)
    x, y = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    light = PixelLight(
        planes=torch.as_tensor(still.light)[None, None],
        index=torch.zeros(n, dtype=torch.long),
        pixel_scale=torch.full((n,), still.pixel_scale_arcsec, dtype=torch.float64),
        x=torch.as_tensor(x),
        y=torch.as_tensor(y),
        phi=torch.zeros(n, dtype=torch.float64),
        flip=torch.zeros(n, dtype=torch.bool),
    )
    grid = Grid(SIZE, PIXEL_SCALE_ARCSEC)
    image = render_accurate(light, lens, None, grid, ACCURACY, psf_kernels(np.array(0.5), camera, SIZE // 2))
    return convolve(image, psf_kernels(np.array(0.7), camera, SIZE - 1)).numpy()[:, 0]


def test_the_same_lens_through_both_tasks_is_the_same_light():
    columns = rows()
    one, camera = through_the_lens_finder(columns)
    two = through_the_subhalo_task(columns, camera)
    peak = one.max((1, 2), keepdims=True)
    assert np.abs(one - two).max() < 2 * ACCURACY * peak.max()
    # With the shear about the stamps' middles, or sources counted from there, the light would be elsewhere.
    for wrong in ({"shear": 0 * columns["shear"]}, {"lens_x_arcsec": 0 * columns["lens_x_arcsec"]}):
        x, y = source_position({**columns, **wrong}, *({**columns, **wrong}[f"lens_{k}_arcsec"] for k in "xy"))
        moved = through_the_subhalo_task({**columns, **source_from_lens(columns, x, y)}, camera)
        assert np.abs(one - moved).max() > 20 * ACCURACY * peak.max()


def test_the_rays_are_those_of_lenstronomy_with_the_shear_about_the_lens():
    """What source_position gives, with the shear about the stamp's middle, meets the source where lenstronomy's shear about the lens does."""
    columns = rows()
    x, y = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    theta = np.random.default_rng(4).uniform(-2, 2, (2, 50))
    for i in range(len(x)):
        row = {name: float(values[i]) for name, values in columns.items()}
        g1, g2 = (row["shear"] * f(2 * row["shear_phi_rad"]) for f in (np.cos, np.sin))
        lens = {"theta_E": row["theta_e_arcsec"], "center_x": row["lens_x_arcsec"], "center_y": row["lens_y_arcsec"], "e1": 0.0, "e2": 0.0}
        model = LensModel(["SIE", "SHEAR"])
        about = {"ra_0": row["lens_x_arcsec"], "dec_0": row["lens_y_arcsec"]}
        from_lens = model.ray_shooting(*theta, [lens, {"gamma1": g1, "gamma2": g2, **about}])
        from_middle = model.ray_shooting(*theta, [lens, {"gamma1": g1, "gamma2": g2}])
        assert np.subtract(from_lens[0], row["lens_x_arcsec"] + row["src_x_arcsec"]) == pytest.approx(from_middle[0] - x[i], abs=1e-12)
        assert np.subtract(from_lens[1], row["lens_y_arcsec"] + row["src_y_arcsec"]) == pytest.approx(from_middle[1] - y[i], abs=1e-12)


def test_positions_convert_back_and_forth():
    columns = rows(50)
    place = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    back = source_from_lens(columns, *place)
    for name, values in back.items():
        assert values == pytest.approx(columns[name], abs=1e-15)


def test_every_column_that_both_tasks_have_is_defined_once():
    tables = [{c.name: c for c in schema.scalar_columns()} for schema in (subhalo, lensfinder)]
    both = set(tables[0]) & set(tables[1]) - {"stamp_id", "number", "split", "label"}
    assert both == set(SHARED)
    for table in tables:
        for name in both:
            assert table[name].unit == SHARED[name].unit and table[name].dtype == SHARED[name].dtype
            assert table[name].description.startswith(SHARED[name].description)
