"""Audit: the stages of a run as a library: gather, judge, confirm, report. Dagster calls them; they never import it."""
