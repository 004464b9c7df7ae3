"""Tests of the parts together: stores, processes, engines, telemetry and packages as users have them."""
