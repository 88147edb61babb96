"""The page of the chat."""

from django.http import HttpResponse
from django.urls import path

PAGE = """<!doctype html><title>Hello from Django Channels</title>
<h1>Hello from Django Channels</h1><form><input autofocus></form><ul></ul>
<script>
    const input = document.querySelector("input"), list = document.querySelector("ul")
    let socket
    function connect() {
        socket = new WebSocket(new URL("chat", location).href.replace("http", "ws"))
        socket.onmessage = event => list.append(Object.assign(document.createElement("li"), {textContent: event.data}))
        // A process that is replaced closes its WebSockets.
        socket.onclose = () => setTimeout(connect, 1000 + 1000 * Math.random())
    }
    connect()
    document.querySelector("form").onsubmit = event => {
        event.preventDefault()
        socket.send(input.value)
        input.value = ""
    }
</script>
"""


def index(request):
    return HttpResponse(PAGE)


urlpatterns = [path("", index)]
