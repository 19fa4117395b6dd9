"""The JSON store: snapshot, journal and locks. The only place that knows the files of a JSON state."""
