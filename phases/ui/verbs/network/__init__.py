"""The verbs about the hosts that a habitat may reach."""
