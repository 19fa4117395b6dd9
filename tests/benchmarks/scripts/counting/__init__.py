"""Goes first on the PYTHONPATH of a process whose syncs are counted."""
