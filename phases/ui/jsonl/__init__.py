"""The events of a run as JSON, one on each line (`-r jsonl`). docs/events.md describes them."""
