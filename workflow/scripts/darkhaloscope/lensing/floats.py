"""Functions in single precision for the compiled loops, which the compiler can vectorise."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .compiled import inner

F = np.float32
LN2 = F(math.log(2))


@njit(inline="always", **inner)
def log1p(x):
    """ln(1 + x) in float32 to 10⁻⁷ of itself, x ≥ −½: 2 arctanh(x/(2 + x)) by its series where x is small."""
    z = min(x, F(0.5)) / (F(2) + min(x, F(0.5)))
    z2 = z * z
    p = F(1 / 15)
    for k in range(6, -1, -1):
        p = F(1) / F(2 * k + 1) + z2 * p
    return F(2) * z * p if x < F(0.5) else LN2 * log2(F(1) + x)


@njit(inline="always", **inner)
def log2(x):
    """log₂ of a positive normal float32, to 10⁻⁷: exponent by bits, the rest by a series in (m − 1)/(m + 1)."""
    bits = F(x).view(np.int32)
    # Mantissa in [1/√2, √2)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (exponent << np.int32(23))).view(F)
    s = (m - F(1)) / (m + F(1))
    z = s * s
    p = F(0.4121986) + z * F(0.3218)
    p = F(2.885390082) + z * (F(0.961796694) + z * (F(0.577078016) + z * p))
    return F(exponent) + s * p


@njit(inline="always", **inner)
def exp2(x):
    """2^x in float32, to 10⁻⁷, for |x| < 120."""
    k = np.floor(x + F(0.5))
    f = x - k
    p = F(1.5403530e-4)
    p = F(1.3333558e-3) + f * p
    p = F(9.6181291e-3) + f * p
    p = F(5.5504109e-2) + f * p
    p = F(2.4022651e-1) + f * p
    p = F(6.9314718e-1) + f * p
    p = F(1) + f * p
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(F)
