"""Connections are taken before their requests wait for long."""

import asyncio
import socket

import uvloop

from keydistill.serve.run import listening
from keydistill.settings import load_settings

_CONNECTIONS = 128


class Accepted(asyncio.Protocol):
    """Collects the connections that were taken."""

    def __init__(self, transports: list[asyncio.BaseTransport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)


def test_many_connections_are_taken_in_few_turns_of_the_loop() -> None:
    async def turns(listeners: list[socket.socket]) -> int:
        clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(_CONNECTIONS)]
        taken: list[asyncio.BaseTransport] = []
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: Accepted(taken), sock=each) for each in listeners]
        count = 0
        while len(taken) < _CONNECTIONS:
            count += 1
            await asyncio.sleep(0)
        for transport in taken:
            transport.abort()  # type: ignore[attr-defined]
        for client in clients:
            client.close()
        for server in servers:
            server.close()
        return count

    # With a single handle there are as many turns as connections.
    with listening(load_settings(serve_port=0)) as listeners:
        assert uvloop.run(turns(listeners)) <= _CONNECTIONS // 8


def test_all_handles_are_of_one_port_and_closed_together() -> None:
    with listening(load_settings(serve_port=0)) as listeners:
        assert len({each.getsockname() for each in listeners}) == 1
    assert {each.fileno() for each in listeners} == {-1}
