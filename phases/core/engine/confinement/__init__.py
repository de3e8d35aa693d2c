"""What the programs of a container may do and reach."""
