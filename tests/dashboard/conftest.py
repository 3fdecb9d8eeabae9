import sys
from pathlib import Path

# The made-up runs are the result tests', tables that belong together those of the breakdown.
for folder in ("results", "analysis/breakdown"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / folder))
