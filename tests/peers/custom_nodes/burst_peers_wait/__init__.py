"""Runs in ComfyUI: an image that takes its time, as one on a GPU does, and no CPU."""

import time


class Wait:
    CATEGORY = "burst"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "wait"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "seconds": ("FLOAT", {"default": 0.2, "min": 0.0, "max": 60.0})}}

    def wait(self, image, seconds):
        time.sleep(seconds)
        return (image,)


NODE_CLASS_MAPPINGS = {"BurstPeersWait": Wait}
