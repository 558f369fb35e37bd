"""An auditor of frames that knows nothing of the meter: bytes go in, violations of the law come out, in words.

It may see the wire (proto/v1) and the standard library, never model/: what it
says rests on docs/formats.md alone, with arithmetic of its own, in integers. The
bytes are those on the host's disk, on the wire or in the ledger; they are the same.
"""

from .auditor import Auditor, audit

__all__ = ["Auditor", "audit"]
