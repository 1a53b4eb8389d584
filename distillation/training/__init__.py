"""The common part of the trainings of student and assistant.

`keydistill.distillation.training.run` imports torch: it is imported by its own name, and only where training begins.
"""

from keydistill.distillation.training.transformer import set_dropout, training_attention

__all__ = ["set_dropout", "training_attention"]
