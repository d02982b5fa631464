"""Ends an event loop that runs in a thread of its own, with nothing left behind."""

from __future__ import annotations

import asyncio
from threading import Thread


def end(loop: asyncio.AbstractEventLoop, thread: Thread) -> None:
    """Cancel what still runs, stop the loop, close it.

    A task that outlives its loop is collected, with a complaint, in the middle of another test; where that
    test happens to be parsing Python, it fails.
    """
    asyncio.run_coroutine_threadsafe(_cancel(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    if not loop.is_running():
        loop.close()


async def _cancel() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=5)
