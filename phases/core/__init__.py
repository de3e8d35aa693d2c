"""The program below its tasks and terminal: config, engine, cache, build and runtime."""
