"""Tests of trust: who calls, and what they may do."""
