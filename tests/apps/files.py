"""Files through wsgi.file_wrapper, and things that only look like files."""

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile

from by_path import answer, by_path

TEXT = [("Content-Type", "text/plain")]


def path_of(environ):
    """The file that ?name asks for, beside the server's configuration."""
    root = os.path.dirname(environ["DOCUMENT_ROOT"])
    return os.path.join(root, "files", environ["QUERY_STRING"].partition("&")[0])


def options(environ):
    return dict(item.split("=") for item in environ["QUERY_STRING"].split("&")[1:])


class Closing(io.FileIO):
    def close(self):
        if not self.closed:
            print("the file was closed", file=sys.stderr)
        super().close()


def whole(environ, start_response):
    """?<name>&seek=n&length=n&block=n"""
    asked, headers = options(environ), list(TEXT)
    file = open(path_of(environ), "rb")
    file.seek(int(asked.get("seek", 0)))
    if "length" in asked:
        headers.append(("Content-Length", asked["length"]))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](file, int(asked.get("block", 8192)))


def closing(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](Closing(path_of(environ)))


def in_memory(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"only in memory " * 1000), 100)


def pipe(environ, start_response):
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](os.fdopen(reading, "rb"))


def temporary(environ, start_response):
    """Unlinked already, and closed by close(): the descriptor must live until all is sent."""
    file = tempfile.TemporaryFile()
    file.write(b"0123456789" * 50_000)
    file.seek(0)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](file)


def after_write(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"head|")
    return environ["wsgi.file_wrapper"](open(path_of(environ), "rb"))


def subclass(environ, start_response):
    class Wrapper(environ["wsgi.file_wrapper"]):
        pass

    start_response("200 OK", TEXT)
    return Wrapper(open(path_of(environ), "rb"))


def wrapped(environ, start_response):
    """Another iterator around the file wrapper: no fast path, the same bytes."""
    start_response("200 OK", TEXT)
    return (piece for piece in environ["wsgi.file_wrapper"](open(path_of(environ), "rb"), 1000))


class Rot13(io.BufferedReader):
    """Reads otherwise than its descriptor."""

    def read(self, size=-1):
        return super().read(size).translate(ROT13)


class Forwarding:
    """What storage libraries give: a file of their own with the descriptor of another."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def read(self, size=-1):
        return self.file.read(size).translate(ROT13)


LETTERS = bytes(range(97, 123))
ROT13 = bytes.maketrans(LETTERS, LETTERS[13:] + LETTERS[:13])


def compressed(opened, data):
    file = tempfile.NamedTemporaryFile(delete=False)
    with file, opened(file, "wb") as compressing:
        compressing.write(data)
    reading = opened(file.name, "rb")
    os.unlink(file.name)
    return reading


def own_method(file):
    reads = file.read
    file.read = lambda size: reads(size).translate(ROT13)
    return file


def unsent_writes(path):
    file = tempfile.TemporaryFile()
    file.write(b"0123456789" * 10)
    file.seek(0)
    file.read(5)
    file.write(b"abc")
    return file


def spooled(limit, data):
    file = tempfile.SpooledTemporaryFile(max_size=limit)
    file.write(data)
    file.seek(2)
    return file


def named(data):
    file = tempfile.NamedTemporaryFile()
    file.write(data)
    file.seek(2)
    return file


DATA = b"abcdefghij" * 1000
KINDS = {
    "gzip": lambda path: compressed(gzip.open, DATA),
    "bz2": lambda path: compressed(bz2.open, DATA),
    "lzma": lambda path: compressed(lzma.open, DATA),
    "forwarding": lambda path: Forwarding(open(path, "rb")),
    "subclass": lambda path: Rot13(io.FileIO(path)),
    "own_method": lambda path: own_method(open(path, "rb")),
    "own_method_raw": lambda path: own_method(open(path, "rb", buffering=0)),
    "unsent_writes": unsent_writes,
    "spooled_in_memory": lambda path: spooled(1 << 20, DATA),
    "spooled_on_disk": lambda path: spooled(10, DATA),
    "named": lambda path: named(DATA),
    "raw": lambda path: open(path, "rb", buffering=0),
    "read_and_write": lambda path: open(path, "r+b"),
    "proc": lambda path: open("/proc/self/status", "rb"),
    "sys": lambda path: open("/sys/kernel/mm/transparent_hugepage/enabled", "rb"),
    "text": lambda path: open(path),
}


def kind(environ, start_response):
    """?<name>&kind=k: a file-like object of this kind; without Content-Length."""
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](KINDS[options(environ)["kind"]](path_of(environ)))


def overridden(environ, start_response):
    class Shouting(environ["wsgi.file_wrapper"]):
        def __next__(self):
            return super().__next__().upper()

    start_response("200 OK", TEXT)
    return Shouting(open(path_of(environ), "rb"))


def text_mode(environ, start_response):
    start_response("200 OK", TEXT)

    class Text:
        def read(self, size):
            return "not bytes"

        def close(self):
            pass

    return environ["wsgi.file_wrapper"](Text())


def without_close(environ, start_response):
    class Once:
        data = b"read once"

        def read(self, size):
            data, self.data = self.data, b""
            return data

    wrapper = environ["wsgi.file_wrapper"]
    wrapper(Once()).close()
    start_response("200 OK", TEXT)
    return wrapper(Once())


def position(environ, start_response):
    """Where the file stands once its wrapper was asked to be iterated by hand."""
    wrapper = environ["wsgi.file_wrapper"]
    file = open(path_of(environ), "rb")
    by_hand = wrapper(filelike=file, blksize=10)
    first = next(iter(by_hand))
    said = [first.decode(), str(by_hand.filelike is file), str(by_hand.blksize), str(file.tell())]
    by_hand.close()
    said.append(str(file.closed))
    for attempt in (
        lambda: by_hand.filelike,
        lambda: wrapper(file, -1),
        lambda: setattr(by_hand, "blksize", 3),
        lambda: wrapper(),
    ):
        try:
            said.append(str(attempt()))
        except Exception as error:
            said.append(type(error).__name__)
    return answer(start_response, "\n".join(said))


def range_(environ, start_response):
    file = open(path_of(environ), "rb")
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [*TEXT, ("Content-Length", str(size)), ("Accept-Ranges", "bytes")])
    return environ["wsgi.file_wrapper"](file)


application = by_path(globals())
