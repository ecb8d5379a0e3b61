"""Pipelines: the wiring. Dagster's definitions, jobs, schedules, sensors and resources, and the command line."""
