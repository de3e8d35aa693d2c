"""The events of a run as JSON, one on each line (`doit -r jsonl`). docs/events.md describes them."""
