"""Where messages are entered, each under a code of its own."""

from __future__ import annotations

from bpftrace_py.diagnostics import Message

ALL: dict[str, Message] = {}


def message(code: str, template: str, explanation: str = "") -> Message:
    """Enter a message. `template` and `explanation` are those of `Message`; a code is never given twice."""
    assert code not in ALL, f"two messages have the code {code}"
    ALL[code] = Message(code, template, explanation)
    return ALL[code]
