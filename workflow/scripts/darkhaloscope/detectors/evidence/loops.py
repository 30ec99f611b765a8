"""Compiled loops of the detector on a processor: covariances between rays, what pixels see of them, and lenses with their derivatives.

Matrices between rays are large, and every pass over one costs as much as what is computed in it: each loop here makes one pass. On other
devices the same is done in torch (`pixels.Sparse`, `process`, `LensPrior.derivatives`); tests hold the two together.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ...lensing.compiled import inner, keep, outer
from ...lensing.floats import F, exp2

#: Parameters of a lens, in the order of the rows that `trace` takes; multipoles relative to θ_E.
LENS = ("theta_e", "slope", "e1", "e2", "x", "y", "gamma1", "gamma2", "m3_cos", "m3_sin", "m4_cos", "m4_sin")
#: Relative size at which the series of the elliptical power law is cut, and the most terms.
SERIES_CUT, MOST_TERMS = 1e-10, 200
#: Largest −log₂ of what an exponential may fall to.
FALL = F(119)
#: Rows of a matrix that are transposed together: a line of a cache.
TOGETHER = 16


@njit(**outer)
def matern(beta, amplitude, length, bright, covariance, steepness):
    """Covariances of a sum of Matérn-3/2 terms between rays, and their steepness: ∇K(Δ) = steepness · Δ.

    Parameters
    ----------
    beta : (2, r) float32, source positions, in units of the lengths
    amplitude, length : (t,) float32; terms of no amplitude are left out
    bright : (r,) float32, how bright the source is where the rays are: multiplies both from both sides
    covariance, steepness : (r, r) float32, overwritten; an empty `steepness` is not filled
    """
    rays, both = beta.shape[1], steepness.shape[0] > 0
    for i in range(rays):
        row, slope, x, y = covariance[i], steepness[i if both else 0 :], beta[0, i], beta[1, i]
        first = True
        for t in range(len(amplitude)):
            if amplitude[t] == F(0) and t > 0:
                continue
            rate = F(math.sqrt(3)) / length[t]
            square, fall = amplitude[t] * amplitude[t], -F(math.log2(math.e)) * rate
            strength = -square * rate * rate
            if first and both:
                line = slope[0]
                for j in range(rays):
                    distance = np.sqrt((beta[0, j] - x) ** 2 + (beta[1, j] - y) ** 2)
                    decay = exp2(max(fall * distance, -FALL))
                    row[j] = square * (F(1) + rate * distance) * decay
                    line[j] = strength * decay
            elif both:
                line = slope[0]
                for j in range(rays):
                    distance = np.sqrt((beta[0, j] - x) ** 2 + (beta[1, j] - y) ** 2)
                    decay = exp2(max(fall * distance, -FALL))
                    row[j] += square * (F(1) + rate * distance) * decay
                    line[j] += strength * decay
            elif first:
                for j in range(rays):
                    distance = np.sqrt((beta[0, j] - x) ** 2 + (beta[1, j] - y) ** 2)
                    row[j] = square * (F(1) + rate * distance) * exp2(max(fall * distance, -FALL))
            else:
                for j in range(rays):
                    distance = np.sqrt((beta[0, j] - x) ** 2 + (beta[1, j] - y) ** 2)
                    row[j] += square * (F(1) + rate * distance) * exp2(max(fall * distance, -FALL))
            first = False
        for j in range(rays):
            row[j] *= bright[i] * bright[j]
        if both:
            line = slope[0]
            for j in range(rays):
                line[j] *= bright[i] * bright[j]


@njit(**outer)
def product(pointer, index, weight, values, out):
    """`out` (n, k) = sparse matrix in compressed rows (n, r) · `values` (r, k), float32."""
    for i in range(len(pointer) - 1):
        row = out[i]
        row[:] = F(0)
        for at in range(pointer[i], pointer[i + 1]):
            w, line = weight[at], values[index[at]]
            for j in range(row.shape[0]):
                row[j] += w * line[j]


@njit(**inner)
def _combine(first, last, index, weight, values, length, out):
    """out[:length] = Σ weight · values[index], over a row of a sparse matrix, float32."""
    for j in range(length):
        out[j] = F(0)
    at = first
    # Five lines at once, as many as a row of the PSF's kernel: what is summed is read and written once for all of them.
    while at + 4 < last:
        w0, w1, w2, w3, w4 = weight[at], weight[at + 1], weight[at + 2], weight[at + 3], weight[at + 4]
        v0, v1, v2, v3, v4 = values[index[at]], values[index[at + 1]], values[index[at + 2]], values[index[at + 3]], values[index[at + 4]]
        for j in range(length):
            out[j] += w0 * v0[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j] + w4 * v4[j]
        at += 5
    while at + 3 < last:
        w0, w1, w2, w3 = weight[at], weight[at + 1], weight[at + 2], weight[at + 3]
        v0, v1, v2, v3 = values[index[at]], values[index[at + 1]], values[index[at + 2]], values[index[at + 3]]
        for j in range(length):
            out[j] += w0 * v0[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j]
        at += 4
    while at < last:
        w0, v0 = weight[at], values[index[at]]
        for j in range(length):
            out[j] += w0 * v0[j]
        at += 1


@njit(**outer)
def sandwich(pointer, index, weight, symmetric, half, out):
    """`out` (n, n) = B · `symmetric` (r, r) · Bᵀ of a sparse B in compressed rows (n, r), float32; `half` (r, n) is overwritten."""
    rays, pixels = symmetric.shape[0], len(pointer) - 1
    lines = np.empty((TOGETHER, rays), F)
    # The transpose of B · symmetric, so that its rows are read in the second product; written some columns at a time, as a cache wants it.
    for first in range(0, pixels, TOGETHER):
        some = min(TOGETHER, pixels - first)
        for k in range(some):
            _combine(pointer[first + k], pointer[first + k + 1], index, weight, symmetric, rays, lines[k])
        for j in range(rays):
            for k in range(some):
                half[j, first + k] = lines[k, j]
    for i in range(pixels):
        _combine(pointer[i], pointer[i + 1], index, weight, half, i + 1, out[i])
    for first in range(0, pixels, TOGETHER):
        last = min(first + TOGETHER, pixels)
        for j in range(first + 1, pixels):
            for k in range(first, min(last, j)):
                out[k, j] = out[j, k]


@njit(**outer)
def vector_fields(beta, covariance, steepness, edge, pull, u, score, gradient):
    """Score field and gradient of the source as found, of one stamp.

    scoreᵢ = Σⱼ (uᵢ uⱼ − Pᵢⱼ) (∇K(βᵢ − βⱼ) + Kᵢⱼ ∇ln wᵢ), gradientᵢ = Σⱼ uⱼ (∇K(βᵢ − βⱼ) + Kᵢⱼ ∇ln wᵢ).

    Parameters
    ----------
    beta : (2, r) float32
    covariance, steepness, pull : (r, r) float32; `pull` is P = Bᵀ C⁻¹ B
    edge : (r, 2) float32, ∇ln w
    u : (r,) float32
    score, gradient : (r, 2) float32, overwritten
    """
    rays = len(u)
    for i in range(rays):
        flux, slope, row, x, y = covariance[i], steepness[i], pull[i], beta[0, i], beta[1, i]
        gx, gy, hx, hy, s, t = F(0), F(0), F(0), F(0), F(0), F(0)
        for j in range(rays):
            dx, dy = x - beta[0, j], y - beta[1, j]
            a, b = slope[j] * u[j], slope[j] * row[j]
            gx += a * dx
            gy += a * dy
            hx += b * dx
            hy += b * dy
            s += flux[j] * u[j]
            t += flux[j] * row[j]
        gradient[i, 0], gradient[i, 1] = gx + s * edge[i, 0], gy + s * edge[i, 1]
        score[i, 0] = u[i] * gradient[i, 0] - hx - t * edge[i, 0]
        score[i, 1] = u[i] * gradient[i, 1] - hy - t * edge[i, 1]


@njit(**inner)
def _coefficients(t, e, series):
    """Fill the series of ₂F₁(1, t/2; 2 − t/2; ζ), of its derivative by t, and of that by ζ; return the number of terms."""
    terms = 1
    if e > 0:
        terms = min(MOST_TERMS - 1, int(math.log(SERIES_CUT) / math.log(min(e, 0.9))) + 2)
    c, grows = 1.0, 0.0
    series[0, 0], series[1, 0] = 1.0, 0.0
    for k in range(1, terms + 1):
        above, below = 2 * k - 2 + t, 2 * k + 2 - t
        c *= above / below
        grows += 1 / above + 1 / below
        series[0, k], series[1, k], series[2, k - 1] = c, c * grows, k * c
    series[2, terms] = 0.0
    return terms


@njit(**outer)
def trace(lens, x, y, series, deflection, pushed):
    """Deflection of elliptical power laws with shear and multipoles, and its derivatives by all their parameters.

    With z = x + i y from the centre, ε = e1 + i e2, w = z − ε z̄, u = w/|w|, ζ = −ε̄ u², s = θ_E √(1 − |ε|²) and F of `_coefficients`,

        α = s^t |w|^(1 − t) u F(ζ)                                   (Tessore & Metcalf 2015; `lensing.profiles.epl`),
        δα = α (t δln s + ln(s/|w|) δt + (1 − t) a + i b) + s^t |w|^(1 − t) u (F_t δt + F_ζ δζ),
        a + i b = δw/w,   δζ = −δε̄ u² + 2 i b ζ.

    Parameters
    ----------
    lens : (n, 12) float64, in the order of `LENS`
    x, y : (n, r) float64, arcsec
    series : (3, MOST_TERMS) float64, overwritten
    deflection : (n, r, 2) float64, overwritten
    pushed : (n, 12, r, 2) float32, overwritten; where empty no derivatives are computed
    """
    for row in range(lens.shape[0]):
        theta, slope, e1, e2, cx, cy, g1, g2 = lens[row, :8]
        c3, s3, c4, s4 = lens[row, 8:]
        t, square = slope - 1, e1 * e1 + e2 * e2
        terms, shape = _coefficients(t, math.sqrt(square), series), 1 - square
        log_s, eps, eps_bar = math.log(theta * math.sqrt(shape)), complex(e1, e2), complex(e1, -e2)
        for j in range(x.shape[1]):
            px, py = x[row, j], y[row, j]
            z = complex(px - cx, py - cy)
            radius2 = z.real * z.real + z.imag * z.imag
            if radius2 < 1e-18:
                z, radius2 = complex(1e-9, 0.0), 1e-18
            w = z - eps * z.conjugate()
            length2 = w.real * w.real + w.imag * w.imag
            log_r = 0.5 * math.log(length2)
            u = w / math.sqrt(length2)
            zeta = -eps_bar * u * u
            f = complex(series[0, terms], 0.0)
            for k in range(terms - 1, -1, -1):
                f = f * zeta + series[0, k]
            power = math.exp(t * log_s + (1 - t) * log_r) * u
            alpha = power * f
            # Multipoles: ψ = θ_E r Σ (c cos mφ + s sin mφ)/(1 − m²); α = e^{iφ} (radial + i tangential).
            e = z / math.sqrt(radius2)
            e_2 = e * e
            e_3, e_4 = e_2 * e, e_2 * e_2
            radial = -(c3 * e_3.real + s3 * e_3.imag) / 8 - (c4 * e_4.real + s4 * e_4.imag) / 15
            tangential = -3 * (s3 * e_3.real - c3 * e_3.imag) / 8 - 4 * (s4 * e_4.real - c4 * e_4.imag) / 15
            bump = e * complex(radial, tangential)
            total = alpha + theta * bump
            deflection[row, j, 0] = total.real + g1 * px + g2 * py
            deflection[row, j, 1] = total.imag + g2 * px - g1 * py
            if pushed.shape[0] == 0:
                continue
            by_t, by_zeta = complex(series[1, terms], 0.0), complex(0.0, 0.0)
            for k in range(terms - 1, -1, -1):
                by_t, by_zeta = by_t * zeta + series[1, k], by_zeta * zeta + series[2, k]
            _put(pushed, row, 0, j, alpha * t / theta + bump)
            _put(pushed, row, 1, j, alpha * (log_s - log_r) + power * by_t)
            for k in range(2):
                change = complex(1.0, 0.0) if k == 0 else complex(0.0, 1.0)
                part = -change * z.conjugate() / w
                moved = -change.conjugate() * u * u + complex(0.0, 2 * part.imag) * zeta
                along = complex(-t * (e1 if k == 0 else e2) / shape + (1 - t) * part.real, part.imag)
                _put(pushed, row, 2 + k, j, alpha * along + power * by_zeta * moved)
                # The centre moves the other way than the ray.
                part = -(change - eps * change.conjugate()) / w
                moved = complex(0.0, 2 * part.imag) * zeta
                here = alpha * complex((1 - t) * part.real, part.imag) + power * by_zeta * moved
                # Second derivatives of the multipoles' potential: ψ_rr = 0, so that only motion across the ray counts.
                bend = c3 * e_3.real + s3 * e_3.imag + c4 * e_4.real + s4 * e_4.imag
                across = change.imag * e.real - change.real * e.imag
                here += theta * bend * across / math.sqrt(radius2) * complex(e.imag, -e.real)
                _put(pushed, row, 4 + k, j, here)
            _put(pushed, row, 6, j, complex(px, -py))
            _put(pushed, row, 7, j, complex(py, px))
            _put(pushed, row, 8, j, -theta * e * complex(e_3.real, -3 * e_3.imag) / 8)
            _put(pushed, row, 9, j, -theta * e * complex(e_3.imag, 3 * e_3.real) / 8)
            _put(pushed, row, 10, j, -theta * e * complex(e_4.real, -4 * e_4.imag) / 15)
            _put(pushed, row, 11, j, -theta * e * complex(e_4.imag, 4 * e_4.real) / 15)


@njit(**inner)
def _put(pushed, row, k, j, value):
    pushed[row, k, j, 0], pushed[row, k, j, 1] = value.real, value.imag


keep(matern, product, sandwich, vector_fields, trace)
