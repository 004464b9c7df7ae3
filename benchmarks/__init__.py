"""Benchmarks: Holdfast compared with other stores in one run on one machine, as ratios."""
