"""Answers with who it is; /visit counts."""

import os

from flask import Flask, jsonify

app = Flask(__name__)
visits = 0


@app.get("/")
def who():
    with open("/etc/os-release", encoding="utf-8") as file:
        system = dict(line.rstrip().split("=", 1) for line in file)["PRETTY_NAME"].strip('"')
    return jsonify(message="Hello from Flask", system=system, user_id=os.getuid(), process_id=os.getpid())


@app.get("/visit")
def visit():
    global visits
    visits += 1
    return f"{visits}\n"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
