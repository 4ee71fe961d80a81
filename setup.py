"""Packaging: what setup.cfg cannot say, which is that PLY's tables are generated when the package is built."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTables(build_py):
    """Copies the modules, then generates the lexer's and the parser's tables beside them."""

    def run(self) -> None:
        super().run()
        # An editable install has no build directory: there the tables go into the checkout itself.
        root = Path(__file__).resolve().parent if getattr(self, "editable_mode", False) else Path(self.build_lib)
        subprocess.run([sys.executable, "-m", "bpftrace_py.syntax.build_tables"], cwd=root, check=True)


# The command is a plain script and not an entry point, whose generated wrapper would start all of Python, and import `re`.
setup(cmdclass={"build_py": BuildWithTables}, scripts=["bin/bpftrace-py"])
