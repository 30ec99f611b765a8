"""Lens profiles, ray shooting, rendering, observation, and the lenstronomy reference."""
