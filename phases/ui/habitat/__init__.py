"""The program `habitat`: doit with the tasks of the nearest project, in words that a person types."""
