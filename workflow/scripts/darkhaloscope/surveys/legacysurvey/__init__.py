"""The DESI Legacy Surveys: sweeps, parent sample, bricks."""
