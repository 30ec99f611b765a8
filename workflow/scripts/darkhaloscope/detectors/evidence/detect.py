"""Stamps in, findings out: noise, start, fit, velocity, scan, of a batch of stamps at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.evidence import Evidence
from ...config.subhalo import SubhaloDataset
from .fit import FAR, NEAR, Linear, ascend, climb, different, draws, evaluate, kernels_of, linearise, pick_kernel, rank_kernels
from .maps import maps_of, velocity_pixels
from .pixels import Batch, Channel, DetectorError, Sky, flux_channel, measure_sky, response, stack, velocity_channel
from .plane import SourcePlane
from .prior import LensPrior, SubhaloProfile, subhalo_profiles
from .process import Kernel, moved_source, source_flux
from .scan import Places, Response, Scan, changes, deflections, marginalise, places, promise, seen, try_subhalos

log = logging.getLogger("darkhaloscope")

CHANNELS = ("flux", "velocity", "both")
#: How often the kernel may change while a lens is fitted to the image itself.
KERNEL_CHANGES = 3
#: Kernels that fit the last coarse image best and are tried on the image itself.
LIKELY_KERNELS = 4
#: Least flux at a ray that carries a velocity, in the unit of the stamp.
FAINTEST = 0.01


@dataclass(frozen=True)
class Stamp:
    """What the detector sees of a stamp: its name and its observed images, (h, w) each; no velocity where `mask` is None.

    `start` (q,) are lens parameters that something else made of the same images (`starts.start_values`): the search begins there, too.
    """

    name: str
    flux: NDArray
    velocity: NDArray | None = None
    sigma: NDArray | None = None
    mask: NDArray | None = None
    start: NDArray | None = None


@dataclass(frozen=True)
class Fitted:
    """A stamp with its lens found: what subhalos are tried on.

    `channels` by name (flux, velocity): a batch, its linearisation and the stamp's row in it; `plane` is the source plane of the flux. `offset` (q,) of the lens parameters from
    their mean, in widths; `theta_e` in arcsec; `chi2` per pixel by channel.
    """

    name: str
    sky: Sky
    where: Places
    channels: dict[str, tuple[Batch, Linear, int]]
    plane: SourcePlane
    offset: Tensor
    lens: NDArray
    theta_e: float
    chi2: dict[str, float]
    steps: int
    restarted: bool

    def scan(self, profiles: Sequence[SubhaloProfile]) -> dict[str, Scan]:
        """Return what subhalos of some profiles at every place give, from flux, velocity where there is one, and both."""
        _, shifts = self._shifts(profiles)
        trials = {name: try_subhalos(*channel, shifts[name]) for name, channel in self.channels.items()}
        return {name: marginalise(some, self.offset, len(profiles)) for name, some in _alone_and_together(trials).items()}

    def promise(self, profiles: Sequence[SubhaloProfile]) -> dict[str, NDArray]:
        """Return the mean z (p, k) that subhalos of some profiles would have at each place, by channel as `scan`."""
        moved, shifts = self._shifts(profiles)
        size = self._placed()[1].float()
        responses = {}
        for name, (batch, linear, row) in self.channels.items():
            prior = self.plane if name == "flux" else self.plane.bare
            pushed = prior.derivatives(linear.values[[row]], batch.x[[row]], batch.y[[row]])[1][0]
            # Halos that can be seen are no small change: what they do to the source as found is not linear.
            shift = moved / size if name == "flux" else shifts[name]
            there = seen(batch, linear, row, moved_source(batch, linear.solved, row, -shift).T).double()
            tried, left = changes(batch, linear, row, -shifts[name])
            responses[name] = Response(there, tried, left, *changes(batch, linear, row, -pushed)).weakened(self.chi2[name])
        return {name: promise(some, len(profiles)) for name, some in _alone_and_together(responses).items()}

    def _placed(self) -> tuple[Tensor, Tensor]:
        """Rays (1, r, 2) on the source plane of the flux, in units of the source, and the size (1,) of that in arcsec."""
        batch, linear, row = self.channels["flux"]
        return self.plane.place(self.plane.angles(linear.values[[row]], batch.x[[row]], batch.y[[row]]))

    def _shifts(self, profiles: Sequence[SubhaloProfile]) -> tuple[Tensor, dict[str, Tensor]]:
        """Deflections (p·k, r, 2) in arcsec, and by channel in the units of its source plane once its middle and size follow them.

        Light is seen in units of the source, velocity in arcsec.
        """
        batch, _, row = self.channels["flux"]
        moved = deflections(self.where, profiles, self.theta_e, batch.x[row], batch.y[row])
        followed = {"flux": self.plane.carry(moved, *self._placed())}
        if "velocity" in self.channels:
            # The same rays, though padded to those of other stamps: what is beyond the stamp's own reaches no pixel.
            more = self.channels["velocity"][0].x.shape[1] - moved.shape[1]
            followed["velocity"] = torch.nn.functional.pad(moved, (0, 0, 0, more)) if more else moved
        return moved, followed


@dataclass(frozen=True)
class Finding:
    """What was found in one stamp.

    `scans` by channel (flux, velocity where there is one, both); `lens` (q,) parameters of the prior's names and their marginal `errors`;
    `chi2` of flux and velocity per pixel; `steps` that led upwards; `restarted`; `trusted`: whether lens and source fit;
    `maps` (h, w) by name, where they are asked for.
    """

    name: str
    where: Places
    scans: dict[str, Scan]
    lens: NDArray
    errors: NDArray
    chi2: dict[str, float]
    pixels: int
    steps: int
    restarted: bool
    trusted: bool
    maps: dict[str, NDArray] | None = None


def _alone_and_together(channels: dict[str, Any]) -> dict[str, list[Any]]:
    """Return each channel alone, and `both`."""
    return {**{name: [one] for name, one in channels.items()}, "both": list(channels.values())}


@dataclass(frozen=True)
class Detector:
    """Everything that is known before a stamp is seen."""

    dataset: SubhaloDataset
    settings: Evidence
    prior: LensPrior
    profiles: tuple[SubhaloProfile, ...]
    kernel: NDArray
    device: torch.device | str = "cpu"
    _draws: dict[int, Tensor] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, dataset: SubhaloDataset, cosmology: Cosmology, settings: Evidence, device: torch.device | str = "cpu") -> Detector:
        """Return the detector with a dataset's priors.

        Raises
        ------
        DetectorError
            The dataset's label is not a subhalo.
        """
        if dataset.contrast != "subhalo":
            raise DetectorError(
                f"the evidence detector looks for a subhalo, which contrast `{dataset.contrast}` does not have: leave it out there"
            )
        return cls(
            dataset, settings, LensPrior.of(dataset.lens), subhalo_profiles(dataset, cosmology), response(dataset.instrument), device
        )

    @property
    def scale(self) -> float:
        """Pixel scale, arcsec."""
        return self.dataset.instrument.pixel_scale_arcsec

    def detect(self, stamps: Sequence[Stamp]) -> list[Finding | None]:
        """Return what is found in each stamp, None where a stamp has too little light to be fitted.

        Neither the other stamps nor their order matter to a stamp's finding, but for rounding.
        """
        out: list[Finding | None] = [None] * len(stamps)
        for row, fitted in self._fitted(stamps):
            out[row] = self._finding(fitted, stamps[row])
        return out

    def fit(self, stamps: Sequence[Stamp]) -> list[Fitted | None]:
        """Return each stamp with its lens found, None where it has too little light. Each holds some 40 MB: `detect` keeps those of a batch alone."""
        out: list[Fitted | None] = [None] * len(stamps)
        for row, fitted in self._fitted(stamps):
            out[row] = fitted
        return out

    def _fitted(self, stamps: Sequence[Stamp]) -> Iterator[tuple[int, Fitted]]:
        """Give the rows of stamps with enough light and their lenses found, a batch after the other."""
        skies = {}
        for row, stamp in enumerate(stamps):
            try:
                skies[row] = measure_sky(stamp.flux, self.dataset.instrument, stamp.name)
            except DetectorError as error:
                log.warning("not scored: %s", error)
        # Stamps of like size stand together, so that little is padded.
        order = sorted(skies, key=lambda row: int(skies[row].arc.sum()))
        for first in range(0, len(order), self.settings.batch_size):
            rows = order[first : first + self.settings.batch_size]
            yield from zip(rows, self._fit_batch([stamps[r] for r in rows], [skies[r] for r in rows]), strict=True)

    def _fit_batch(self, stamps: Sequence[Stamp], skies: Sequence[Sky]) -> list[Fitted]:
        channels = [flux_channel(sky, self.kernel, self.scale) for sky in skies]
        batch = stack(channels, self.device)
        plane = SourcePlane.about(self.prior, batch)
        linear, kernel, steps = self._fit(batch, plane, *self._start(skies, starts=[stamp.start for stamp in stamps]))
        chi2 = linear.solved.chi2(batch)
        bad = torch.nonzero(chi2 > self.settings.restart_chi2).flatten()
        restarted = torch.zeros(len(stamps), dtype=torch.bool)
        if len(bad):
            linear, steps, restarted = self._restart(skies, channels, batch, plane, linear, kernel, steps, bad)
            chi2 = linear.solved.chi2(batch)
        velocities = self._velocities(stamps, skies, channels, batch, linear)
        out = []
        for row, stamp in enumerate(stamps):
            values, seen = linear.values[row], {"flux": (batch, linear, row)}
            if velocities[row] is not None:
                seen["velocity"] = velocities[row]
            out.append(
                Fitted(
                    name=stamp.name,
                    sky=skies[row],
                    where=places(self.dataset, skies[row], self.prior.lens(values[None]), self.settings.place_step),
                    channels=seen,
                    plane=plane.of(row),
                    offset=self.prior.offset(values[None])[0],
                    lens=values.cpu().numpy(),
                    theta_e=float(self.prior.lens(values[None]).theta_e),
                    chi2={name: float(about.solved.chi2(data)[place]) for name, (data, about, place) in seen.items()},
                    steps=int(steps[row]),
                    restarted=bool(restarted[row]),
                )
            )
        return out

    # --- the lens ---------------------------------------------------------------------------------

    def _start(self, skies: Sequence[Sky], factor: int = 1, starts: Sequence[NDArray | None] | None = None) -> tuple[Tensor, list[Kernel]]:
        """Return lens parameters (b, q) of the best fits to coarse images, and the kernels that fit there best, in order.

        `factor` multiplies the draws of the prior, and the starts that are climbed from; `starts` (q,) of each stamp are climbed from, too.
        """
        found = [self._search(sky, factor, start) for sky, start in zip(skies, starts or [None] * len(skies), strict=True)]
        values, kernels = zip(*found, strict=True)
        return torch.cat(values), [Kernel.cat(of_rank) for of_rank in zip(*kernels, strict=True)]

    def _search(self, sky: Sky, factor: int, start: NDArray | None) -> tuple[Tensor, list[Kernel]]:
        """Return the lens (1, q) of one stamp, and the likely kernels of its source, the likeliest first."""
        settings, values, heights = self.settings, self._prior_draws(self.settings.draws * factor), None
        images: dict[int, Channel] = {}
        for stage in settings.search:
            if stage.bin not in images:
                images[stage.bin] = flux_channel(sky, self.kernel, self.scale, stage.bin)
            coarse = images[stage.bin]
            alone = stack([replace(coarse, variance=coarse.variance * stage.noise)], self.device)
            plane = SourcePlane.about(self.prior, alone)
            if heights is None:
                heights = self._heights(alone, plane, values)
                values = values[heights.topk(min(stage.starts * factor, len(values))).indices]
            else:
                values = values[different(self.prior.offset(values), heights, stage.starts * factor)]
            if start is not None:
                values = torch.cat([values, torch.as_tensor(start, dtype=values.dtype, device=values.device)[None]])
            several = alone.of([0] * len(values))
            kernel = self._smooth(len(values))
            if stage.noise == 1:
                # With the noise that there is, and a source of the kernel that fits: nearly as good as the image itself, at a tenth of the cost.
                kernel = pick_kernel(several, plane, values, settings.source_kernels, settings.source_extents)
            values, heights = ascend(several, plane, values, kernel, stage.steps, FAR if stage.noise > 1 else NEAR, settings.enough)
        best, alone = values[heights.argmax()][None], stack([coarse], self.device)
        plane = SourcePlane.about(self.prior, alone)
        choices = kernels_of(settings.source_kernels, settings.source_extents, best)
        return best, rank_kernels(alone, plane, best, choices, LIKELY_KERNELS)

    def _heights(self, alone: Batch, plane: SourcePlane, values: Tensor) -> Tensor:
        """ln E + ln prior (n,) of lenses (n, q) on the one image of a batch, with a smooth source."""
        return torch.cat(
            [evaluate(alone.of([0] * len(some)), plane, some, self._smooth(len(some))) for some in values.split(self._at_once)]
        )

    @property
    def _at_once(self) -> int:
        """Draws evaluated together: few enough for a processor's cache, or many for a GPU."""
        return 16 if torch.device(self.device).type == "cpu" else 512

    def _fit(self, batch: Batch, plane: SourcePlane, start: Tensor, likely: list[Kernel]) -> tuple[Linear, Kernel, Tensor]:
        """Climb on the image itself; where another of the likely kernels then fits better, climb with that one."""
        settings = self.settings
        likely = rank_kernels(batch, plane, start, likely, len(likely))
        linear, steps = climb(batch, plane, start, likely[0], settings.steps, NEAR, settings.enough)
        for _ in range(KERNEL_CHANGES):
            again = rank_kernels(batch, plane, linear.values, likely, len(likely), first=linear.solved.log_evidence)
            if again[0].equals(likely[0]):
                break
            likely = again
            linear, more = climb(batch, plane, linear.values, likely[0], settings.steps, NEAR, settings.enough)
            steps = steps + more
        return linear, likely[0], steps

    def _restart(
        self,
        skies: Sequence[Sky],
        channels: Sequence[Channel],
        batch: Batch,
        plane: SourcePlane,
        linear: Linear,
        kernel: Kernel,
        steps: Tensor,
        bad: Tensor,
    ) -> tuple[Linear, Tensor, Tensor]:
        """Look anew for the lenses of some stamps, and keep what is better."""
        chosen = [int(row) for row in bad]
        some = stack([channels[row] for row in chosen], self.device)
        start = self._start([skies[row] for row in chosen], self.settings.restart_factor)
        again, again_kernel, more = self._fit(some, SourcePlane.about(self.prior, some), *start)
        better = again.log_posterior > linear.log_posterior[bad]
        values, steps = linear.values.clone(), steps.clone()
        kernel = Kernel(kernel.amplitude.clone(), kernel.length.clone(), kernel.extent.clone())
        for old, new in (
            (values, again.values),
            *((getattr(kernel, k), getattr(again_kernel, k)) for k in ("amplitude", "length", "extent")),
        ):
            old[bad[better]] = new[better]
        steps[bad] += more
        restarted = torch.zeros(len(values), dtype=torch.bool)
        restarted[bad] = True
        if bool(better.any()):
            linear = linearise(batch, plane, values, kernel)
        return linear, steps, restarted

    # --- the second channel -----------------------------------------------------------------------

    def _velocities(
        self, stamps: Sequence[Stamp], skies: Sequence[Sky], channels: Sequence[Channel], batch: Batch, linear: Linear
    ) -> list[tuple[Batch, Linear, int] | None]:
        """Return the velocity of each stamp linearised about the lens of the flux, as a batch and a row of it."""
        found = source_flux(batch, linear.solved).clamp(min=FAINTEST).cpu().numpy()
        seen = {}
        for row, stamp in enumerate(stamps):
            if stamp.mask is not None:
                rays = found[row, : len(channels[row].x)]
                channel = velocity_channel(
                    channels[row], skies[row], rays, stamp.velocity, stamp.sigma, stamp.mask, self.dataset.instrument
                )
                if channel is not None:
                    seen[row] = channel
        out: list[tuple[Batch, Linear, int] | None] = [None] * len(stamps)
        if seen:
            together, values = stack(list(seen.values()), self.device), linear.values[list(seen)]
            kernel = pick_kernel(together, self.prior, values, self.settings.velocity_kernels)
            about = linearise(together, self.prior, values, kernel)
            for place, row in enumerate(seen):
                out[row] = (together, about, place)
        return out

    # --- the subhalo ------------------------------------------------------------------------------

    def _finding(self, fitted: Fitted, stamp: Stamp) -> Finding:
        scans = fitted.scan(self.profiles)
        return Finding(
            name=fitted.name,
            where=fitted.where,
            scans=scans,
            lens=fitted.lens,
            errors=scans["both"].lens_error * self.prior.width,
            chi2=fitted.chi2,
            pixels=int(fitted.sky.arc.sum()),
            steps=fitted.steps,
            restarted=fitted.restarted,
            trusted=fitted.chi2["flux"] <= self.settings.restart_chi2,
            maps=self._maps(fitted, stamp, scans) if self.settings.maps else None,
        )

    def _maps(self, fitted: Fitted, stamp: Stamp, scans: dict[str, Scan]) -> dict[str, NDArray]:
        block = self.dataset.instrument.velocity_block
        seen = velocity_pixels(fitted.sky, stamp.sigma, stamp.mask, block) if "velocity" in fitted.channels else None
        channels = {name: (batch, linear.solved, row) for name, (batch, linear, row) in fitted.channels.items()}
        return maps_of(fitted.sky, fitted.where, scans, channels, seen, block)

    def shares(self, where: Places) -> NDArray:
        """Share (p, k) of the prior that each profile has at each place."""
        return np.array([p.share for p in self.profiles])[:, None] * where.share

    def _smooth(self, count: int) -> Kernel:
        return Kernel.of(self.settings.start_kernel, count, self.device, self.settings.start_extent)

    def _prior_draws(self, count: int) -> Tensor:
        if count not in self._draws:
            self._draws[count] = draws(self.prior, count).to(self.device)
        return self._draws[count]
