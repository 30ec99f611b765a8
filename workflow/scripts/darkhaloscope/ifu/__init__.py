"""Velocity maps: the protocol of their sources, MaNGA and the plain layout; quality, lensability, source tensors, bank."""
