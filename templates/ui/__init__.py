"""Workflows as ComfyUI's editor saves them ("UI format"), and their conversion to API graphs.

`{"nodes": […], "links": […]}`. Pure functions of the file and the server's node classes; ComfyUI's own editor is the
measure of what comes out. Anything that cannot be converted for certain is refused.
"""

from templates.ui.conversion import classes_in, convert, sent_classes
from templates.ui.document import is_ui_workflow

__all__ = ["classes_in", "convert", "is_ui_workflow", "sent_classes"]
