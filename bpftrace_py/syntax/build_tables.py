"""`python -m bpftrace_py.syntax.build_tables [DIRECTORY]`: writes PLY's tables, `_parsetab.py`.

To be run when the package is built or set up, and after every change of the grammar. The directory is that of this
package unless it is given.
"""

from __future__ import annotations

import os
import sys


def build(directory: str | None = None) -> str:
    """Write the tables into `directory` (this package's, if None). Returns the path of the file."""
    from bpftrace_py.syntax.parser import format_tables, generate

    path = os.path.join(directory or os.path.dirname(os.path.abspath(__file__)), "_parsetab.py")
    unfinished = f"{path}.{os.getpid()}"
    with open(unfinished, "w", encoding="ascii") as file:
        file.write(format_tables(generate()))
    os.replace(unfinished, path)  # another process may be importing it
    return path


if __name__ == "__main__":
    build(*sys.argv[1:2])
