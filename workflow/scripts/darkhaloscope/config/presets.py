"""The datasets, detectors and experiments that a config has before it says anything."""

from __future__ import annotations

from .experiment import Experiment
from .network import Network, Training
from .subhalo import SubhaloDataset


def default_datasets() -> dict[str, SubhaloDataset]:
    """Return the informative regime, and the three regimes of the earlier subhalo runs.

    The earlier ones (science notes, section 4) used pixels of the unit square [−1, 1] and θ_E = 0.5;
    at 64 pixels one pixel is 1/32, and one unit is one arcsec here.
    """

    def earlier(description: str, factor: float, psf_pixels: float, flux_noise: float, velocity_noise: float) -> SubhaloDataset:
        return SubhaloDataset.model_validate(
            {
                "description": description,
                "size": {"train": 10000, "validation": 2000, "test": 2000},
                "sources": {
                    "mix": {"manga": 1.0},
                    "offset_arcsec": {"uniform": [0.0, 0.1]},
                },
                "lens": {
                    "profile": "sis",
                    "theta_e_arcsec": 0.5,
                    "ellipticity": 0.0,
                    "slope": 2.0,
                    "shear": 0.0,
                    "multipole_m3": 0.0,
                    "multipole_m4": 0.0,
                    "centre_offset_arcsec": 0.0,
                },
                "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": factor, "placement": "annulus"},
                "instrument": {
                    "stamp_size": 64,
                    "pixel_scale_arcsec": 2 / 64,
                    "psf": {"kind": "gaussian", "fwhm_arcsec": round(psf_pixels * 2.354820045 * 2 / 64, 6)}
                    if psf_pixels
                    else {"kind": "none"},
                    "noise": {
                        "peak_snr": 1 / flux_noise if flux_noise else 100.0,
                        "flux": flux_noise > 0,
                        "background_share": 1.0,
                        "velocity": velocity_noise > 0,
                        # Earlier runs gave velocity noise as a share of the velocity scale (about 200 km/s).
                        "velocity_floor_kms": 200 * velocity_noise,
                        # … the same in every pixel, not falling with the line's S/N, above a flux of 0.1.
                        "line_fwhm_kms": 0.001,
                        "velocity_min_snr": 0.1 / flux_noise if flux_noise else 10.0,
                    },
                    "smooth_peak": 1.0,
                    "mask": "observed",
                },
            }
        )

    return {
        "subhalo": SubhaloDataset(
            description="The informative regime: SIS of 3% of θ_E and NFW of 10⁹ to 10¹⁰ M☉ at peak S/N 10 to 30, PSF 0.12 arcsec"
        ),
        "subhalo-hard": earlier("Earlier regime: factor 0.1, PSF σ 1 pixel, flux noise 0.08, velocity noise 0.03", 0.1, 1.0, 0.08, 0.03),
        "subhalo-easy": earlier("Earlier regime: factor 0.3, no PSF, no noise", 0.3, 0.0, 0.0, 0.0),
        "subhalo-moderate": earlier(
            "Earlier regime: factor 0.3, PSF σ 0.5 pixel, flux noise 0.03, velocity noise 0.01", 0.3, 0.5, 0.03, 0.01
        ),
    }


def default_detectors() -> dict[str, Network]:
    """Return the networks that experiments name by default."""
    small = Training(epochs=20, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, schedule="constant")
    return {
        "flux": Network(description="Flux alone", channels="flux"),
        "velocity": Network(description="Velocity alone, with its label-blind mask and σ_v", channels="velocity"),
        "velocity-own": Network(
            description="Velocity alone, with the mask and σ_v of the stamp's own flux", channels="velocity", label_blind=False
        ),
        "both": Network(description="Flux and velocity, as channels of one image", channels="both"),
        "both-two-streams": Network(description="Flux and velocity, two branches", architecture="deep_dual_stream", channels="both"),
        "mask": Network(description="Mask alone: must know nothing", channels="mask"),
        "shuffled": Network(description="Flux and another stamp's velocity", channels="both", shuffle_velocity=True),
        "toy": Network(description="Two convolutions", architecture="toy", channels="both", training=small),
        "flux-baseline": Network(description="Three convolutions on flux", architecture="flux_baseline", channels="flux", training=small),
        "dual-stream": Network(description="Two baselines joined", architecture="dual_stream", channels="both", training=small),
    }


def default_experiments() -> dict[str, Experiment]:
    """Return the experiment that the project exists for."""
    return {
        "subhalo": Experiment(
            question="Does a flux and velocity network detect dark subhalos better than a flux-only one?",
            dataset="subhalo",
            detectors=("flux", "velocity", "both", "mask", "shuffled"),
            seeds=(1, 2, 3),
            comparisons=(("flux", "both"), ("velocity", "both"), ("flux", "shuffled")),
        )
    }
