"""Stamps made elsewhere, brought into the lens finder's table."""
