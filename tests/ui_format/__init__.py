"""UI files and ComfyUI's own frontend, by hand: `record` makes the pairs that the tests replay, `compare` counts."""
