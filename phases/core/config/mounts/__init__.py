"""Checks what is mounted into a habitat: volumes, caches and persistent data."""
