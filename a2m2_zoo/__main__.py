"""``python -m a2m2_zoo`` is ``a2m2``."""

from __future__ import annotations

import sys

from a2m2_zoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
