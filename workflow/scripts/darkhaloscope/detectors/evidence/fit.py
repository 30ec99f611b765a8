"""The smooth lens found from the stamp alone: many starts on coarse images, damped Gauss–Newton steps on finer ones.

The evidence as a function of the lens has many maxima. On a coarse image with a smooth source and more noise than there is it has few,
and each evaluation is cheap: the best of some draws from the prior are climbed from there, the best of these on finer images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import norm, qmc
from torch import Tensor

from .pixels import Batch
from .prior import LensPrior
from .process import Fields, Kernel, Solved, evidence, evidences, fields, solve, whiten

#: Damping at the start of a climb from afar, and from nearby; bounds of any.
FAR, NEAR = 0.3, 3e-3
LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e3
#: No parameter moves by more than this many widths in one step.
LONGEST_STEP = 1.0
#: Two lenses are the same where no parameter differs by more than this many widths.
SAME = 0.3


@dataclass(frozen=True)
class Linear:
    """A batch linearised about lens parameters.

    `values` (b, q); `solved`, `fields`; `jacobian` (b, n, q), L⁻¹ times the derivative of the pixels by the parameters in widths;
    `score` (b, q), derivative of ln E by the parameters in widths; `log_posterior` (b,), ln E + ln prior up to a constant.
    """

    values: Tensor
    solved: Solved
    fields: Fields
    jacobian: Tensor
    score: Tensor
    log_posterior: Tensor

    @property
    def information(self) -> Tensor:
        """Jᵀ C⁻¹ J, (b, q, q), in widths."""
        return self.jacobian.mT @ self.jacobian


def linearise(batch: Batch, prior: LensPrior, values: Tensor, kernel: Kernel, trace: Tensor | None = None) -> Linear:
    """Solve a batch for lenses of parameters (b, q) and linearise it about them; `trace` as in `process.fields`."""
    deflection, pushed = prior.derivatives(values, batch.x, batch.y)
    beta = torch.stack((batch.x, batch.y), -1) - deflection
    solved = solve(batch, beta, kernel)
    found = fields(batch, solved, trace)
    # A lens that deflects more moves the source positions back.
    score = -torch.einsum("brk,bqrk->bq", found.score, pushed).double()
    moved = -torch.einsum("brk,bqrk->brq", found.gradient, pushed)
    jacobian = whiten(solved, batch.observe(moved))
    return Linear(values, solved, found, jacobian, score, log_posterior(prior, values, solved.log_evidence))


def log_posterior(prior: LensPrior, values: Tensor, log_evidence: Tensor) -> Tensor:
    """ln E + ln prior of the lens up to a constant, (b,)."""
    return log_evidence - 0.5 * prior.offset(values).square().sum(1)


def evaluate(batch: Batch, prior: LensPrior, values: Tensor, kernel: Kernel) -> Tensor:
    """ln E + ln prior, (b,), of lenses of parameters (b, q)."""
    beta = torch.stack((batch.x, batch.y), -1) - prior.deflect(values, batch.x, batch.y)
    return log_posterior(prior, values, evidence(batch, beta, kernel))


def climb(
    batch: Batch,
    prior: LensPrior,
    values: Tensor,
    kernel: Kernel,
    steps: int,
    damping: float = FAR,
    enough: float = 0.0,
    trace: Tensor | None = None,
) -> tuple[Linear, Tensor]:
    """Climb to a maximum of ln E + ln prior by damped Gauss–Newton steps, each stamp with its own damping.

    Parameters
    ----------
    batch : Batch of b stamps
    values : (b, q), where to start
    steps : int, most steps
    damping : float
        What is added to the curvature's diagonal at first, relative to it: a small value trusts the first step.
    enough : float
        Stop where no stamp's next step promises more than this in the logarithm.
    trace : (b, r, 2)
        As in `process.fields`: each step is cheaper and points a little aside; heights are exact all the same.

    Returns
    -------
    Linear
        About the best lens found.
    (b,) int64
        Steps that led upwards.
    """
    top, best, upwards = _climb(batch, prior, values, kernel, steps, damping, enough, trace, whole=True)
    return (best or linearise(batch, prior, top["values"], kernel, trace)), upwards


def ascend(
    batch: Batch,
    prior: LensPrior,
    values: Tensor,
    kernel: Kernel,
    steps: int,
    damping: float = FAR,
    enough: float = 0.0,
    trace: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `climb`, but return no more than the lenses (b, q) and ln E + ln prior of each (b,)."""
    top = _climb(batch, prior, values, kernel, steps, damping, enough, trace, whole=False)[0]
    return top["values"], top["height"]


