"""``python -m pbmon_client`` is pbmon-client."""

import sys

from pbmon_client.cli import main

sys.exit(main())
