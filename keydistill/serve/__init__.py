"""The HTTP service: keyphrases and vectors for whoever speaks HTTP. Importing this imports nothing of its extra."""

from keydistill.serve.keys import KeyEntry, KeyFile
from keydistill.serve.run import run_service
from keydistill.serve.sample_file import SampledItem, SampleFile

__all__ = ["KeyEntry", "KeyFile", "SampleFile", "SampledItem", "run_service"]