def different(offset: Tensor, height: Tensor, count: int) -> list[int]:
    """Return the rows of the `count` highest of some lenses that differ, best first; fewer where there are not as many.

    Lenses are the same where no parameter differs by more than `SAME` widths.
    """
    kept: list[int] = []
    for row in height.argsort(descending=True).tolist():
        if all(float((offset[row] - offset[other]).abs().max()) > SAME for other in kept):
            kept.append(row)
        if len(kept) == count:
            break
    return kept


def _climb(
    batch: Batch,
    prior: LensPrior,
    values: Tensor,
    kernel: Kernel,
    steps: int,
    damping: float,
    enough: float,
    trace: Tensor | None,
    *,
    whole: bool,
) -> tuple[dict[str, Tensor], Linear | None, Tensor]:
    """What `climb` does: the summary of the best lenses, all about them where it is at hand, and the steps that led upwards.

    Where not the `whole` is asked for, the last step is no more than a height, and the summary no more than values and heights.
    """
    best = linearise(batch, prior, values, kernel, trace)
    top = _summary(best, prior)
    strength = torch.full_like(top["height"], damping)
    upwards = torch.zeros(len(values), dtype=torch.int64, device=values.device)
    for step in range(steps):
        scaled = top["hessian"] + torch.diag_embed(strength[:, None] * top["hessian"].diagonal(dim1=1, dim2=2))
        move = torch.linalg.solve(scaled, top["gradient"]).clamp(-LONGEST_STEP, LONGEST_STEP)
        if enough and bool(((move * top["gradient"]).sum(1) < enough).all()):
            break
        moved = prior.values(prior.offset(top["values"]) + move)
        if not whole and step == steps - 1:
            trial, new = None, {"values": moved, "height": evaluate(batch, prior, moved, kernel)}
        else:
            trial = linearise(batch, prior, moved, kernel, trace)
            new = _summary(trial, prior)
        better = new["height"] > top["height"]
        upwards += better
        strength = torch.where(better, strength / 5, strength * 5).clamp(LEAST_DAMPING, MOST_DAMPING)
        top = {k: torch.where(better.reshape(-1, *[1] * (value.ndim - 1)), value, top[k]) for k, value in new.items()}
        # The whole of it is kept where all stamps took the step; else it is computed again at the end.
        best = trial if bool(better.all()) else best if not bool(better.any()) else None
    return top, best, upwards


def draws(prior: LensPrior, count: int) -> Tensor:
    """Return `count` evenly spread lenses of the prior, (count, q), always the same ones."""
    sobol = qmc.Sobol(len(prior.names), scramble=True, seed=1).random(count)
    return prior.values(torch.as_tensor(norm.ppf(sobol * 0.98 + 0.01)))


def pick_kernel(
    batch: Batch,
    prior: LensPrior,
    values: Tensor,
    kernels: tuple[tuple[tuple[float, float], ...], ...],
    extents: tuple[float | None, ...] = (None,),
) -> Kernel:
    """Return for each stamp the kernel, of some, with the greatest evidence at lens parameters (b, q); `extents` are tried with each."""
    return rank_kernels(batch, prior, values, kernels_of(kernels, extents, values))[0]


def kernels_of(kernels: tuple[tuple[tuple[float, float], ...], ...], extents: tuple[float | None, ...], values: Tensor) -> list[Kernel]:
    """Return each of some kernels with each of some extents, for as many stamps as there are lens parameters (b, q)."""
    most = max(map(len, kernels))
    # Terms of no amplitude fill up the shorter sums.
    return [
        Kernel.of((*terms, *[(0.0, 1.0)] * (most - len(terms))), len(values), values.device, extent)
        for extent in extents
        for terms in kernels
    ]


def rank_kernels(
    batch: Batch, prior: LensPrior, values: Tensor, choices: Sequence[Kernel], count: int = 1, first: Tensor | None = None
) -> list[Kernel]:
    """Return the `count` kernels of greatest evidence at lens parameters (b, q), best first: each stamp's own of some choices for all.

    `first` (b,) is ln E with the first choice, where it is known.
    """
    beta = torch.stack((batch.x, batch.y), -1) - prior.deflect(values, batch.x, batch.y)
    known = [] if first is None else [first[:, None]]
    others = choices[len(known) :]
    heights = torch.cat([*known, *([evidences(batch, beta, others)] if others else [])], 1)
    order = heights.argsort(1, descending=True)
    every, rows = len(values), torch.arange(len(values), device=values.device)
    together = Kernel.cat(choices)
    return [together[order[:, place] * every + rows] for place in range(min(count, len(choices)))]


def _summary(linear: Linear, prior: LensPrior) -> dict[str, Tensor]:
    """What a step needs: where it starts, how high that is, slope and curvature there."""
    offset = prior.offset(linear.values)
    eye = torch.eye(offset.shape[1], dtype=offset.dtype, device=offset.device)
    return {
        "values": linear.values,
        "height": linear.log_posterior,
        "gradient": linear.score - offset,
        "hessian": linear.information + eye,
    }
