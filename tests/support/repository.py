"""Where the repository lies: tests read its pages and run its programs."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
