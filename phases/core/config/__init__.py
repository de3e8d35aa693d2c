"""Turn three layers of config.yaml into a habitat: read, merge, validate, resolve."""
