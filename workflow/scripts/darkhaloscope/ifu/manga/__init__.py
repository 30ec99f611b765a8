"""MaNGA: catalogues and MAPS files."""
