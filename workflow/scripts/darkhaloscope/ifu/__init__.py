"""MaNGA: catalogues, maps, quality, lensability, source tensors."""
