"""An export is whole before it is sent, or it is a problem with a status."""

import asyncio
import errno
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from gputally.collector.api_problems import add_problems
from gputally.collector.exports import spool
from gputally.collector.exports.lines import csv_chunks, defused
from gputally.collector.exports.spool import Spool
from gputally.collector.problems import Problem
from gputally.collector.routes_exports import MOST_OF_ONE, MOST_WAITING
from gputally.collector.turns import CALLER, Turns
from gputally.storage.sorted_spool import NoRoom


def test_what_was_written_is_read_again() -> None:
    chunks = [bytes([n]) * 100_000 for n in range(40)]
    assert b"".join(Spool.of(chunks).chunks()) == b"".join(chunks)


def test_an_export_that_is_too_large_is_refused_before_a_byte_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "LARGEST_BYTES", 10)
    Spool.of([b"1234567890"])
    with pytest.raises(Problem, match="ask for a shorter range"):
        Spool.of([b"1234567890", b"1"])


def test_a_full_disk_is_a_problem_and_no_traceback() -> None:
    def full() -> Iterator[bytes]:
        yield b"1"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Problem, match="No space left") as refused:
        Spool.of(full())
    assert refused.value.status == 507


def test_leaves_that_cannot_be_sorted_are_a_problem_too() -> None:
    app = FastAPI()
    add_problems(app)

    @app.get("/v1/periods/proof")
    async def proof() -> None:  # pyright: ignore[reportUnusedFunction]
        raise NoRoom("the temporary folder cannot be used to sort: No space left on device")

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get("/v1/periods/proof")

    refused = asyncio.run(ask())
    assert refused.status_code == 507 and refused.json()["type"] == "urn:gputally:problem:no-room"
    assert "No space left" in refused.json()["detail"]


def test_exports_wait_for_each_other_and_not_without_end() -> None:
    async def story() -> None:
        turns = Turns("exports", 1, MOST_WAITING, MOST_OF_ONE)
        order: list[int] = []

        async def export(number: int) -> None:
            CALLER.set(f"caller {number // MOST_OF_ONE}")
            async with turns.turn():
                order.append(number)

        async with turns.turn():
            waiting = [asyncio.create_task(export(number)) for number in range(MOST_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(Problem, match="exports are waiting"):
                await export(99)
            assert order == []
        await asyncio.gather(*waiting)
        assert sorted(order) == list(range(MOST_WAITING))

    asyncio.run(story())


def test_csv_quotes_what_needs_it_and_ends_lines_with_a_line_feed() -> None:
    rows = [("a,b", 'c"d'), ("e\nf", "ü")]
    assert b"".join(csv_chunks(("x", "y"), rows)) == 'x,y\n"a,b","c""d"\n"e\nf",ü\n'.encode()


def test_csv_comes_in_chunks() -> None:
    rows = [(str(n),) for n in range(2_500)]
    chunks = list(csv_chunks(("n",), rows))
    assert len(chunks) == 3
    assert b"".join(chunks).splitlines() == [b"n", *(str(n).encode() for n in range(2_500))]


def test_a_name_that_a_spreadsheet_would_take_for_a_formula_is_defused_and_no_other() -> None:
    for name in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        assert defused(name) == f"'{name}"
    for name in ("", "acme", "docker:=1", "a-b", "'quoted"):
        assert defused(name) == name
