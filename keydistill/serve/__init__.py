"""The HTTP service: keyphrases and vectors for whoever speaks HTTP. Importing this needs nothing of the extra `serve`."""

from keydistill.serve.keys import KeyEntry, KeyFile
from keydistill.serve.run import run_service

__all__ = ["KeyEntry", "KeyFile", "run_service"]
