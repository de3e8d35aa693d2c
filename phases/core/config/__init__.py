"""From config.yaml in three layers to a habitat: read, coalesced, validated, resolved."""
