from __future__ import annotations

import sys
from pathlib import Path

# Benches run in subprocesses and in Ray workers too; a plain module is found by all of them.
sys.path.insert(0, str(Path(__file__).parent))
