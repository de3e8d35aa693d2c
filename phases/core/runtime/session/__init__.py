"""Sessions in a habitat's container: how they begin, run commands, and end."""
