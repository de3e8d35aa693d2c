"""Make a new habitat's folder and config.yaml."""
