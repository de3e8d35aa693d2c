"""From a Dockerfile, or from a config.yaml of the tool that this one takes after, to one of today."""
