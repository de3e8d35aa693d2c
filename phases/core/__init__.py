"""What carries the phases: config, slices, stamps, the engine, and the build itself."""
