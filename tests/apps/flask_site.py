"""A Flask application with what people use: routes, templates, sessions, uploads, streaming."""

import io
import itertools
from wsgiref.validate import validator

from flask import (
    Flask,
    abort,
    jsonify,
    redirect,
    render_template_string,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

application = Flask(__name__)
application.secret_key = "only for tests"
counter = itertools.count(1)


@application.get("/")
def home():
    return render_template_string("<p>{{ greeting }} &amp; {{ '<b>' }}</p>", greeting="Grüße")


@application.get("/user/<name>")
def user(name):
    return jsonify(name=name, url=url_for("user", name=name), root=request.script_root)


@application.post("/login")
def login():
    session["name"] = request.form["name"]
    return redirect(url_for("whoami"))


@application.get("/whoami")
def whoami():
    return session.get("name", "anonymous")


@application.post("/upload")
def upload():
    data = request.files["file"].read()
    return send_file(io.BytesIO(data[::-1]), mimetype="application/octet-stream")


@application.post("/json")
def json_():
    return jsonify(twice=request.get_json()["number"] * 2)


@application.get("/source")
def source():
    """A conditional response with ranges, through wsgi.file_wrapper."""
    return send_file(__file__, mimetype="text/x-python", conditional=True)


@application.get("/stream")
def stream():
    def lines():
        for n in range(500):
            yield f"{n} {request.args['word']}\n"

    return application.response_class(stream_with_context(lines()), mimetype="text/plain")


@application.get("/count")
def count():
    return str(next(counter))


@application.get("/missing")
def missing():
    abort(404, "nothing of the kind")


@application.get("/fail")
def fail():
    raise ValueError("from a Flask view")


validated = validator(application.wsgi_app)
