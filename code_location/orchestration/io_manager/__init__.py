"""Replicated tables as frames for assets in Python, and their frames as tables beside them."""
