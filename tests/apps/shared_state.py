"""What depends on modules of CPython whose state is one for the process, up to Python 3.11."""

import asyncio
import ctypes
import decimal
import fractions
import numbers
import threading
import zoneinfo

from by_path import answer, by_path


def raised(function):
    """The exception of the function, by module and name, and whether it is this interpreter's."""
    try:
        function()
    except BaseException as error:
        known = {
            kind.__name__: kind
            for kind in (
                asyncio.CancelledError,
                asyncio.InvalidStateError,
                asyncio.TimeoutError,
                zoneinfo.ZoneInfoNotFoundError,
            )
        }
        name = type(error).__name__
        return f"{name}, {'own' if known.get(name) is type(error) else 'foreign'}"
    return "nothing"


def asyncio_(environ, start_response):
    async def waiting():
        await asyncio.wait_for(asyncio.sleep(30), 0.01)

    async def cancelled():
        task = asyncio.ensure_future(asyncio.sleep(30))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def early():
        asyncio.get_running_loop().create_future().result()

    coroutines = (waiting, cancelled, early)
    runs = (lambda run=run: asyncio.run(run()) for run in coroutines)
    return answer(start_response, "; ".join(map(raised, runs)))


def decimal_(environ, start_response):
    one = decimal.Decimal(1)
    right = [isinstance(one, numbers.Number), one == fractions.Fraction(1)]
    return answer(start_response, str(right))


def precision(environ, start_response):
    """What a new thread of this application computes with, once it has set its own default."""
    if environ["QUERY_STRING"]:
        decimal.DefaultContext.prec = int(environ["QUERY_STRING"])
    seen = []
    thread = threading.Thread(target=lambda: seen.append(decimal.getcontext().prec))
    thread.start()
    thread.join()
    return answer(start_response, str(seen[0]))


def zoneinfo_(environ, start_response):
    zoneinfo.ZoneInfo("UTC")
    return answer(start_response, raised(lambda: zoneinfo.ZoneInfo("No/Where")))


def numbers_of_threads(environ, start_response):
    """By which numbers CPython knows the threads that this application starts."""
    python, seen = ctypes.PyDLL(None), []
    python.PyThreadState_Get.restype = ctypes.c_void_p
    python.PyThreadState_GetID.argtypes = [ctypes.c_void_p]
    python.PyThreadState_GetID.restype = ctypes.c_uint64

    def look():
        seen.append(python.PyThreadState_GetID(python.PyThreadState_Get()))

    for _ in range(5):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    return answer(start_response, " ".join(map(str, seen)))


running = threading.Event()
ending = threading.Event()


async def wait():
    running.set()
    while not ending.is_set():
        await asyncio.sleep(0.01)


def loop_begins(environ, start_response):
    threading.Thread(target=asyncio.run, args=(wait(),)).start()
    return answer(start_response, str(running.wait(10)))


def loop_ends(environ, start_response):
    ending.set()
    return answer(start_response, "")


def loops_of_threads(environ, start_response):
    """What happens to event loops in ten threads that the application starts."""
    seen = []

    def run():
        try:
            asyncio.run(asyncio.sleep(0))
            seen.append("ran")
        except RuntimeError as error:
            seen.append(str(error))

    for _ in range(10):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    return answer(start_response, " ".join(sorted(set(seen))))


application = by_path(globals())
