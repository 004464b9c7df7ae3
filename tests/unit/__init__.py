"""Tests of one package each, in the same layout as the packages."""
