"""What Podman does differently from Docker behind the same API, by subject. `client` puts the parts together."""
