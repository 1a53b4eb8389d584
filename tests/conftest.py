"""What all tests share."""

import os

QDRANT_URL = "KEYDISTILL_TEST_QDRANT_URL"


def pytest_report_header() -> str:
    url = os.environ.get(QDRANT_URL)
    if url:
        return "qdrant server: the tests of the server engine run against the one that is set"
    return f"qdrant server: none ({QDRANT_URL} is not set); the REST front and the client's local mode stand in"
