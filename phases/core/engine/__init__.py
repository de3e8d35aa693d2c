"""The Docker-compatible engine: what the program asks of it, and the clients that ask."""
