"""Hostile inputs and failing files, for the tests and for `make fuzz`."""
