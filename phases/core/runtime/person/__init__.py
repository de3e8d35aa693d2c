"""Lets the commands of a session act as the person: with their name, tokens and logins."""
