"""A network: architecture, channels, input scaling and training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Fraction, Positive, Section


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


class Training(Section):
    """How a network is fitted."""

    epochs: int = Field(20, ge=1, description="Largest number of passes over the training stamps")
    batch_size: int = Field(64, ge=2, description="Stamps per step")
    optimizer: Literal["adam", "adamw"] = Field("adamw", description="Optimiser")
    learning_rate: Positive = Field(1e-3, description="Learning rate; the largest one when the schedule is one_cycle")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay, for adamw")
    schedule: Literal["constant", "one_cycle", "cosine"] = Field("one_cycle", description="Course of the learning rate")
    loss: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="Loss")
    focal_gamma: float = Field(2.0, ge=0, description="Focusing parameter γ of the focal loss")
    patience: int = Field(0, ge=0, description="Stop after this many epochs without a better validation AUC; 0 never stops early")
    augment: bool = Field(True, description="Rotate by 90° and flip training stamps, anew each epoch")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Arithmetic; auto is bfloat16 on a device that has it, float32 on a CPU"
    )
    train_fraction: Fraction = Field(1.0, gt=0, description="Share of the training stamps used, for learning curves")


class Network(Section):
    """A classifier of stamps."""

    description: str = Field("", description="One sentence for the report")
    architecture: Literal["toy", "flux_baseline", "dual_stream", "deep_baseline", "deep_dual_stream"] = Field(
        "deep_baseline", description="Architecture by name"
    )
    channels: Literal["flux", "velocity", "both", "mask"] = Field(
        "both", description="Channels the network sees; velocity comes with its mask and σ_v"
    )
    shuffle_velocity: bool = Field(False, description="Control: every stamp gets the velocity channels of another stamp")
    width: int = Field(32, ge=4, le=512, description="Channels of the first block, for the deep architectures")
    scaling: Scaling = Field(Scaling(), description="Input scaling")
    training: Training = Field(Training(), description="Fitting")

    @model_validator(mode="after")
    def _check(self) -> Network:
        if self.architecture.endswith("dual_stream") and self.channels != "both":
            raise ValueError(
                f"{self.architecture} has one branch for flux and one for velocity: channels must be `both`, not `{self.channels}`"
            )
        if self.shuffle_velocity and self.channels not in ("velocity", "both"):
            raise ValueError(f"shuffle_velocity needs the velocity channel, but channels is `{self.channels}`")
        return self
