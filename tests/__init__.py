"""The tests, by what they need and what they show.

- `unit/` mirrors the packages: one module or one service in the test's own process.
- `integration/` runs the parts together: real stores, processes, engines, telemetry, installed packages.
- `verification/` searches for violations of the guarantees: a model, a simulation, power cuts, faults, fuzzing, a soak.
- `interop/` has programs that use the API without the SDK.
- `support/` has what several of them share. No module imports a test module.
"""
