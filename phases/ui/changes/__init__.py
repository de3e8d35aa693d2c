"""The output of `habitat changes`: a table, or a patch."""
