"""burst and other ComfyUI clients under the same faults: `python -m tests.peers --comfyui DIR --python INTERPRETER`.

What was seen stands in `figures.json`, from which the tables of `docs/comparison.md` are made. The drivers are scripts
as the documentation of each client would have one write them; they run in environments of their own.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
