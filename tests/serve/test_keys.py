"""API keys: what is kept of them, who gets in, and that they change while the service runs."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest

from keydistill.cli.main import main
from keydistill.errors import SettingsError
from keydistill.serve import KeyFile, keys, run_service
from keydistill.serve.keys import Keys
from keydistill.serve.run import is_loopback
from keydistill.settings import load_settings
from tests.serve.conftest import OpenBench

BODY = {"items": [{"title": "a"}]}


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture(autouse=True)
def _look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0.0)


def test_only_a_hash_is_kept_of_a_key_of_256_bits(file: KeyFile) -> None:
    key, other = file.add("shop"), file.add("batch")
    assert key != other
    assert len(key) >= 43
    kept = file.path.read_text()
    assert key not in kept
    assert file.read()["shop"].sha256 == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("name", ["shop", "", "a b", "../x", "a\n"])
def test_a_name_is_one_and_free(file: KeyFile, name: str) -> None:
    file.add("shop")
    with pytest.raises(SettingsError, match=r"already|no name"):
        file.add(name)
    assert list(file.read()) == ["shop"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"keys": []}', '{"keys": {"a": {}}}', '{"keys": {"a": {"sha256": "b", "created": ""}}}',
     '{"format": 99, "keys": {}}'],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(file: KeyFile, content: str) -> None:
    file.path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        file.read()
    assert "\n" not in str(refused.value)
    assert str(file.path) in str(refused.value)


def test_keys_change_without_a_restart(file: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    first = file.add("first")
    fixed = {"fixed": keys.sha256("kd_fixed")}
    known = Keys(fixed, file, required=False)
    assert known.needed()
    assert (known.name_of(first), known.name_of("kd_fixed"), known.name_of("kd_none")) == ("first", "fixed", None)
    second = file.add("second")
    assert known.name_of(second) == "second"
    file.remove("first")
    assert known.name_of(first) is None
    file.path.write_text("damaged")
    assert known.name_of(second) == "second"
    assert "those from before go on" in caplog.text
    # What began with keys is not opened by their loss.
    file.path.unlink()
    assert known.name_of(second) is None
    assert known.needed()


def test_the_first_key_closes_an_open_service(file: KeyFile) -> None:
    known = Keys({}, file, required=False)
    assert not known.needed()
    file.add("first")
    assert known.needed()


def test_without_a_key_nobody_gets_in(open_bench: OpenBench, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = KeyFile(path).add("shop")

    async def run() -> None:
        async with open_bench(serve_keys_file=path) as bench:
            for headers in (
                {},
                {"Authorization": "Bearer kd_wrong"},
                {"Authorization": f"Basic {key}"},
                {"X-Key": key},
            ):
                answer = await bench.http.post("/v1/embed", json=BODY, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert key not in answer.text
            assert (await bench.http.get("/v1/generation")).status_code == 401
            assert (await bench.http.get("/v1/no-such-path")).status_code == 401
            for path_without in ("/livez", "/readyz", "/metrics", "/openapi.json"):
                assert (await bench.http.get(path_without)).status_code == 200
            for word in ("Bearer", "bearer"):
                headers = {"Authorization": f"{word} {key}"}
                assert (await bench.http.post("/v1/embed", json=BODY, headers=headers)).status_code == 200
            rotated = KeyFile(path).add("rotated")
            KeyFile(path).remove("shop")
            headers = {"Authorization": f"Bearer {rotated}"}
            assert (await bench.http.post("/v1/embed", json=BODY, headers=headers)).status_code == 200
            headers = {"Authorization": f"Bearer {key}"}
            assert (await bench.http.post("/v1/embed", json=BODY, headers=headers)).status_code == 401

    asyncio.run(run())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "service.example"])
def test_other_machines_are_not_served_without_keys(tmp_path: Path, host: str) -> None:
    settings = load_settings(home=tmp_path, serve_host=host)
    with pytest.raises(SettingsError, match="there is no API key; make one with"):
        run_service(settings)
    assert not is_loopback(host)


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(SettingsError, match="give both"):
        run_service(load_settings(home=tmp_path, serve_tls_cert=tmp_path / "cert.pem"))
    both = {"serve_tls_cert": tmp_path / "cert.pem", "serve_tls_key": tmp_path / "cert.pem"}
    with pytest.raises(SettingsError, match="are no certificate with its key"):
        run_service(load_settings(home=tmp_path, **both))


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KEYDISTILL_HOME", str(tmp_path))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keydistill", "serve", "keys", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    assert call("list")[2].startswith("there is no API key")
    status, key, _ = call("new", "shop")
    assert status == 0
    file = KeyFile(tmp_path / "serve-keys.json")
    assert file.read()["shop"].sha256 == keys.sha256(key.strip())
    printed = json.loads(call("new", "batch", "--json")[1])
    assert file.read()["batch"].sha256 == keys.sha256(printed["key"])
    assert call("new", "shop")[0] == 2
    out = call("list")[1]
    assert "shop" in out
    assert key.strip() not in out
    assert [entry["name"] for entry in json.loads(call("list", "--json")[1])] == ["shop", "batch"]
    assert call("remove", "shop")[0] == 0
    assert call("remove", "shop")[0] == 2
    assert list(file.read()) == ["batch"]
