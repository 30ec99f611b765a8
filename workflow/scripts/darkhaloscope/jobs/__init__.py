"""All that knows Snakemake: paths, parameters, digests of code, provenance, storage."""
