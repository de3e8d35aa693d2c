"""Building a habitat: carries out the steps of each phase and commits the snapshots."""
