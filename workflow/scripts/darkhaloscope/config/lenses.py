"""Mass profiles, as far as the config must know them: their names, and the keys that their parameters are drawn from.

A profile is an entry here, a module of `lensing.profiles`, and its line there.
"""

from __future__ import annotations

#: Of the main lens: keys of section `lens` beyond those that all have.
MAIN: dict[str, tuple[str, ...]] = {
    "sis": (),
    "sie": ("ellipticity",),
    "epl": ("ellipticity", "slope"),
}

#: Of subhalos: keys of section `subhalo`. Columns of the stamps are null for profiles that do not draw what they hold.
SUBHALO: dict[str, tuple[str, ...]] = {
    "sis": ("theta_e_factor",),
    "nfw": ("log10_mass_msun", "concentration"),
    "tnfw": ("log10_mass_msun", "concentration", "truncation"),
}


def drawing(key: str) -> list[str]:
    """Return the profiles of subhalos that are drawn from a key."""
    return [name for name, keys in SUBHALO.items() if key in keys]
