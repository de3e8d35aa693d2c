"""Write a habitat as a Dockerfile with its context, which builds without this program."""
