"""Observers see what happens in a search; they cannot steer it."""
