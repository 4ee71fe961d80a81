"""Benchmarks: every speed claim, as a ratio to Debian's bpftrace measured in the same run.

    python -m bench            all rows, several rounds; writes bench/results.md      (make bench)
    python -m bench quick      the same rows with less work each, within two minutes  (make bench-quick)
    python -m bench curves     how our cost grows as the work grows; writes bench/curves.md

Needs root, gcc, and a machine that does nothing else.
"""
