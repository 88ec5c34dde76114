"""`python -m components.projector CACHE`: compile what a fit needs, for this machine, once."""

from __future__ import annotations

import sys
from pathlib import Path

from components.projector.umap_projector import warm_kernels

if __name__ == "__main__":
    warm_kernels(Path(sys.argv[1]))
