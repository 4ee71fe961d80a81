"""Writes what the compiler says now into tests/cases as what is expected: for review with `git diff`, never for a test."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.cases.case_files import DIAGNOSTICS, GENERATED, Golden, read, write


def main() -> None:
    """Rewrite the files that the command line names, all of them if it names none."""
    wanted = {Path(argument).resolve() for argument in sys.argv[1:]}
    for path in DIAGNOSTICS:
        if not wanted or path in wanted:
            write(path, read(path))
    for path in GENERATED:
        if not wanted or path in wanted:
            golden = Golden(path)
            golden.expected.write_text(golden.generate(), encoding="utf-8")


if __name__ == "__main__":
    main()
