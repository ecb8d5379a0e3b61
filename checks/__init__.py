"""Checks: one invariant each, with its name, its verdict, and the failing rows by key, never by personal data."""
