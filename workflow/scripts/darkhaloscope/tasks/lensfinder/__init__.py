"""Lens-finder stamps: lensed sources injected into cutouts of a survey."""
