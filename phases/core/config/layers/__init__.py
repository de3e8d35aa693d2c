"""The layers that a habitat is merged from."""
