"""What an input file is, by its name: an image, a video, audio. Each kind binds the name that it is called by."""

from __future__ import annotations

IMAGE_PATTERNS = ("*.png", "*.jpg", "*.jpeg", "*.webp", "*.bmp", "*.gif", "*.tif", "*.tiff")
VIDEO_PATTERNS = ("*.mp4", "*.webm", "*.mov", "*.mkv", "*.avi", "*.m4v", "*.mpg", "*.mpeg")
AUDIO_PATTERNS = ("*.wav", "*.mp3", "*.flac", "*.ogg", "*.opus", "*.m4a", "*.aac")
PATTERNS = {"image": IMAGE_PATTERNS, "video": VIDEO_PATTERNS, "audio": AUDIO_PATTERNS}
"""What a file binds -> the names of such files."""
IMAGES = ("image",)
FILES = tuple(PATTERNS)
