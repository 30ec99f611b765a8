"""The cosmology that turns angles into lengths and masses."""

from __future__ import annotations

from pydantic import Field

from .base import Fraction, Positive, Section


class Cosmology(Section):
    """Flat ΛCDM."""

    h0: Positive = Field(70.0, description="Hubble constant [km/s/Mpc]")
    om0: Fraction = Field(0.3, description="Matter density today, in units of the critical density")
