"""Where the repository and the scripts of tests lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
# For processes that import crossmod and what tests share.
PYTHONPATH = os.pathsep.join(map(str, (ROOT, ROOT / "src")))
