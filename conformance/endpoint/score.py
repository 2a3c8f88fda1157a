"""A service of Python's own HTTP server, at the address of its first argument.

It answers with the number that it was posted and the attempt, and prints a line
for each request.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Score(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def do_POST(self):
        number = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["n"]
        answer = json.dumps({"n": number, "attempt": int(self.headers["Runnel-Attempt"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print(number, flush=True)

    def log_message(self, *_):
        pass


host, port = sys.argv[1].split(":")
ThreadingHTTPServer((host, int(port)), Score).serve_forever()
