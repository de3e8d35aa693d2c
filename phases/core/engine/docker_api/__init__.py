"""Docker's HTTP API, one module for each subject. `client` combines them."""
