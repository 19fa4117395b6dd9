"""Batches: from what a person asks for to items that belong together. Nothing here runs anything."""
