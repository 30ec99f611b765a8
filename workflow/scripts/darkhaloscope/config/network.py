"""A network: architecture, channels, input scaling and training."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .base import FilePath, Fraction, Name, Positive, Section
from .detector import Channels, Detector

#: Architectures written here; the deep ones and unet take `width`.
OWN = ("toy", "flux_baseline", "dual_stream", "deep_baseline", "deep_dual_stream", "unet")

#: Architectures whose first layers are set for stamps of 64 pixels; `slim` is a small residual network and takes `width`.
PRESETS = ("slim", "resnet18", "convnext_tiny", "efficientnet_b0")

#: Any other architecture of the timm library is written with this ahead of its name.
TIMM = "timm:"

#: Their names, as the pinned timm has them: importing it takes seconds, and a config is read by every job.
TIMM_NAMES = Path(__file__).with_name("timm_architectures.txt")

#: `pretrained` begins with this where weights come from a hub and not from a file.
HUB = "hub:"


class Scaling(Section):
    """How physical channels become network inputs; stored with the weights."""

    flux: Literal["peak", "noise", "asinh"] = Field(
        "asinh", description="Flux over the stamp's peak; over the background noise; or the asinh of the latter"
    )
    velocity: Literal["fixed", "noise", "asinh"] = Field(
        "fixed", description="Velocity over `velocity_scale_kms`; over its own error σ_v; or the asinh of the latter"
    )
    velocity_scale_kms: Positive = Field(100.0, description="Velocity that becomes 1 when velocity is `fixed` [km/s]")
    centre_velocity: bool = Field(True, description="Subtract the stamp's flux-blind median velocity over the mask")
    bands: Literal["asinh", "linear", "stamp"] = Field(
        "asinh",
        description="Bands: asinh of flux over `softening` × the band's noise; the same without asinh; or (x − median)/(1.4826 MAD) of each stamp",
    )
    softening: Positive = Field(
        3.0, description="Flux at which the asinh of the bands bends, in units of the training stamps' median noise"
    )
    relative_to_core: bool = Field(
        False,
        description="Bands: ahead of that, g and z at the scale at which the stamp's core (0.8 arcsec) has the flux of r: only colours relative to the galaxy's are seen, and zero points do not matter",
    )


class Jitter(Section):
    """Differences between surveys that a network should not care about, drawn anew for each training stamp and epoch; bands only."""

    noise: float = Field(0.0, ge=0, description="Half of the stamps get noise of up to this many times the sky's own")
    colour_mag: float = Field(0.0, ge=0, le=1, description="Standard deviation of a zero point's error, each band its own [mag]")
    brightness_mag: float = Field(0.0, ge=0, le=3, description="Largest change of the brightness of all bands together [mag]")
    clip: Fraction = Field(
        0.0,
        description="Share of stamps that are clipped as colour pictures are: below zero, and in each band above a level drawn between the sky's noise and the core",
    )


class PairTraining(Section):
    """Training on the noiseless pairs of a dataset (its key `pairs`): noise is drawn while training, as the stamps' own is."""

    fresh_noise: bool = Field(True, description="Draw other noise each epoch; false draws that of the dataset's stamps, always the same")
    twins: bool = Field(
        True,
        description="Both members of a pair, with and without the subhalo, in one batch and with common random numbers; false the one member that the training stamp shows",
    )
    amplify: float = Field(1.0, ge=1, le=100, description="Factor on the subhalo's signal at the first step; it falls to 1")
    amplify_share: Fraction = Field(
        0.7, gt=0, description="Share of the training after which the signal has its own strength; the factor's logarithm falls evenly"
    )
    place_weight: float = Field(
        0.0, ge=0, description="Weight in the loss of the place: the map of the positives against where the subhalo is; unet alone"
    )
    lens_weight: float = Field(
        0.0,
        ge=0,
        description="Weight in the loss of the lens, a second output: θ_E, slope, ellipticity, centre, shear in widths of their population; unet alone",
    )


