"""A correction of many records is several decisions: if a later one fails, whoever asked knows what stands."""

import asyncio
from dataclasses import replace

import pytest

from gputally.collector.problems import Problem, TryLater
from gputally.collector.routes_corrections import make_all
from gputally.model.decisions import MOST_OVERLAYS, Corrected, Overlay, OverlayKind
from gputally.storage.ledger_folder import LedgerBroken

FIRST = Overlay(bytes(16), "gpu-01", "b", "GPU-1", 0, 0, "docker", "job", "", 0, 0, bytes(32), OverlayKind.VOID)
THREE_PARTS = [replace(FIRST, usage_key=n.to_bytes(16, "big")) for n in range(2 * MOST_OVERLAYS + 1)]


class Making:
    """Decides until it fails."""

    def __init__(self, fails_after: int, error: Exception) -> None:
        self.fails_after, self.error, self.made = fails_after, error, list[Corrected]()

    async def __call__(self, part: Corrected) -> int:
        if len(self.made) == self.fails_after:
            raise self.error
        self.made.append(part)
        return 40 + len(self.made)


def made_with(making: Making) -> list[int]:
    async def story() -> list[int]:
        return await make_all(THREE_PARTS, making)

    return asyncio.run(story())


@pytest.mark.parametrize("error", [TryLater(503, "busy", "many ask", 1), LedgerBroken("the disk is full")])
def test_what_stands_of_a_correction_that_failed_half_way_is_told(error: Exception) -> None:
    making = Making(2, error)
    with pytest.raises(Problem) as failed:
        made_with(making)
    body = failed.value.body("/v1/corrections")
    assert (body["status"], body["log_ids"], body["records"]) == (503, ["41", "42"], 2 * MOST_OVERLAYS)
    assert f"the first {2 * MOST_OVERLAYS} of {len(THREE_PARTS)} records are corrected" in body["detail"]


def test_where_nothing_was_decided_no_log_ids_are_told() -> None:
    with pytest.raises(Problem) as failed:
        made_with(Making(0, TryLater(503, "busy", "many ask", 1)))
    assert failed.value.more == {} and "corrected" not in failed.value.detail


def test_all_parts_are_made_in_order() -> None:
    making = Making(3, LedgerBroken(""))
    assert made_with(making) == [41, 42, 43]
    assert [each for part in making.made for each in part.overlays] == THREE_PARTS
