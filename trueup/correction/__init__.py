"""Correction: what is about to be written, and whether it may: changes, plan, gate, limits, ownership, refusals."""
