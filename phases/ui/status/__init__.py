"""The output of `doit status`: a table, or blocks where the terminal is too narrow for one."""
