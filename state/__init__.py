"""What is to be done and what was done: items, the JSON store and its journal."""
