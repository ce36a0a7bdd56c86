"""Sensors: what asks the source, or looks at runs, and starts something; one a file."""
