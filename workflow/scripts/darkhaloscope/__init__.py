"""Dark Halo Scope: from survey data to trustworthy strong-lens and subhalo detections."""

__version__ = "0.1.0"
