"""From signals to a student: judge, assistant, distillation, evaluation, registry of models."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")
