"""The user interface: doit's tasks and commands, and the output on the terminal."""
