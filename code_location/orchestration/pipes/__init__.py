"""Loads in external processes, by Dagster Pipes: their events as if they were the run's own."""
