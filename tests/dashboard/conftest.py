import sys
from pathlib import Path

# The made-up runs are the result tests'.
sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / "results"))
