"""What engines save: the same calls and bytes for every store that is measured."""
