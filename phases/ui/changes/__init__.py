"""What `habitat changes` shows: a table, or a patch."""
