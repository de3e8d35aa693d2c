"""The verbs: each is a module here, and a task VERB:HABITAT of every habitat."""
