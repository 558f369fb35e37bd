"""A mailbox outlives its readers, and says when it is full."""

import trio

from gputally.daemon.mailbox import Mailbox


def test_an_offer_to_a_full_mailbox_is_refused_and_counted() -> None:
    async def main() -> tuple[list[bool], int]:
        box = Mailbox[int](2)
        return [box.offer(n) for n in range(3)], box.refused

    assert trio.run(main) == ([True, True, False], 1)


def test_what_a_crashed_reader_left_is_there_for_its_next_life() -> None:
    async def main() -> list[int]:
        box, got = Mailbox[int](9), list[int]()
        for n in range(4):
            assert box.offer(n)
        async with box.reading() as messages:
            got.append(await messages.receive())
        box.close()
        async with box.reading() as messages:
            got.extend([n async for n in messages])
        return got

    assert trio.run(main) == [0, 1, 2, 3]
