"""A folder of a model is data: nothing in it is run, whatever it asks for."""

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from keydistill.encoders import Assistant, Student
from keydistill.encoders.runtime.protocol import WantedRuntime
from keydistill.errors import KeydistillError


class _Payload:
    """When it is unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _leave, (str(self.mark),)


def _leave(mark: str) -> None:
    Path(mark).touch()


def _assistant(folder: Path, _: str) -> object:
    return Assistant.load(str(folder)).score(["a title"], ["a keyphrase"])


def _student(folder: Path, runtime: WantedRuntime) -> object:
    return Student.load(str(folder), device="cpu", runtime=runtime).embed_keyphrases(["a keyphrase"])


@pytest.fixture(
    params=[("student", "torch"), ("student", "auto"), ("student", "numpy"), ("assistant", "")],
    ids=lambda given: " ".join(given).strip(),
)
def model(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_folder: Path, tiny_assistant_folder: Path
) -> Callable[[], object]:
    """Loads the copy of a model that lies in `tmp_path / "model"`, and computes with it."""
    kind, runtime = request.param
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder if kind == "student" else tiny_assistant_folder, folder)
    return lambda: (_student if kind == "student" else _assistant)(folder, runtime)


def planted(folder: Path, mark: Path) -> None:
    (folder / "planted.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Planted: pass\n")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_not_read(model: Callable[[], object], tmp_path: Path, name: str) -> None:
    folder, mark = tmp_path / "model", tmp_path / "mark"
    with (folder / name).open("wb") as file:
        pickle.dump({"weights": _Payload(mark)}, file)
    model()
    assert not mark.exists()
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    with pytest.raises(KeydistillError) as refused:
        model()
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_code_that_the_configuration_names_is_not_run(model: Callable[[], object], tmp_path: Path) -> None:
    folder, mark = tmp_path / "model", tmp_path / "mark"
    planted(folder, mark)
    config = json.loads((folder / "config.json").read_text())
    named = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), "planted.Planted")
    for model_type in (config["model_type"], "planted"):
        (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type, "auto_map": named}))
        with suppress(KeydistillError):
            model()
        assert not mark.exists()


@pytest.mark.parametrize("module", ["planted.Planted", "os.system", "builtins.exec"])
def test_a_module_of_a_student_is_none_of_the_folders_own(
    tmp_path: Path, tiny_folder: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = tmp_path / "model", tmp_path / "mark"
    shutil.copytree(tiny_folder, folder)
    planted(folder, mark)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 9, "name": "9", "path": "", "type": module}]))
    monkeypatch.chdir(folder)
    runtimes: tuple[WantedRuntime, ...] = ("torch", "auto", "numpy")
    for runtime in runtimes:
        with pytest.raises(KeydistillError) as refused:
            _student(folder, runtime)
        assert "\n" not in str(refused.value)
    assert not mark.exists()
    assert "planted" not in sys.modules
