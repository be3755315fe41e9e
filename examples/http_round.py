"""A round over HTTP: one server, six client processes, a deadline for each phase, and a client that is killed.

The transport is two requests. GET /NAME fetches what the server has for a client, POST /NAME brings the answer. Polling
the same message twice is harmless, and so is a repeated answer: the machines know both. A real service adds TLS and
authenticates NAME; see the guide "Import it".
"""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np

from protocols import Client, FloatVector, Participants, RoundConfig, Server, ThreatModel
from secagg.errors import PeerError, SecAggError

NAMES = Participants(["amber", "birch", "cedar", "dogwood", "elm", "fir"])
DEADLINE = 10.0  # seconds that a phase is kept open; with everybody's answer it closes at once


def serve() -> None:
    """Run the session, and print its sum."""
    server = Server(RoundConfig(ThreatModel(6, dropout_fraction=0.34), (FloatVector("update", 3),)), NAMES)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path[1:]  # who has answered is asked no more, or each poll would bring its input again
            message = server.outgoing().get(name, b"") if name in server.awaited else b""
            self._reply(410 if server.ended else 200 if message else 204, message)

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                server.receive(self.path[1:], data)  # accepted, a duplicate or late: all are well
                self._reply(200)
            except PeerError as error:  # the sender's fault: log it, and go on without that client
                self._reply(400, str(error).encode())

        def _reply(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # a thread a request: the server bears that
    threading.Thread(target=http.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{http.server_port}"
    processes = {name: subprocess.Popen([sys.executable, __file__, url, name]) for name in NAMES}  # noqa: S603
    while not server.ended:
        deadline = time.monotonic() + (60.0 if server.phase == "advertise-keys" else DEADLINE)  # processes must start
        if server.phase == "masked-input":
            processes["elm"].kill()  # a client dies where it costs most
        while server.num_awaited and time.monotonic() < deadline:
            time.sleep(0.02)
            if server.phase == "masked-input" and server.awaited == {"elm"}:
                break  # nobody else to wait for, and it is known to be dead
        server.close_phase()  # a ThresholdError here means: too few are left, begin a new session
    for process in processes.values():
        process.wait(timeout=30)
    print("in the sum:", ", ".join(sorted(server.result.survivors)))
    print("sum:", server.result.sum("update").round(3))


def take_part(url: str, name: str) -> None:
    """Be one client: poll, answer, retry with the same bytes, until the session is over."""
    client = Client()
    update = np.full(3, (NAMES.number(name)) / 10)
    while not client.ended:
        try:
            with urlopen(f"{url}/{name}", timeout=5) as reply:  # noqa: S310
                message = reply.read()
            if message and client.respond(message, {"update": update}):
                urlopen(Request(f"{url}/{name}", client.outgoing, method="POST"), timeout=5).close()  # noqa: S310
        except SecAggError as error:
            print(f"{name} takes no further part: {error}")
            return
        except URLError as error:
            if getattr(error, "code", None) == 410:  # the session is over
                return
        time.sleep(0.05)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        take_part(*sys.argv[1:])
    else:
        serve()
