"""The output of `habitat status`: a table, or blocks where the terminal is too narrow for one."""
