"""The blind ceiling: what is left of the marginal observer when it does not know where, of which profile and how strong the subhalo is.

The marginal observer (`tasks.subhalo.marginal`) projects lens and source out of the pixels and matches the one subhalo that it knows.
The blind one has a template t of every profile of the prior at every place, projected as the data d are, and scores with their mean
likelihood ratio, as the model-based detector does:

    score = ln Σ share(place, profile) exp(tᵀ d − tᵀ t/2).

Noise is drawn many times with the subhalo of the stamp and without it. Like the marginal observer it is linearised, has flat priors of
lens and source, and knows of which family the source is: a reference for detectors that do not, not a strict ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from ..config.cosmology import Cosmology
from ..config.subhalo import SubhaloDataset
from ..core.random import stream
from ..detectors.evidence.pixels import Sky
from ..detectors.evidence.prior import SubhaloProfile, subhalo_profiles
from ..detectors.evidence.scan import Places, deflections, places
from ..lensing.lens import deflection
from ..stamps.columns import Columns
from ..tasks.subhalo.marginal import Whitened, marginal_d_prime, residual

CHANNELS = ("flux", "velocity", "both")
#: Draws of the noise of each stamp, with its subhalo and without.
DRAWS = 200
#: Rays on a pixel's side of templates: the difference that a subhalo makes needs fewer than the image itself.
SAMPLES = 2
#: Places whose templates are rendered at a time.
AT_ONCE = 16
#: Fewer pixels than this are no channel.
LEAST_PIXELS = 5


def blind_ceiling(rows: pa.Table, dataset: SubhaloDataset, cosmology: Cosmology, every: int = 1) -> pd.DataFrame:
    """Return `marginal_d_prime`'s table with the blind ceiling beside it: how well a stamp is told from itself without its subhalo.

    Parameters
    ----------
    rows, dataset, cosmology : as `marginal_d_prime` takes them; the dataset's prior is the observer's
    every : int
        1 where a subhalo may be in every pixel, 2 for every second one, as on a chessboard.

    Returns
    -------
    DataFrame
        The columns of `marginal_d_prime`, and blind_d_prime_{flux,velocity,both}: √2 Φ⁻¹ of the AUC of the stamp's own draws, between 0
        and what so many draws can show; blind_auc_{…}: the share of all stamps' draws without subhalo that score below those of the stamp
        with its own, so that the mean over stamps is their AUC; n_templates. A channel with fewer than five pixels is NaN.

    Raises
    ------
    StampError
        The dataset's contrast is not about a subhalo.
    """
    profiles = subhalo_profiles(dataset, cosmology)
    found: list[dict[str, object]] = []
    scores: list[dict[str, tuple[NDArray, NDArray]]] = []

    def look(one: Columns, seen: Whitened) -> None:
        where = places(dataset, Sky(seen.flux, seen.sigma**2, np.ones(seen.flux.shape, bool), seen.flux), seen.model.lens, every)
        share = np.concatenate([profile.share * where.share for profile in profiles])
        trials, rng = templates(seen, where, profiles), stream(dataset.seed, int(one["number"][0]), "blind ceiling")
        scores.append({c: _draw(seen.signal[c], seen.directions[c], trials[c], share, rng) for c in CHANNELS})
        found.append({"stamp_id": str(one["stamp_id"][0]), "n_templates": len(share)})

    marginal = marginal_d_prime(rows, dataset, cosmology, look)
    for c in CHANNELS:
        controls = np.concatenate([drawn[c][0] for drawn in scores] or [np.zeros(0)])
        for line, drawn in zip(found, scores, strict=True):
            without, with_it = drawn[c]
            line |= {f"blind_d_prime_{c}": d_prime(_share_below(without, with_it)), f"blind_auc_{c}": _share_below(controls, with_it)}
    names = [f"blind_{what}_{c}" for what in ("d_prime", "auc") for c in CHANNELS]
    return marginal.merge(pd.DataFrame(found, columns=["stamp_id", *names, "n_templates"]), on="stamp_id", validate="one_to_one")


def templates(seen: Whitened, where: Places, profiles: Sequence[SubhaloProfile]) -> dict[str, NDArray]:
    """Return what subhalos of some profiles at some places do to the pixels, over the noise, (p·k, n) by channel; not linearised."""
    model = replace(seen.model, supersampling=SAMPLES, kernel=seen.model.kernel.float())
    x, y = model.grid.coordinates(torch.float64)
    steps = [((k + 0.5) / SAMPLES - 0.5) * model.grid.pixel_scale for k in range(SAMPLES)]
    rays = torch.stack([x + sx for _ in steps for sx in steps]), torch.stack([y + sy for sy in steps for _ in steps])
    smooth = [(at - a[0]).float() for at, a in zip(rays, deflection(model.lens, model.subhalos, *(at[None] for at in rays)), strict=True)]
    flat, theta_e = [at.flatten().float() for at in rays], float(model.lens.theta_e[0])

    def image(moved: torch.Tensor) -> tuple[NDArray, NDArray]:
        n = len(moved)
        light = replace(model.light, **{k: v.float().expand(n, *v.shape[1:]) for k, v in vars(model.light).items()})
        bx, by = (s - moved[..., k].reshape(n, *s.shape) for k, s in enumerate(smooth))
        moments = light.moments(bx, by)[:, :2].sum(2) * (model.grid.pixel_scale / SAMPLES) ** 2
        return tuple(a.double().numpy() for a in model.record(moments))

    flux, velocity = image(torch.zeros(1, len(flat[0]), 2))
    by_flux, by_velocity = [], []
    for profile in profiles:
        for start in range(0, len(where.x), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            part = Places(where.x[some], where.y[some], where.share[some], where.pixel[some])
            with_it = image(deflections(part, [profile], theta_e, *flat))
            by_flux.append(((with_it[0] - flux) / seen.sigma).reshape(len(part.x), -1))
            by_velocity.append((with_it[1] - velocity)[:, seen.good] / seen.sigma_v[seen.good])
    found = {"flux": np.concatenate(by_flux), "velocity": np.concatenate(by_velocity)}
    return {**found, "both": np.hstack(list(found.values()))}


def d_prime(auc: float) -> float:
    """Return √2 Φ⁻¹(AUC), between 0 and that of one wrong pair among all."""
    return float(math.sqrt(2) * ndtri(np.clip(auc, 0.5, 1 - 1 / DRAWS**2)))


def _draw(signal: NDArray, directions: NDArray, trials: NDArray, share: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return scores (DRAWS,) of noise alone, and of other noise with the signal; NaN of a channel that is hardly there."""
    if len(signal) < LEAST_PIXELS:
        return np.full(DRAWS, np.nan), np.full(DRAWS, np.nan)
    # A template without its part along lens and source takes that part out of the data as well.
    left = residual(trials.T, directions)
    offset = np.log(share) - (left**2).sum(0) / 2
    noise = rng.standard_normal((2, DRAWS, len(signal))) @ left
    return tuple(np.logaddexp.reduce(noise[k] + k * (signal @ left) + offset, axis=-1) for k in (0, 1))


def _share_below(values: NDArray, others: NDArray) -> float:
    """Share of pairs in which one of the others is above one of the values, ties counted half: the AUC; NaN where there are none."""
    ordered = np.sort(values[np.isfinite(values)])
    if not len(ordered) or not np.isfinite(others).all():
        return math.nan
    below = np.searchsorted(ordered, others, "left") + np.searchsorted(ordered, others, "right")
    return float(below.mean() / (2 * len(ordered)))
