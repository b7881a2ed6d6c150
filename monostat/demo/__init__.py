"""Simulated vendors, as strict as their contracts, shared by `monostat demo` and the tests."""
