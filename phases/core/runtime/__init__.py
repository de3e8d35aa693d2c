"""Running a habitat: containers, sessions, and the commands in them."""
