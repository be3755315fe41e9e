"""Questions to the store that come at the same time, answered by one look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .taking import Call

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Gathers questions while a look is under way; the next look answers them all.

    A look begins after its questions were asked, so that no answer is older than its question.

    Args:
        call: runs what blocks.
        look: questions -> their answers, in order; an exception is the answer of whoever asked for it.
        most: so many questions a look.
    """

    def __init__(
        self, call: Call, look: Callable[[Sequence[Question]], Sequence[Answer | Exception]], most: int
    ) -> None:
        self._call, self._look, self._most = call, look, most
        self._asked: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer, or raise it."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Answer] = loop.create_future()
        self._asked.append((question, found))
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._answer())
        return await found

    def close(self) -> None:
        """Answer nobody any more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _answer(self) -> None:
        while self._asked:
            batch, self._asked = self._asked[: self._most], self._asked[self._most :]
            answers: Sequence[Answer | Exception]
            try:
                answers = await self._call(self._look, [question for question, _ in batch])
            except Exception as error:  # whatever it is, it is theirs who ask
                answers = [error] * len(batch)
            for (_, found), answer in zip(batch, answers, strict=True):
                if found.done():  # who asked may have gone
                    continue
                if isinstance(answer, Exception):
                    found.set_exception(answer)
                else:
                    found.set_result(answer)
