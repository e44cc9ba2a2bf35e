"""``python -m pbmond`` is pbmond."""

import sys

from pbmond.cli import main

sys.exit(main())
