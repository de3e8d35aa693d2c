"""Snapshots, slices and stamps: what was built before, and whether it is still up to date."""
