"""Ports for servers that tests start."""

import random
import socket

# Below what Linux gives to outgoing connections (net.ipv4.ip_local_port_range begins at 32768): while a server is down,
# a client that tries to reach it could be given its port.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
