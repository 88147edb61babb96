"""WSGIPassApacheRequest: Apache's own request structure for extension modules."""

import pytest
from harness.client import ask
from harness.conf import Conf

CONF = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${ROOT}/app.py
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassApacheRequest On
    <Location /off>
        WSGIPassApacheRequest Off
    </Location>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        WSGIPassApacheRequest Off
    </VirtualHost>
    """,
    files=(
        (
            "app.py",
            """
import ctypes
import ask
from ask import application

get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

def pointer(capsule):
    ask.kept["capsule"] = capsule
    return get(capsule, None)

ask.pointer, ask.get = pointer, get
""",
        ),
    ),
)
KIND = "type(environ.get('apache.request_rec')).__name__"


def test_an_embedded_application_is_given_apaches_request(serve, mode):
    server = serve(CONF)
    assert ask(server, KIND) == ("PyCapsule" if mode == "embedded" else "NoneType")
    assert ask(server, KIND, "/off") == "NoneType"
    assert ask(server, KIND, host="virtual.example") == "NoneType"


@pytest.mark.embedded_only("daemon processes have no request of Apache's")
def test_request_rec_is_an_unnamed_capsule(serve):
    assert ask(serve(CONF), "pointer(environ['apache.request_rec']) > 0")


@pytest.mark.embedded_only("daemon processes have no request of Apache's")
@pytest.mark.differs("capsule-ends", "mod_wsgi leaves a pointer to freed memory")
def test_a_pointer_that_was_kept_cannot_be_followed_any_more(serve):
    server = serve(CONF)
    assert ask(server, "pointer(environ['apache.request_rec']) > 0")
    found = ask(server, "get(kept['capsule'], None)")
    assert str(found).startswith("ValueError")


@pytest.mark.parametrize("place", ["<Directory /srv>\n{}\n</Directory>", "<Files x>\n{}\n</Files>"])
def test_the_directive_may_stand_in_sections(configtest, place):
    accepted, printed = configtest(Conf(place.format("WSGIPassApacheRequest On")))
    assert accepted, printed


@pytest.mark.parametrize("arguments", ["", " Perhaps", " On Off"])
def test_a_bad_value_is_refused(configtest, arguments):
    accepted, printed = configtest(Conf(f"WSGIPassApacheRequest{arguments}"))
    assert not accepted
    assert "WSGIPassApacheRequest" in printed
