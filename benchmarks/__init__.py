"""Measures loading, side by side with the fastest way there is."""
