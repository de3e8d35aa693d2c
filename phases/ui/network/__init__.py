"""The output of `habitat network`."""
