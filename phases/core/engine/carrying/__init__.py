"""Giving a container other settings with its files: in place, or by an image that a new container is made from."""
