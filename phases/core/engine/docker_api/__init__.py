"""Docker's HTTP API, by subject. `engine.client` puts the parts together."""
