"""What a person meets: doit's tasks and commands, and what is shown on the terminal."""
