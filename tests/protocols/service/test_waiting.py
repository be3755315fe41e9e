"""Letters on their way out: the store is asked for those that may be there, whoever has written them."""

import asyncio

from protocols.service.views import Letter
from protocols.service.waiting import Letters, Poll


class Shelf:
    """What a store has of letters, and how often it was asked for some."""

    def __init__(self):
        self.written = []
        self.looks = 0

    def write(self, member):
        """Write a letter, as another process does."""
        self.written.append(Letter("ab", len(self.written) + 1, member, b"x"))

    def letters(self, asked):
        self.looks += 1
        found = [[each for each in self.written if each.phase == m and each.sequence > after] for m, after in asked]
        return [(own[0] if own else None, len(own) > 1) for own in found]

    def last_letter(self):
        return len(self.written)

    def addressees(self, after):
        return {each.phase: each.sequence for each in self.written if each.sequence > after}


def played(play):
    """Run a test's coroutine with letters whose watch has begun, since somebody waits."""

    async def call(function, *arguments):
        return function(*arguments)

    async def run():
        shelf = Shelf()
        letters = Letters(shelf, call, 0.005)
        waiting = asyncio.create_task(letters.next("somebody", 0, 60))
        while letters._seen is None:
            await asyncio.sleep(0.001)
        await play(shelf, letters)
        letters.close()
        waiting.cancel()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_who_has_no_letter_is_not_looked_for_until_there_is_one():
    async def play(shelf, letters):
        before = shelf.looks
        waiting = asyncio.create_task(letters.next("a", 0, 60))
        await asyncio.sleep(0.05)
        assert shelf.looks == before
        shelf.write("b")
        await asyncio.sleep(0.05)
        assert shelf.looks == before
        shelf.write("a")
        assert (await waiting).sequence == 2
        assert shelf.looks == before + 1
        again = asyncio.create_task(letters.next("a", 2, 60))
        await asyncio.sleep(0.05)
        assert shelf.looks == before + 1
        shelf.write("a")
        assert (await again).sequence == 3

    played(play)


def test_letters_that_are_there_are_given_at_once_and_as_often_as_they_are_asked_for():
    async def play(shelf, letters):
        letters._poll = 60  # the watch sees none of them
        await asyncio.sleep(0.02)
        for _ in range(3):
            shelf.write("a")
        letters.wake(["a"])
        assert [(await letters.next("a", after, 60)).sequence for after in (0, 1, 2, 1, 0)] == [1, 2, 3, 2, 1]
        assert await letters.next("a", 3, 0.01) is None
        shelf.write("a")
        assert (await letters.next("a", 3, 0)).sequence == 4  # who does not wait is told what the store has

    played(play)


def test_what_is_written_during_a_look_is_found():
    async def play(shelf, letters):
        letters._poll = 60
        await asyncio.sleep(0.02)
        letters.wake(["a"])
        look, told = shelf.letters, []

        def slow(asked):
            found = look(asked)
            if not told:
                told.append(True)
                shelf.write("a")
                letters.wake(["a"])
            return found

        letters._first._look = slow
        assert (await letters.next("a", 0, 60)).sequence == 1

    played(play)


def test_a_question_that_is_given_up_has_no_letter():
    async def play(shelf, letters):
        poll = Poll()
        waiting = asyncio.create_task(letters.next("a", 0, 60, poll))
        await asyncio.sleep(0)
        poll.give_up()
        assert await waiting is None

    played(play)


def test_all_are_given_their_last_letters_once_they_have_asked_for_them():
    async def play(shelf, letters):
        assert await letters.all_given(0)
        for member in ("a", "a", "away"):
            shelf.write(member)
        assert await letters.all_given(0)  # who has never asked is not awaited
        assert (await letters.next("a", 0, 60)).sequence == 1
        assert not await letters.all_given(0.02)
        parting = asyncio.create_task(letters.all_given(60))
        await asyncio.sleep(0.02)
        assert not parting.done()
        assert (await letters.next("a", 1, 60)).sequence == 2
        assert await parting
        shelf.write("a")
        assert not await letters.all_given(0)
        assert await letters.next("a", 4, 0) is None  # by another process it was given this one, and says so
        assert await letters.all_given(0)

    played(play)
