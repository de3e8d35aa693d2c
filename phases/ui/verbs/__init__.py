"""What can be done with a habitat: each a task VERB:HABITAT, and a module here."""
