"""A habitat's plan as a Dockerfile with its build context: what a build does, without this program."""
