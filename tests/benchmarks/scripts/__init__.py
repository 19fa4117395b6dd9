"""Programs that are measured, or that measure from inside: each runs as a process of its own."""
