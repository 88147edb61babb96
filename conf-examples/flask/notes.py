"""A Flask application."""

from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/")
def index():
    return "Hello from Flask\n"


@app.get("/notes/<int:number>")
def note(number):
    return jsonify(id=number, text="remember the milk")
