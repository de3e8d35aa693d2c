"""The values below `entry:` that take a module of their own."""
