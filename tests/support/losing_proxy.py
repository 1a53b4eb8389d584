"""A proxy before a server that loses answers: the request was carried out, and the client does not hear of it."""

import socket
import threading
from typing import Self


class LosingProxy:
    """Listens on `port` and passes everything on to another port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lose: bytes | None = None
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer(self, to: bytes) -> None:
        """The next request that holds these bytes is carried out, and then the connection breaks."""
        self._lose = to

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            # Redis answers each request of ours before we send the next one.
            while request := _received(client):
                loses = self._lose is not None and self._lose in request
                server.sendall(request)
                answer = _received(server)
                if loses:
                    self._lose = None
                    self.lost += 1
                    return
                client.sendall(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 20)
    except OSError:
        return b""
