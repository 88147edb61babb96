"""The executors of a worker: the functions that they are given are counted, and nothing else is changed about them.

Which worker that is, and who reads the numbers, is not known here.
"""


def watch_executor(server, executor, thread_sensitive):
    """Has each function counted from when it is submitted until it is over, cancelled or not."""
    submit = executor.submit

    def over(_):
        server.note_function(thread_sensitive, True)

    def watched(function, /, *arguments, **keywords):
        server.note_function(thread_sensitive, False)
        try:
            future = submit(function, *arguments, **keywords)
        except BaseException:
            over(None)
            raise
        future.add_done_callback(over)
        return future

    executor.submit = watched


def watch_asgiref(server):
    """Has asgiref's executor of one thread watched, where a package of the application has imported asgiref."""
    to_async = getattr(sys.modules.get("asgiref.sync"), "SyncToAsync", None)
    executor = getattr(to_async, "single_thread_executor", None)
    if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        # An attribute of its own shows that it is watched.
        if "submit" not in vars(executor):
            watch_executor(server, executor, True)
