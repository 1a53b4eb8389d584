"""Where benchmarks run: the environment says it, and a server is left as it was."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import engines
from benchmarks.swap_under_load import restart
from keydistill.settings import load_settings
from keydistill.vectorstore import CollectionSpec, open_engine
from tests.support.front_process import FrontProcess


def test_embedded_changes_nothing() -> None:
    before = dict(os.environ)
    with engines.on_engine(None, None) as variables:
        assert variables == {}
        assert engines.alias_of("one") == {}
        assert dict(os.environ) == before
    with pytest.raises(SystemExit, match="--engine embedded asks for none"), engines.on_engine("embedded", "http://h"):
        pass


def test_a_server_is_left_as_it_was(tmp_path: Path) -> None:
    with FrontProcess(tmp_path / "front") as front:
        before = dict(os.environ)
        with engines.on_engine(None, front.url) as variables:
            alias = variables["KEYDISTILL_ALIAS"]
            settings = load_settings(home=tmp_path / "home", qdrant_grpc="rest")
            assert (settings.engine, settings.qdrant_url, settings.alias) == ("server", front.url, alias)
            with closing(open_engine(settings)) as engine:
                for name in (f"{alias}-run", "somebody-elses"):
                    engine.create(name, CollectionSpec(dimension=4), {})
                engine.finish(f"{alias}-run")
                engine.swap_alias(alias, f"{alias}-run", None)
            assert engines.alias_of("one") == {"KEYDISTILL_ALIAS": f"{alias}-one"}
        assert dict(os.environ) == before
        plain = load_settings(engine="server", qdrant_url=front.url, qdrant_grpc="rest")
        with closing(open_engine(plain)) as engine:
            assert engine.collections() == ["somebody-elses"]
            assert engine.aliases() == {}
        # What is kept is found again.
        with engines.on_engine(None, front.url, tmp_path / "kept") as first:
            pass
        with engines.on_engine(None, front.url, tmp_path / "kept") as second:
            assert first == second


def test_a_restart_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    restart(f"touch {tmp_path / 'restarted'}")
    assert (tmp_path / "restarted").exists()
    with pytest.raises(SystemExit, match="'exit 3' ended with status 3"):
        restart("exit 3")
