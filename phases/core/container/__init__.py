"""Inside a container: the program's own processes, users, paths and the environment of root."""
