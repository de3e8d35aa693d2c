"""Convert a Dockerfile, or an earlier tool's config.yaml, into a config.yaml."""
