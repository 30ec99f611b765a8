"""Observed lenses: from the images of one lens to its mass, and to what subhalos it shows or would have shown."""
