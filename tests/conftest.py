"""What all tests share."""

import os

import pytest

from tests.support.certificates import Certificates

QDRANT_URL = "KEYDISTILL_TEST_QDRANT_URL"


def pytest_report_header() -> str:
    url = os.environ.get(QDRANT_URL)
    if url:
        return "qdrant server: the tests of the server engine run against the one that is set"
    return f"qdrant server: none ({QDRANT_URL} is not set); the REST front and the client's local mode stand in"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of a CA of the tests' own."""
    return Certificates.made_in(tmp_path_factory.mktemp("certificates"))
