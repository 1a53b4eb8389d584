"""What every test shares."""

import os

# Before anything imports the hub's client: tests must not reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from encoders import Student


@pytest.fixture(scope="session")
def student() -> Student:
    """The base student, loaded once."""
    return Student.load("sentence-transformers/all-MiniLM-L6-v2", device="cpu")
