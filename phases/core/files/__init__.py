"""Files on the host: opened, written, archived, hashed and locked without surprises."""
