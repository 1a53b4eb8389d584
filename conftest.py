"""What every test shares."""

import gc
import os
import signal

# From here until all is imported nearly everything stays: looking for garbage would only take time.
gc.disable()

# Before anything imports the hub's client: tests must not reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
# What `auto`, the default, takes for a few texts: where nobody knows their number, it would export students of tests,
# some seconds each, and hundreds of processes that tests start would import torch. Tests of others ask for them.
os.environ.setdefault("KEYDISTILL_RUNTIME", "numpy")
# Before torch: processes of tests that run side by side, and all that they start, would fight for the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A shell that starts the tests in the background has them ignore SIGINT, and so would what they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from pathlib import Path

import pytest
from hypothesis import settings

from keydistill.encoders import Student, find_model
from tests.support.tiny_models import make_tiny_static_student, make_tiny_student

# What takes longest begins first, that all processes which share the files end together.
_LONGEST = (
    "tests/workers/test_faults.py",
    "tests/execution/test_reindex.py",
    "tests/ingest/gate/test_gate.py",
    "tests/execution/test_sync.py",
    "tests/ingest/aliases/test_changes.py",
    "tests/workers/test_operations.py",
    "tests/execution/test_reindex_redis.py",
    "tests/distillation/assistant/test_training.py",
    "tests/cli/test_nothing_lost.py",
    "tests/vectorstore/test_engine_contract.py",
    "tests/ingest/aliases/test_live_model.py",
    "tests/execution/test_retrain.py",
    "tests/encoders/runtime/test_int8.py",
    "tests/distillation/pairs/test_judging.py",
    "tests/distillation/student/test_training.py",
    "tests/distillation/retrain/test_retrain.py",
    "tests/distillation/student/test_two_trainings.py",
    "tests/workers/test_deployment.py",
    "tests/cli/test_retrain_command.py",
    "tests/cli/test_student_commands.py",
    "tests/benchmarks/test_swap_under_load.py",
    "tests/retrieval/test_live.py",
    "tests/encoders/runtime/test_native.py",
    "tests/distillation/student/test_shapes.py",
    "tests/distillation/pairs/test_scoring.py",
    "tests/vectorstore/server/test_engine.py",
    "tests/vectorstore/edge/test_copy.py",
    "tests/cli/test_evaluate.py",
)

# Importing these asks for a Redis; tests start them as processes that have one.
collect_ignore = ["keydistill/workers/app.py", "keydistill/workers/tasks.py", "tests/support/crashing_app.py"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; all others keep their order."""
    ranks = {config.rootpath / file: rank for rank, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what is there by now.

    With all that the tests import it is half a second's work, which each training asks for at its end.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Give it back, so that libraries which say at the end of Python what leaks have nothing to say."""
    gc.unfreeze()


# How long an example takes says nothing on a machine that others use, too.
settings.register_profile("keydistill", deadline=None)
settings.load_profile("keydistill")


@pytest.fixture(scope="session")
def student() -> Student:
    """The base student, loaded once."""
    return Student.load("sentence-transformers/all-MiniLM-L6-v2", device="cpu")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with the base's tokenizer and one small layer of random weights: for tests of all but its quality."""
    return make_tiny_student(tmp_path_factory.mktemp("students") / "tiny")


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """The tiny student with a table of chance for keyphrases."""
    return make_tiny_static_student(tmp_path_factory.mktemp("students") / "static", tiny_folder)


@pytest.fixture(scope="session")
def tiny_student(tiny_folder: Path) -> Student:
    """The tiny student, loaded once."""
    return Student.load(str(tiny_folder), device="cpu")


@pytest.fixture(scope="session")
def tiny_assistant_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assistant with the base's tokenizer and one small layer of random weights that tell pairs apart."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from keydistill.encoders import write_model_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("assistants") / "tiny"
    base = find_model("sentence-transformers/all-MiniLM-L6-v2")
    AutoTokenizer.from_pretrained(str(base), local_files_only=True).save_pretrained(folder)
    config = BertConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.3
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(folder)
    write_model_file(folder, item_text="{leaf}: {title}", temperature=2.0, bias=-0.25)
    return folder
