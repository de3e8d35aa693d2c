"""The restrictions and limits of containers."""
