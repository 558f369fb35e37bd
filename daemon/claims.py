"""What the sources of claims say, put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..model.claims import Claim
from ..model.reading import HostReading
from ..plugins.leases.source import LeaseFile
from ..plugins.ports import ClaimSource
from .config import LeasesConfig
from .guard import guarded


def open_claims(leases: LeasesConfig) -> "Claims":
    """The sources that are configured. Raises BadSettings where a file is not good."""
    return Claims([] if leases.file is None else [LeaseFile(Path(leases.file))])


@dataclass(slots=True)
class Claims:
    """One tuple for all sources; the same object while nothing changes, so that nobody looks at it twice.

    A source that fails goes on saying what it said last: a claim does not end because a plug crashed.
    """

    sources: Sequence[ClaimSource] = ()
    _parts: list[tuple[Claim, ...]] = field(default_factory=list[tuple[Claim, ...]])
    _whole: tuple[Claim, ...] = ()

    def close(self) -> None:
        for source in self.sources:
            source.close()

    def told(self, reading: HostReading) -> tuple[Claim, ...]:
        """All claims as of this reading."""
        before = self._parts or [()] * len(self.sources)
        now = [_ask(source, reading, known) for source, known in zip(self.sources, before, strict=True)]
        if any(one is not other for one, other in zip(now, before, strict=True)):
            self._whole = tuple(claim for part in now for claim in part)
        self._parts = now
        return self._whole


def _ask(source: ClaimSource, reading: HostReading, known: tuple[Claim, ...]) -> tuple[Claim, ...]:
    found = guarded("claims", source.claims, reading)
    return known if found is None else found
