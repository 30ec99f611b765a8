"""The model-based detector: the source integrated out as a Gaussian process, a score for a subhalo at every place."""
