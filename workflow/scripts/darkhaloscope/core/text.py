"""Numbers as they are printed."""

from __future__ import annotations


def power_of_ten(exponent: float) -> str:
    """Return ten to a power of one digit behind the point as it is printed: 10⁻³, 10⁹·⁷."""
    return "10" + f"{exponent:.1f}".removesuffix(".0").translate(str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹"))
