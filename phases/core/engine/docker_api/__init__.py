"""Docker's HTTP API, by subject. `client` puts the parts together."""
