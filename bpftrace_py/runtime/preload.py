"""Loads libbcc beside the compiler's first stages: the longest step of a start with an empty cache.

The library brings LLVM, some 100 MB that the dynamic loader relocates for 30 ms. On a machine with a second CPU that is
over when the script has become C text.
"""

from __future__ import annotations

import os

# Extension modules that the compiler and BCC's bindings will import. The dynamic loader does one thing at a time: whoever
# imports one while it loads libbcc waits for the end of that.
_EXTENSIONS = ("_json", "_typing")


def preload() -> None:
    """Start to load libbcc in a thread, and return at once.

    Nothing waits for it: `import bcc` blocks in the loader until the library is there, and tells if it cannot be loaded.
    """
    import _thread
    import ctypes
    from importlib import import_module

    for name in _EXTENSIONS:
        try:
            import_module(name)
        except ImportError:
            pass  # another Python, which does without
    # A foreign function runs without the interpreter's lock; `ctypes.CDLL("libbcc.so.0")` would hold it all the while.
    _thread.start_new_thread(ctypes.CDLL(None).dlopen, (b"libbcc.so.0", os.RTLD_NOW))
