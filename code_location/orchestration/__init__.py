"""Dagster's side: tables as assets, with partitions, checks, schedules and sensors."""
