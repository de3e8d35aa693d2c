"""The place in a container of the sockets of the person's SSH agent."""

#: A folder. An image keeps it, empty, since the engine makes a mount point for good.
CONTAINER_FOLDER = "/run/ssh-agent"
