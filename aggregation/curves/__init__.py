"""Curves over seeds and tasks, as arrays."""
