"""All comparisons with peers, one after the other on this machine: ``python benchmarks/compare.py``.

Needs ``pip install scikit-learn semhash`` beside coreset's own requirements; what is absent is skipped and named.
"""

import subprocess
import sys
from pathlib import Path

PROGRAMS = ("components_vs_peers.py", "nearest_vs_faiss.py", "kmeans_vs_sklearn.py", "forest_cost.py")


def main() -> None:
    """Runs each program in a process of its own."""
    for program in PROGRAMS:
        print(f"\n== {program}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(program)], check=True)


if __name__ == "__main__":
    main()
