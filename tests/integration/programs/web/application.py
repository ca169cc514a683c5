"""Notes by HTTP: POST / keeps the body in the database, GET / says all that were kept."""

import os
from wsgiref.simple_server import make_server

import psycopg2


def application(environ, start_response):
    with psycopg2.connect(os.environ["DATABASE"]) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS notes (id serial, note text)")
        if environ["REQUEST_METHOD"] == "POST":
            note = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
            cursor.execute("INSERT INTO notes (note) VALUES (%s)", (note,))
        cursor.execute("SELECT note FROM notes ORDER BY id")
        said = "".join(f"{note}\n" for (note,) in cursor)
    connection.close()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [said.encode()]


with make_server("0.0.0.0", 8000, application) as server:
    server.serve_forever()
