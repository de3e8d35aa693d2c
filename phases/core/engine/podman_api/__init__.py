"""What Podman does differently from Docker behind the same API, by subject. `engine.podman` puts the parts together."""
