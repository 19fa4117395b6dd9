"""Packages of pip by name and version, unpacked into a directory of this run; nothing of them is kept."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


def unpacked(requirement: str, directory: Path) -> Path:
    """`comfyui-frontend-package==1.27.10` -> the directory that holds it; a path is taken as it is."""
    if (found := Path(requirement)).is_dir():
        return found
    target = directory / requirement.replace("==", "-")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(target), requirement]
    subprocess.run(command, check=True)
    for wheel in target.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return target
