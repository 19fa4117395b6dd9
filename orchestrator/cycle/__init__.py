"""What a burst does: recover, submit, watch, download, checkpoint, report."""
