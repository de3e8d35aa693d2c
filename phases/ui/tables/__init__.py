"""Tables for a terminal and for a pipe."""
