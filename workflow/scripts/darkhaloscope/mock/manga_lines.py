"""Emission lines and spectral indices of the DR17 MAPS files, with typical values for the mock archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One emission-line channel.

    Flux over Hα (after a real star-forming galaxy), its change with R/Re in e-folds, sky noise over
    that at Hα, and the instrument's dispersion there [km/s].
    """

    name: str
    wavelength: float
    ratio: float
    gradient: float
    noise: float
    instrument_kms: float


#: In the order of the channels: Hα is C24, Python index 23; [NII] 6585 is index 24.
LINES = (
    Line("OII-3727", 3727.09, 0.21, 0.25, 1.84, 81.9),
    Line("OII-3729", 3729.88, 0.29, 0.25, 1.82, 81.9),
    Line("H12-3751", 3751.22, 0.006, 0.0, 1.6, 82.0),
    Line("H11-3771", 3771.7, 0.008, 0.0, 1.5, 82.1),
    Line("Hthe-3798", 3798.98, 0.012, 0.0, 1.44, 82.2),
    Line("Heta-3836", 3836.47, 0.018, 0.0, 1.36, 82.2),
    Line("NeIII-3869", 3869.86, 0.022, 0.3, 1.38, 82.1),
    Line("HeI-3889", 3889.75, 0.02, 0.0, 1.4, 82.1),
    Line("Hzet-3890", 3890.15, 0.044, 0.0, 1.42, 82.1),
    Line("NeIII-3968", 3968.59, 0.007, 0.3, 1.2, 81.8),
    Line("Heps-3971", 3971.2, 0.036, 0.0, 1.31, 81.8),
    Line("Hdel-4102", 4102.9, 0.063, 0.0, 1.13, 80.8),
    Line("Hgam-4341", 4341.69, 0.12, 0.0, 1.04, 77.9),
    Line("HeII-4687", 4687.02, 0.004, 0.0, 0.91, 72.3),
    Line("Hb-4862", 4862.69, 0.271, 0.05, 0.93, 69.4),
    Line("OIII-4960", 4960.3, 0.03, 0.35, 0.3, 67.8),
    Line("OIII-5008", 5008.24, 0.089, 0.35, 0.8, 67.0),
    Line("NI-5199", 5199.35, 0.008, -0.2, 0.9, 67.5),
    Line("NI-5201", 5201.71, 0.006, -0.2, 0.9, 67.5),
    Line("HeI-5877", 5877.25, 0.03, 0.0, 1.07, 69.9),
    Line("OI-6302", 6302.05, 0.02, 0.1, 0.69, 77.4),
    Line("OI-6365", 6365.54, 0.007, 0.1, 0.25, 76.8),
    Line("NII-6549", 6549.86, 0.12, -0.3, 0.3, 75.3),
    Line("Ha-6564", 6564.61, 1.0, 0.0, 1.0, 75.2),
    Line("NII-6585", 6585.27, 0.36, -0.3, 0.85, 75.1),
    Line("SII-6718", 6718.29, 0.22, 0.2, 1.0, 74.1),
    Line("SII-6732", 6732.67, 0.16, 0.2, 0.87, 74.0),
    Line("HeI-7067", 7067.14, 0.008, 0.0, 0.8, 72.0),
    Line("ArIII-7137", 7137.76, 0.012, 0.1, 0.8, 71.5),
    Line("ArIII-7753", 7753.24, 0.004, 0.1, 0.9, 68.0),
    Line("Peta-9017", 9017.38, 0.006, 0.0, 1.6, 62.0),
    Line("SIII-9071", 9071.1, 0.05, 0.1, 1.6, 61.8),
    Line("Pzet-9231", 9231.55, 0.008, 0.0, 1.7, 61.0),
    Line("SIII-9533", 9533.2, 0.12, 0.1, 1.8, 60.0),
    Line("Peps-9548", 9548.59, 0.011, 0.0, 1.8, 60.0),
)
#: The moment analysis sums the [OII] doublet in its first channel.
MOMENT_NAMES = ("OIId-3728", *(line.name for line in LINES[1:]))

_INDICES = (
    "CN1 CN2 Ca4227 G4300 Fe4383 Ca4455 Fe4531 C24668 Hb Fe5015 Mg1 Mg2 Mgb Fe5270 Fe5335 Fe5406 Fe5709 Fe5782 NaD TiO1 TiO2 "
    "HDeltaA HGammaA HDeltaF HGammaF CaHK CaII1 CaII2 CaII3 Pa17 Pa14 Pa12 MgICvD NaICvD MgIIR FeHCvD NaI bTiO aTiO CaH1 CaH2 "
    "NaISDSS TiO2SDSS D4000 Dn4000 TiOCvD"
)
INDEX_NAMES = tuple(_INDICES.split())
_MAGNITUDES = frozenset(("CN1", "CN2", "Mg1", "Mg2", "TiO1", "TiO2", "bTiO", "aTiO", "CaH1", "CaH2", "TiO2SDSS"))
_RATIOS = frozenset(("D4000", "Dn4000", "TiOCvD"))
INDEX_UNITS = tuple("mag" if n in _MAGNITUDES else "" if n in _RATIOS else "ang" for n in INDEX_NAMES)
#: Typical values and errors, after the medians of a real galaxy.
INDICES = (
    *(-0.07, -0.03, 0.69, 2.08, 2.35, 0.76, 2.32, 2.45, 3.43, 4.16, 0.05, 0.13, 2.67, 2.36, 2.54, 1.4, 0.57, 0.48, 1.76, 0.02, 0.07),
    *(3.77, 1.67, 3.45, 2.65, 9.78, 1.22, 2.04, 3.38, 0.24, 0.5, 0.05, 3.1, 0.4, 0.99, 0.4, 0.3, 0.01, 0.01, 0.01, 0.05, 0.4),
    *(0.07, 1.51, 1.35, 1.06),
)
INDEX_ERRORS = (
    *(0.019, 0.019, 0.39, 0.62, 0.63, 0.39, 0.52, 0.68, 0.39, 0.57, 0.009, 0.011, 0.38, 0.4, 0.38, 0.37, 0.37, 0.35, 0.4, 0.009, 0.007),
    *(0.67, 0.66, 0.49, 0.44, 1.4, 0.41, 0.55, 0.64, 0.18, 0.62, 0.58, 0.49, 0.48, 0.22, 2.3, 0.68, 0.011, 0.006, 0.009, 0.005, 0.43),
    *(0.007, 0.022, 0.027, 0.021),
)
