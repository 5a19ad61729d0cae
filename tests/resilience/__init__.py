"""Processes die and leave under load: what clients notice of it, and what releases side by side read of each other."""
