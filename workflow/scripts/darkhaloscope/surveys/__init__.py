"""The Legacy Surveys: sweeps, the parent sample of luminous red galaxies, bricks, known lenses."""
