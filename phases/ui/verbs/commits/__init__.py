"""The verbs that bring commits out of a habitat or into it."""
