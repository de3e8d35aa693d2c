"""What `doit changes` shows: a table, or a patch."""
