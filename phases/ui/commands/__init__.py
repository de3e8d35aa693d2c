"""doit's own commands, where a habitat needs them to know more than doit does."""