class Training(Section):
    """How a network is fitted."""

    epochs: int = Field(20, ge=1, description="Largest number of passes over the training stamps")
    batch_size: int = Field(64, ge=2, description="Stamps per step, over all devices")
    devices: int = Field(
        1, ge=1, le=64, description="GPUs on each node that train together, each a share of every batch; without GPUs, processes of the CPU"
    )
    nodes: int = Field(1, ge=1, le=256, description="Nodes that train together, each with `devices`; more than one in a job of Slurm alone")
    optimizer: Literal["adam", "adamw"] = Field("adamw", description="Optimiser")
    learning_rate: Positive = Field(1e-3, description="Learning rate; the largest one when the schedule is one_cycle")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay, for adamw")
    schedule: Literal["constant", "one_cycle", "cosine"] = Field("one_cycle", description="Course of the learning rate")
    loss: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="Loss")
    focal_gamma: float = Field(2.0, ge=0, description="Focusing parameter γ of the focal loss")
    patience: int = Field(0, ge=0, description="Stop after this many epochs without a better validation AUC; 0 never stops early")
    augment: bool = Field(True, description="Rotate by 90° and flip training stamps, anew each epoch")
    shift_pixels: float = Field(
        0.0, ge=0, le=4, description="Shift training stamps of bands by up to this much along x and y, by parts of a pixel, anew each epoch"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Arithmetic; auto is bfloat16 on a device that has it, float32 on a CPU"
    )
    train_fraction: Fraction = Field(1.0, gt=0, description="Share of the training stamps used, for learning curves")
    seed_share: Fraction = Field(
        1.0, gt=0, description="Share of the training stamps that each seed draws for itself: below 1, seeds make a committee over subsets"
    )
    min_theta_over_psf: float = Field(
        0.0, ge=0, description="Leave out training positives whose Einstein radius over the r-band PSF FWHM is below this; bands only"
    )
    min_arc_snr: float = Field(0.0, ge=0, description="Leave out training positives whose `arc_snr` is below this; bands only")
    known_lens_weight: float = Field(
        0.0, ge=0, description="Weight of each known lens of the training sky among the positives; 0 leaves them out; bands only"
    )
    real_share: Fraction = Field(
        0.0,
        le=0.9,
        description="Share of each epoch's stamps that are real lenses and look-alikes of the training sky of the dataset's `real_sky`, each shown as often as that takes, turned and jittered anew; 0 leaves them out; bands only",
    )
    jitter: Jitter = Field(Jitter(), description="What else is changed of training stamps of bands, anew each epoch")
    pairs: PairTraining | None = Field(
        None, description="Train on the dataset's noiseless pairs; `pairs: {}` takes all defaults, without it training stamps are used"
    )
    window_stamps: int = Field(16384, ge=256, description="Stamps of bands in memory at a time")
    scratch_gb: float = Field(
        50.0,
        ge=0,
        description="Pixels of a larger set are decoded once into a scratch file (in TMPDIR) up to this size, and anew each epoch above; there stamps are shuffled in windows of `window_stamps`, otherwise as a whole [GB]",
    )


class Head(Section):
    """A last layer fitted on real galaxies with labels and on training stamps together, in place of the one that knows these alone."""

    of: Name | None = Field(
        None,
        description="Network whose features the head takes, one of `detectors` that is trained for itself: nothing is trained again, and all but channels, head and description is as there; without it a network of the section's own is trained first",
    )
    measures: bool = Field(
        True,
        description="Beside the network's features, see 16 measures of light and colour in four rings about the core, relative to the core",
    )
    folds: int = Field(
        10,
        ge=3,
        le=50,
        description="Parts of the sky: the galaxies of each are judged by a head fitted on all others; each class and the sky's cells (3.7 degrees) must be as many at least",
    )
    mock_share: Fraction = Field(
        0.5,
        le=0.9,
        description="Share of the weight that training stamps of the dataset have in the fit, beside the real galaxies: without them a head forgets ordinary galaxies",
    )
    turned: bool = Field(
        True, description="Features are means over the eight orientations of a stamp; false takes it as it is, in an eighth of the time"
    )


class Mining(Section):
    """Which controls a next round of training takes for hard ones."""

    share: Fraction = Field(0.1, gt=0, description="Share of the scored controls that is mined, those with the highest scores")
    most: int = Field(100000, ge=1, description="Largest number of objects mined")
    weight: float = Field(4.0, ge=1, description="Weight of a mined control in the next round; others have 1")
    extra: tuple[Name, ...] = Field(
        (), description="Datasets whose training controls are mined as well; those mined join the training stamps"
    )


