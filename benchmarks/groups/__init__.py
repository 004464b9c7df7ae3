"""The groups of benchmarks. Each module has a `run` that measures and prints one group."""
