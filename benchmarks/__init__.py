"""Benchmarks: Holdfast beside something real, in one run on one machine, as ratios."""
