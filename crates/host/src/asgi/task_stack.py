"""Where a task is: the frames of its coroutines, then those of the tasks that it waits for.

A task that waits is in no thread, so no thread's stack shows it. What is asked here runs nothing of the application's.
"""

import asyncio
import concurrent.futures
import gc
import traceback
import types

# The name of the file that this code claims to be from.
SOURCE_FILE = "<mod_wsgi.asgi>"
# How many tasks are shown for one.
MOST_TASKS = 8
# How long a loop may take to say where a task is, in seconds.
LOOP_LIMIT = 1

# The attributes that tell the frame of what can be suspended, what it waits for, and whether it runs.
SUSPENDABLE = {
    types.CoroutineType: ("cr_frame", "cr_await", "cr_running"),
    types.GeneratorType: ("gi_frame", "gi_yieldfrom", "gi_running"),
    types.AsyncGeneratorType: ("ag_frame", "ag_await", "ag_running"),
}


def suspendable(awaitable):
    """The coroutine or generator behind what is awaited, if it is one."""
    if type(awaitable) in SUSPENDABLE:
        return awaitable
    # A step of an asynchronous generator, or `coroutine.__await__()`, tells the collector alone of what it wraps.
    if type(awaitable).__module__ == "builtins":
        for found in gc.get_referents(awaitable):
            if type(found) in SUSPENDABLE:
                return found
    return None


def frames_of(task, thread_frame):
    """Pairs of a frame and a line, the outermost first. `thread_frame`: the frame in which the thread of its loop is."""
    pairs = []
    awaitable = suspendable(task.get_coro())
    while awaitable is not None:
        frame_name, next_name, running_name = SUSPENDABLE[type(awaitable)]
        frame = getattr(awaitable, frame_name)
        if frame is None:
            break
        if not pairs and getattr(awaitable, running_name):
            inner = []
            for found, line in traceback.walk_stack(thread_frame) if thread_frame else ():
                inner.append((found, line))
                if found is frame:
                    return inner[::-1]
            # It has gone on meanwhile.
        pairs.append((frame, frame.f_lineno))
        awaitable = suspendable(getattr(awaitable, next_name))
    return pairs


def is_of_library(frame):
    """Whether local variables tell for which tasks the frame waits, and are none of the application's.

    Before Python 3.13 reading them makes a dictionary that stays with the frame, and keeps the values that they had.
    """
    # Without a method: the application may have executed its code with a dictionary of its own type.
    name = dict.get(frame.f_globals, "__name__")
    library = name.partition(".")[0] if type(name) is str else None
    return library in ("asyncio", "anyio") or frame.f_code is Application.start.__code__


def tasks_awaited(task, pairs):
    """The tasks that a task waits for, as far as they can be seen."""
    waiter = getattr(task, "_fut_waiter", None)
    found = [waiter]
    # That of `asyncio.gather`.
    found += getattr(waiter, "_children", None) or ()
    if waiter is not None and pairs and is_of_library(pairs[-1][0]):
        # Groups of tasks, `asyncio.wait` and `wait_for` wait for a future that knows no task.
        names = pairs[-1][0].f_locals
        owner = names.get("self")
        candidates = [names.get("fs"), names.get("fut"), names.get("tasks")]
        if type(owner) is Application and owner.lifespan is not None:
            # It starts: the scope of its lifespan tells.
            candidates.append(owner.lifespan.task)
        if type(owner).__module__.partition(".")[0] in ("asyncio", "anyio"):
            candidates.append(getattr(owner, "_tasks", None))
        for candidate in candidates:
            if type(candidate) in (set, frozenset, list, tuple):
                found += candidate
            else:
                found.append(candidate)
    return [it for it in found if isinstance(it, asyncio.Task) and not it.done()]


def stacks_of(task, thread_frame):
    """A task with its frames, as of `frames_of`, then those that it waits for."""
    seen, left = set(), [task]
    while left and len(seen) < MOST_TASKS:
        task = left.pop(0)
        if id(task) in seen:
            continue
        seen.add(id(task))
        pairs = frames_of(task, thread_frame)
        left += tasks_awaited(task, pairs)
        yield task, pairs


def task_stack(task, thread_frame=None):
    """The lines of a traceback, the innermost frame last; behind it those of tasks that it waits for."""
    lines = []
    for index, (found, pairs) in enumerate(stacks_of(task, thread_frame)):
        if pairs and pairs[0][0].f_code.co_filename == SOURCE_FILE:
            # The coroutine that calls the application.
            del pairs[0]
        if index:
            lines.append(f"it waits for the task {found.get_name()!r}:")
        lines += traceback.StackSummary.extract(iter(pairs)).format()
    return lines


def seen_by(loop, look, limit):
    """What `look()` gives in the thread of the loop, or None where the loop does not come to it within `limit` seconds.

    Without a lock a task may go on while another thread looks.
    """
    found = concurrent.futures.Future()

    def answer():
        if not found.set_running_or_notify_cancel():
            return
        try:
            found.set_result(look())
        except Exception as error:
            found.set_exception(error)

    loop.call_soon_threadsafe(answer)
    try:
        return found.result(limit)
    except concurrent.futures.TimeoutError:
        found.cancel()
        return None


def place_of(task, thread_frame, is_exclusive):
    """As `task_stack`, for another thread than that of the loop."""
    if is_exclusive:
        return task_stack(task, thread_frame)
    lines = seen_by(task.get_loop(), lambda: task_stack(task), LOOP_LIMIT)
    return ["the event loop is held up"] if lines is None else lines
