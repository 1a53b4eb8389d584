"""The HTTP service: keyphrases and vectors for whoever speaks HTTP. Importing this imports nothing of its extra."""

from keydistill.serve.keys import KeyEntry, KeyFile
from keydistill.serve.run import run_service

__all__ = ["KeyEntry", "KeyFile", "run_service"]
