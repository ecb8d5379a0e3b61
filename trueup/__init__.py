"""Trueup, the library: everything that a person can call without Dagster, in rooms that import downwards only."""
