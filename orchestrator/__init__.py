"""Burst, as a library: the few names that a script or an agent imports."""
