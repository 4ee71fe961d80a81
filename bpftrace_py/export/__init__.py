"""Exports a running script's maps (`--export`): `families.py` makes metrics of them, `server.py` serves these by HTTP."""
