"""Commits between a habitat and this machine. Nothing that comes out of a habitat is trusted here."""
