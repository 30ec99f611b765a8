"""What is lensed: images of flux, velocity and dispersion on a grid with units."""
