"""What the API asks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..storage.access_log import AccessLog
from .asking import Questions
from .config import SkuConfig
from .deciding import Decisions
from .intake import Intake
from .limits import Limits
from .projector import Projector
from .sealing import Sealer
from .tokens import Token
from .writer import LedgerWriter


@dataclass(slots=True)
class Parts:
    questions: Questions
    ledger_folder: Path
    skus: Sequence[SkuConfig]
    tokens: Sequence[Token] | None
    """None: no authentication, which is for loopback only."""
    intake: Intake
    writer: LedgerWriter
    projector: Projector
    decisions: Decisions
    access: AccessLog
    limits: Limits
    sealer: Sealer
    ready_at_log_id: int = 0
    """The end of the log at start: until the projection is there, sums could be smaller than yesterday's."""
    stopping: bool = field(default=False)
