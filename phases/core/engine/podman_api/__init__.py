"""The differences between Podman's API and Docker's, one module for each subject. `client` combines them."""
