"""Verbs for the containers of a habitat that were set aside."""
