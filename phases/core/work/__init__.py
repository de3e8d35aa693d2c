"""A person's work in a habitat: its repositories, and what is not yet anywhere else."""
