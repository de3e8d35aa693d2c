"""Runs the commands of a phase, and reads what they print."""
