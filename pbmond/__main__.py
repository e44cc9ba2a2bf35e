"""``pbmond`` and ``python -m pbmond``: root's environment first, then the command."""

import os
import sys


def main() -> int:
    """Run the command line and return the exit status."""
    if os.geteuid() == 0:
        from pbmond.system.environment import shed  # noqa: PLC0415

        shed()
    from pbmond.cli import main as run  # noqa: PLC0415 - imports what obeys the environment

    return run()


if __name__ == "__main__":
    sys.exit(main())
