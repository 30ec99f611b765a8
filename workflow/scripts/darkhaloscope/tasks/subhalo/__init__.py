"""Subhalo stamps: a galaxy's flux and velocity, lensed with and without a dark subhalo."""
