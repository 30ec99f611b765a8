"""Mass profiles: a line each. See `profile` for what one gives and for the conventions."""

from __future__ import annotations

from .halos import NFW, TNFW, nfw, tnfw
from .isothermal import SIS, sis
from .perturbations import multipole, multipole_hessian, shear
from .power_law import EPL, NEARLY_ROUND, SIE, epl, epl_hessian, sie
from .profile import Profile, hessian

#: Of main lenses, by their names in `lens.profile`; each has an entry in `config.lenses` as well.
MAIN: dict[str, Profile] = {p.name: p for p in (SIS, SIE, EPL)}
#: Of subhalos, by their names in `subhalo.profiles`, likewise.
SUBHALO: dict[str, Profile] = {p.name: p for p in (SIS, NFW, TNFW)}

__all__ = [
    "MAIN",
    "NEARLY_ROUND",
    "SUBHALO",
    "Profile",
    "codes",
    "epl",
    "epl_hessian",
    "hessian",
    "looped",
    "multipole",
    "multipole_hessian",
    "nfw",
    "shear",
    "sie",
    "sis",
    "tnfw",
]


def looped() -> tuple[Profile, ...]:
    """Return the profiles with a compiled loop of their own, in the order of their codes, from 1."""
    return tuple({p.name: p for p in (*SUBHALO.values(), *MAIN.values()) if p.loop is not None}.values())


def codes() -> dict[str, int]:
    """Return the codes of these profiles by name."""
    return {p.name: code for code, p in enumerate(looped(), 1)}
