"""What the rules of the model-based detector take as inputs and parameters."""


def findings(dataset, test, split):
    """The shards of findings in the stamps of one split of a test dataset, with another dataset's priors."""
    return [f"<results>/findings/{dataset}/{test}/{split}/{shard:05d}.parquet" for shard in range(settings.datasets[test].shards(split))]


def evidence_settings(*keys):
    """The section `evidence` less the keys that a rule does not use."""
    # Findings without maps are those of a config that has no such key.
    return settings.evidence.without("batch_size", *keys, *(() if settings.evidence.maps else ("maps",)))


def has_evidence(experiment):
    """Whether an experiment has a model-based detector."""
    return any(settings.detectors[d].kind == "evidence" for d in settings.experiments[experiment].detectors)


def experiments_with_evidence():
    """A pattern of the names of the experiments that have a model-based detector."""
    return any_of(filter(has_evidence, settings.experiments))


def blind_step(wildcards):
    """How far apart the blind observer's places are, in an experiment with a model-based detector; none elsewhere."""
    return settings.evidence.place_step if has_evidence(wildcards.experiment) else None


def evidence_shown(experiment):
    """What the model-based detector makes of the stamp that a report shows first, where the experiment has such a detector."""
    return [f"<results>/experiments/{experiment}/evidence.parquet"] if has_evidence(experiment) else []
