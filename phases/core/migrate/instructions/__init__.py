"""Convert the instructions of a Dockerfile, one kind in each module."""