class Network(Detector):
    """A classifier of stamps."""

    seeded: ClassVar[bool] = True

    kind: Literal["network"] = Field("network", description="Kind of detector")
    architecture: str = Field(
        "deep_baseline",
        description=f"Architecture: {', '.join(OWN)}; {', '.join(PRESETS)} (set for 64 pixels); or `{TIMM}name` for any of the timm library; dual_stream has a stream for flux and one for all other inputs, none without inputs",
    )
    channels: Channels = Field(
        "both", description="Channels the network sees; velocity comes with its mask and σ_v; bands are g, r and z of the lens finder"
    )
    label_blind: bool = Field(
        True,
        description="For channels velocity and mask: read the velocity, mask and σ_v that the dataset's `instrument.mask` sets; false reads those that follow from the stamp's own noisy flux, as networks that see the flux always do (their partner on equal terms, though such a mask tells of the flux)",
    )
    sees: Literal["pixels", "evidence"] = Field(
        "pixels",
        description="What the channels are: the stamp's own pixels, or what the model-based detector made of them (residuals, z and √ν′ as maps; needs `evidence.maps`, and its findings in training stamps, too)",
    )
    shuffle_velocity: bool = Field(False, description="Control: every stamp gets the velocity channels of another stamp")
    width: int = Field(32, ge=4, le=512, description="Channels of the first block, for the deep architectures and slim")
    pretrained: FilePath | None = Field(
        None,
        min_length=1,
        description=f"Weights to start from: a file (safetensors or a PyTorch state dict), or `{HUB}name` of a timm model on its hub",
    )
    weights: FilePath | None = Field(
        None,
        min_length=1,
        description="File of weights trained elsewhere, used as they are: nothing is trained, and they say the architecture",
    )
    scalars: Literal["none", "early", "late", "branch"] = Field(
        "none",
        description="PSF size and depth of g, r, z: not used; constant planes beside the image; joined to the last features; or through a hidden layer of their own",
    )
    turned: bool = Field(
        False,
        description="A stamp's score is the mean margin over its eight orientations, for the sky has no up; eight times the time of scoring. Part of the network: changed later, it is trained again",
    )
    calibration: Literal["none", "temperature", "isotonic"] = Field(
        "none", description="How scores become probabilities, fitted on the validation stamps after training"
    )
    rounds: int = Field(1, ge=1, le=9, description="Rounds of training; each after the first adds the hard controls of the one before")
    mining: Mining = Field(Mining(), description="Hard controls, for rounds above 1")
    scaling: Scaling = Field(Scaling(), description="Input scaling")
    training: Training = Field(Training(), description="Fitting")
    head: Head | None = Field(
        None,
        description="Fit the last layer on the real galaxies of the dataset's `real_sky`, cross-fitted by sky; `head: {}` takes all defaults, without it the network keeps its own; bands only",
    )

    @property
    def body(self) -> str | None:
        """The name of the network that is trained in this one's place, whose features its head takes; None where it is trained itself."""
        return self.head.of if self.head else None

    def unlike(self, body: Network) -> list[str]:
        """Return the fields that are set, and not as in the network whose features the head takes: all but these of its own come from there."""
        own = {"kind", "description", "channels", "head"}
        return [
            name
            for name, field in type(self).model_fields.items()
            if name not in own and getattr(self, name) not in (field.get_default(call_default_factory=True), getattr(body, name))
        ]

    @property
    def sees_evidence(self) -> bool:
        """Whether the model-based detector's maps stand for the stamp."""
        return self.sees == "evidence"

    @property
    def trains_on_pairs(self) -> bool:
        """Whether noiseless pairs take the place of training stamps."""
        return self.training.pairs is not None

    @property
    def regresses_lens(self) -> bool:
        """Whether the lens is a second output."""
        return self.trains_on_pairs and self.training.pairs.lens_weight > 0

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (*OWN, *PRESETS)
        if value in known:
            return value
        name = value.removeprefix(TIMM)
        # What follows a dot is the name of weights, which only the hub knows.
        in_timm = name.split(".")[0] in timm_names()
        if value.startswith(TIMM):
            if in_timm:
                return value
            close = difflib.get_close_matches(name, timm_names(), n=3, cutoff=0.6)
            nearest = f"nearest: {', '.join(f'`{TIMM}{c}`' for c in close)}" if close else "`timm.list_models()` has all"
            raise ValueError(f"the timm library has no architecture `{name}` ({nearest})")
        if in_timm:
            raise ValueError(f"unknown architecture `{value}`; the timm library has it: write `{TIMM}{value}`")
        close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
        nearest = f"nearest: `{close[0]}`" if close else f"known: {', '.join(known)}"
        raise ValueError(f"unknown architecture `{value}` ({nearest}); those of the timm library are written `{TIMM}name`")

    @model_validator(mode="after")
    def _check(self) -> Network:
        if self.sees_evidence and (self.channels not in ("flux", "velocity", "both") or self.shuffle_velocity or self.trains_on_pairs):
            raise ValueError(
                "sees: evidence has maps of flux, velocity or both in rendered stamps: set channels to one of these, and leave out "
                "shuffle_velocity and training.pairs"
            )
        if self.shuffle_velocity and self.channels not in ("velocity", "both"):
            raise ValueError(f"shuffle_velocity needs the velocity channel, but channels is `{self.channels}`")
        if self.scaling.relative_to_core and (self.channels != "bands" or self.scaling.bands == "stamp"):
            raise ValueError(
                f"scaling.relative_to_core scales bands ahead of asinh or linear, but channels is `{self.channels}` and scaling.bands "
                f"`{self.scaling.bands}` (which gives every band a scale of its own); leave out one of them"
            )
        if self.channels == "bands" and self.architecture.endswith("dual_stream"):
            raise ValueError(f"{self.architecture} has a stream for flux and one for velocity, but channels bands has neither")
        if self.channels == "bands" and self.architecture == "unet":
            raise ValueError(
                "unet makes a map of where a subhalo is, but channels is `bands`: choose slim, or another architecture for bands"
            )
        if self.channels != "bands":
            t = self.training
            wants = {
                "scalars": self.scalars != "none",
                "rounds": self.rounds > 1,
                "weights": self.weights is not None,
                "training.shift_pixels": t.shift_pixels > 0,
                "training.min_theta_over_psf": t.min_theta_over_psf > 0,
                "training.min_arc_snr": t.min_arc_snr > 0,
                "training.known_lens_weight": t.known_lens_weight > 0,
                "training.real_share": t.real_share > 0,
                "training.jitter": t.jitter != Jitter(),
                "head": self.head is not None,
            }
            if any(wants.values()):
                keys = ", ".join(k for k, v in wants.items() if v)
                raise ValueError(
                    f"{keys}: for channels `bands` alone, but channels is `{self.channels}`; set channels to bands, or leave out"
                )
        if self.training.pairs is not None:
            self._check_pairs(self.training.pairs)
        if self.pretrained and self.architecture in (*OWN, "slim"):
            raise ValueError(
                f"pretrained weights need a preset or a timm architecture, but architecture is `{self.architecture}`; for weights of this network itself use `weights`"
            )
        if self.head and self.training.real_share > 0:
            raise ValueError(
                "a head judges each real galaxy by a fold without it, but with training.real_share above 0 the network beneath has learnt from "
                "half of them: leave out head or real_share"
            )
        if self.head and self.head.of is None and self.turned:
            raise ValueError("turned: a head has a key of its own, head.turned; leave out turned")
        if self.head and self.weights:
            raise ValueError("weights trained elsewhere are used as they are: leave out head")
        if self.weights and (self.pretrained or self.rounds > 1):
            raise ValueError("weights trained elsewhere are used as they are: leave out pretrained and rounds")
        return self

    def _check_pairs(self, pairs: PairTraining) -> None:
        if self.channels == "bands":
            raise ValueError("training.pairs: pairs are of the subhalo task, but channels is `bands`; leave out pairs")
        if self.shuffle_velocity:
            raise ValueError(
                "training.pairs: shuffle_velocity takes another stamp's velocity, and pairs have their own; leave out one of them"
            )
        outputs = [key for key in ("place_weight", "lens_weight") if getattr(pairs, key) > 0]
        if outputs and self.architecture != "unet":
            raise ValueError(
                f"training.pairs.{' and '.join(outputs)}: map and lens are outputs of architecture unet, but architecture is `{self.architecture}`"
            )
        if pairs.twins and self.training.batch_size % 2:
            raise ValueError(f"training.pairs.twins: a batch of {self.training.batch_size} is no number of twins; give an even batch_size")


@cache
def timm_names() -> tuple[str, ...]:
    """Return the names of timm's architectures."""
    return tuple(TIMM_NAMES.read_text(encoding="utf-8").split())
