"""The version, in its one place: the package metadata, `--version` and the library read it here."""

__version__ = "0.1.0"
