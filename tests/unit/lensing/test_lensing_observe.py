"""Observation: kernels against GalSim, convolution against scipy."""

import galsim
import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing import observe


@pytest.mark.parametrize("beta", [2.5, 3.5, 4.765])
@pytest.mark.parametrize(("fwhm", "scale"), [(1.2, 0.262), (0.8, 0.2)])
def test_moffat_kernel_equals_galsim(beta, fwhm, scale):
    kernel = observe.psf_kernel(Psf(kind="moffat", fwhm_arcsec=fwhm, beta=beta), scale).numpy()
    size = kernel.shape[0]
    drawn = galsim.Moffat(beta, fwhm=fwhm).drawImage(nx=size, ny=size, scale=scale, method="no_pixel").array.astype(float)
    # GalSim draws in single precision and cuts Moffat profiles far out, at 10⁻⁷ of the peak.
    np.testing.assert_allclose(kernel, drawn / drawn.sum(), atol=1e-6 * kernel.max(), rtol=1e-5)


def test_gaussian_kernel_equals_galsim():
    kernel = observe.psf_kernel(Psf(fwhm_arcsec=0.12), 0.08).numpy()
    drawn = galsim.Gaussian(fwhm=0.12).drawImage(nx=kernel.shape[0], ny=kernel.shape[0], scale=0.08, method="no_pixel").array.astype(float)
    np.testing.assert_allclose(kernel, drawn / drawn.sum(), atol=1e-6 * kernel.max())


@pytest.mark.parametrize("psf", [Psf(fwhm_arcsec=0.9), Psf(kind="moffat", fwhm_arcsec=0.9, beta=3.5)])
def test_a_kernel_leaves_out_less_than_the_truncation(psf):
    half = observe.psf_kernel(psf, 0.2).shape[0] // 2
    axis = (np.arange(6001) + 0.5) * 0.01
    if psf.kind == "gaussian":
        profile = np.exp(-4 * np.log(2) * (axis / 0.9) ** 2)
    else:
        profile = (1 + (axis / (0.9 / 2 / np.sqrt(2 ** (1 / 3.5) - 1))) ** 2) ** -3.5
    outside = (profile * axis)[axis > (half + 0.5) * 0.2].sum() / (profile * axis).sum()
    assert outside <= observe.TRUNCATION


def test_psfsize_is_the_noise_equivalent_gaussian():
    fwhm = observe.moffat_from_psfsize(1.23, 3.5)
    assert fwhm == pytest.approx(1.0, abs=5e-3)
    image = galsim.Moffat(3.5, fwhm=fwhm).drawImage(nx=801, ny=801, scale=0.05, method="no_pixel").array.astype(float)
    image /= image.sum() * 0.05**2
    area = 1 / ((image**2).sum() * 0.05**2)
    assert 2.355 * np.sqrt(area / (4 * np.pi)) == pytest.approx(1.23, rel=1e-3)


@pytest.mark.parametrize("size", [5, 9, 21, 63])
def test_convolution_equals_scipy(size):
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 3, 20, 24)), rng.uniform(size=(size, size))
    ours = observe.convolve(torch.as_tensor(image), torch.as_tensor(kernel)).numpy()
    theirs = fftconvolve(image, kernel[None, None], mode="full", axes=(-2, -1))[..., size // 2 :, size // 2 :][..., :20, :24]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_even_kernels_are_refused(tmp_path):
    with pytest.raises(observe.PsfError, match="odd"):
        observe.convolve(torch.zeros(8, 8), torch.ones(4, 4))
    path = tmp_path / "kernel.npy"
    np.save(path, np.ones((4, 5)))
    with pytest.raises(observe.PsfError, match="odd"):
        observe.psf_kernel(Psf(kind="kernel", kernel=str(path)), 0.1)
    with pytest.raises(observe.PsfError, match="does not exist"):
        observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "none.npy")), 0.1)


def test_a_kernel_that_peaks_beside_its_middle_is_refused(tmp_path):
    """It would shift every image by as much, without a word."""
    y, x = np.indices((9, 9)) - 4
    np.save(tmp_path / "kernel.npy", np.exp(-((x - 2) ** 2 + y**2) / 4.0))
    with pytest.raises(
        observe.PsfError, match=r"kernel\.npy must peak in its middle pixel \(4, 4\), found the peak at \(4, 6\).*write it cut"
    ):
        observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)


def moffat(y0=0.0, x0=0.0, fwhm=3.0, side=21):
    y, x = np.indices((side, side)) - side // 2
    return (1 + ((x - x0) ** 2 + (y - y0) ** 2) * 4 * (2 ** (1 / 3) - 1) / fwhm**2) ** -3.0


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 5.0, 10.0])
@pytest.mark.parametrize(("y0", "x0"), [(0.5, 0), (0, -0.5), (-0.5, 0.5)])
def test_a_kernel_that_is_half_a_pixel_beside_its_middle_is_refused(tmp_path, y0, x0, fwhm):
    """As one with even sides is once it is padded; its peak is shared by the middle pixel."""
    np.save(tmp_path / "kernel.npy", moffat(y0, x0, fwhm))
    with pytest.raises(observe.PsfError, match=r"within 0\.3 pixels, found it 0\.[5-7]\d* beside it.*shift it there"):
        observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 5.0, 10.0])
def test_an_honest_kernel_may_be_lopsided_and_noisy(tmp_path, fwhm):
    lobe = 0.2 * moffat(x0=fwhm, fwhm=fwhm, side=61)
    noise = 0.002 * np.random.default_rng(3).normal(size=(61, 61))
    given = moffat(x0=-0.1, fwhm=fwhm, side=61) + lobe + noise
    np.save(tmp_path / "kernel.npy", given)
    kernel = observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)
    np.testing.assert_allclose(kernel, given / given.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", [complex, bool, str])
def test_a_kernel_of_other_than_real_numbers_is_refused(tmp_path, kind):
    np.save(tmp_path / "kernel.npy", moffat().astype(kind))
    with pytest.raises(observe.PsfError, match=r"kernel\.npy cannot be read .it holds .*expected a \.npy or FITS image of numbers"):
        observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)


def test_pixel_kernel_is_read_and_normalised(tmp_path):
    np.save(tmp_path / "kernel.npy", np.full((3, 5), 2.0))
    kernel = observe.psf_kernel(Psf(kind="kernel", kernel=str(tmp_path / "kernel.npy")), 0.1)
    assert kernel.shape == (3, 5)
    assert kernel.sum().item() == pytest.approx(1)
