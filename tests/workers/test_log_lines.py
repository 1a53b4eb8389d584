"""A message of the broker forges no line of a worker's log."""

import io
import logging

from keydistill.workers.log_lines import one_line_each


def test_a_message_is_one_line_and_its_traceback_stays() -> None:
    written = io.StringIO()
    logger = logging.Logger("of a worker")
    logger.addHandler(logging.StreamHandler(written))
    one_line_each(logger, loglevel=logging.INFO)
    logger.error("schedule %s: unknown", "x\n[2026-01-01] forged\x1b[31m")
    logger.info("100% done")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    lines = written.getvalue().splitlines()
    assert lines[:3] == ["schedule x\\n[2026-01-01] forged\\x1b[31m: unknown", "100% done", "failed"]
    assert lines[3].startswith("Traceback")
    assert lines[-1] == "ValueError: why"
