"""Checkpoints: the operations on them."""
