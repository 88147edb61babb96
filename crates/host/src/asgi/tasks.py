"""The tasks of the loop, for an administrator: their names, the requests that they belong to, and where they are."""

import itertools

# How many tasks are told of, and how many frames of each, the innermost first.
MOST_REPORTED = 500
MOST_FRAMES = 40
# How long a loop that is asked may take, in seconds: less than those who ask wait.
REPORT_LIMIT = 0.2

# The server of this process, once there is one.
servers = []


def frames_to_the_end(task, thread_frame):
    """Its frames as of `frames_of`, then those of a task that it waits for, and so on."""
    pairs, seen = [], set()
    while task is not None and id(task) not in seen and len(seen) < MOST_TASKS:
        seen.add(id(task))
        own = frames_of(task, thread_frame)
        pairs += own
        task = next(iter(tasks_awaited(task, own)), None)
    return pairs


def number_of_context(task):
    """The number of the request in whose context a task has been made; -1 where there is none or that is not known."""
    # From Python 3.12 on.
    context = getattr(task, "get_context", None)
    request = context().get(current_request) if context is not None else None
    return -1 if request is None else request.request_number


def numbered(server, thread_frame):
    """Each task with the number of its request and its frames: those that requests wait for, the oldest request first."""
    told = set()
    # Copies, because the loop goes on whenever Python lets it.
    for exchange in list(server.exchanges.values()):
        if exchange.task is None:
            continue
        number = exchange.request.request_number
        for task, pairs in stacks_of(exchange.task, thread_frame):
            if id(task) not in told:
                told.add(id(task))
                yield task, number, pairs
    for task in sorted(asyncio.all_tasks(server.loop), key=lambda it: it.get_name()):
        if id(task) not in told:
            yield task, number_of_context(task), frames_of(task, thread_frame)


def report(task, number, pairs):
    """Its name, the number of its request, how many frames it has, and of each line, function and file."""
    places = []
    for frame, line in reversed(pairs):
        code = frame.f_code
        if code.co_filename != SOURCE_FILE:
            places.append((line or 0, getattr(code, "co_qualname", code.co_name), code.co_filename))
    found = [task.get_name(), number, len(places)]
    for place in places[:MOST_FRAMES]:
        found += place
    return found


def reports(server, thread_frame):
    """Those of all tasks; the server's own have no frame that is not the server's."""
    for task, number, pairs in numbered(server, thread_frame):
        found = report(task, number, pairs)
        if found[2] or number >= 0:
            yield found


def exchange_of(server, number):
    """The request of this number; None where that is over."""
    exchange = server.exchanges.get(number)
    if exchange is None:
        # That of a WebSocket that is not open yet, which is listed by another number.
        sockets = (it for it in list(server.exchanges.values()) if it.is_websocket)
        exchange = next((it for it in sockets if it.request.request_number == number), None)
    return exchange


def reports_of(server, number, thread_frame):
    """That of the task that calls the application for the request of this number."""
    exchange = exchange_of(server, number)
    if exchange is None or exchange.task is None:
        return []
    task = exchange.task
    return [report(task, number, frames_to_the_end(task, thread_frame))]


def report_tasks(number, thread_frame, is_exclusive):
    """A report of each task, or of that of a request; None where the loop is held up and nothing else can tell."""
    if not servers:
        return []
    server = servers[0]

    def look():
        if number is None:
            return list(itertools.islice(reports(server, thread_frame), MOST_REPORTED))
        return reports_of(server, number, thread_frame)

    return look() if is_exclusive else seen_by(server.loop, look, REPORT_LIMIT)
