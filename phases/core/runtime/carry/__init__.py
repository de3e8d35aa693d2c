"""A habitat's container with other settings: what differs, what is in it, and a new container with the same files."""
