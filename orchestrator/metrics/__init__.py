"""Figures of states for Prometheus: from what the state records, so that they go on over restarts of any process."""
