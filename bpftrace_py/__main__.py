"""`python -m bpftrace_py`, and the entry of the installed command."""

from __future__ import annotations

import sys


def main() -> int:
    """The command. Returns its exit status."""
    try:
        from bpftrace_py.cli import main as run

        return run()
    except KeyboardInterrupt:  # Ctrl-C while Python was still importing
        return 130


if __name__ == "__main__":
    sys.exit(main())
