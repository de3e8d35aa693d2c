"""Secrets and the SSH agent: fetched on the host, given to commands, kept out of images."""
