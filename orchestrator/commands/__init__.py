"""The commands, one module for those that belong together. Each is loaded when it is called."""
