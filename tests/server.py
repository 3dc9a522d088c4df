"""Un serveur local pour les essais de téléchargement : il répond ce qu'on lui dit, et retient ce qu'on lui demande."""

import http.server
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """`answers` {chemin : octets}, que l'on peut changer ; `asked` : chemins demandés ; `sent` : octets envoyés.

    Une réponse (octets, longueur annoncée) ment sur sa longueur. `ranges` : sait reprendre. `pause` : secondes entre
    deux octets, dès le huitième. `hold` : tant qu'il est baissé, une réponse envoyée ne se referme pas.
    """

    answers: dict
    url: str = ""
    asked: list = field(default_factory=list)
    sent: int = 0
    ranges: bool = True
    pause: float = 0
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.hold.set()


def reply(handler, server):
    server.asked.append(handler.path)
    answer = server.answers.get(handler.path)
    body, length = answer if isinstance(answer, tuple) else (answer or b"", len(answer or b""))
    start, wanted = 0, handler.headers.get("Range", "")
    if wanted and server.ranges and answer:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    handler.send_response(404 if not answer else 416 if start >= len(body) else 206 if start else 200)
    if 0 < start < len(body):
        handler.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
    handler.send_header("Content-Length", str(max(0, length - start)))
    handler.send_header("Content-Type", "text/html" if body[:6] == b"<html>" else "application/octet-stream")
    handler.end_headers()
    rest = body[start:]
    for piece in [rest[:8], *(bytes([byte]) for byte in rest[8:])] if server.pause else [rest]:
        server.sent += len(piece)
        handler.wfile.write(piece)
        time.sleep(server.pause)
    server.hold.wait()


@contextmanager
def serving(answers):
    server = Server(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                reply(self, server)
            except ConnectionError:
                pass  # le client est parti sans attendre la fin

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    server.url = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
