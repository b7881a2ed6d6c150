"""Simulated vendors, as strict as the real ones, shared by `monostat demo` and the tests."""
