"""Questions that come at the same time: one look answers them, and none is older than what it was asked of."""

import asyncio

from protocols.service.together import Together


def asked(look, work, most=100):
    """Run a test's coroutine with questions that `look` answers, in a thread."""

    async def run():
        together = Together(asyncio.to_thread, look, most)
        found = await work(together)
        together.close()
        return found

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_questions_at_one_time_are_few_looks():
    looks = []

    def look(questions):
        looks.append(list(questions))
        return [each * 2 for each in questions]

    async def work(together):
        return await asyncio.gather(*map(together.ask, range(10)))

    assert asked(look, work, most=6) == [each * 2 for each in range(10)]
    assert looks == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]


def test_an_answer_is_never_older_than_its_question():
    truth = ["old"]

    async def work(together):
        first = asyncio.create_task(together.ask("first"))
        await looking.wait()
        truth[0] = "new"
        second = asyncio.create_task(together.ask("second"))
        await asyncio.sleep(0)
        go.set()
        return await first, await second

    looking, go = asyncio.Event(), asyncio.Event()

    async def call(look, questions):
        found = look(questions)
        looking.set()
        await go.wait()
        return found

    async def run():
        return await work(Together(call, lambda questions: truth * len(questions), 10))

    assert asyncio.run(asyncio.wait_for(run(), 20)) == ("old", "new")


def test_an_error_is_whose_question_it_answers():
    def look(questions):
        return [KeyError(each) if each == "b" else each for each in questions]

    async def work(together):
        return await asyncio.gather(*map(together.ask, "abc"), return_exceptions=True)

    a, b, c = asked(look, work)
    assert (a, type(b), c) == ("a", KeyError, "c")


def test_a_look_that_fails_fails_for_all_and_the_next_one_is_taken():
    fails = [True]

    def look(questions):
        if fails[0]:
            raise OSError("gone")
        return list(questions)

    async def work(together):
        found = await asyncio.gather(*map(together.ask, "ab"), return_exceptions=True)
        fails[0] = False
        gone = asyncio.create_task(together.ask("gone"))
        await asyncio.sleep(0)
        gone.cancel()
        return found, await together.ask("c")

    found, after = asked(look, work)
    assert [str(each) for each in found] == ["gone", "gone"]
    assert after == "c"
