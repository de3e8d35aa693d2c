"""Convert a config.yaml in the form of claude-habitat, line by line, so that every comment stays with its key."""
