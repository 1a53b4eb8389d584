"""The student's training. Files have the names of their twins in `keydistill.distillation.assistant`."""

from keydistill.distillation.student.averaging import average_students
from keydistill.distillation.student.data import Pairs, StudentData
from keydistill.distillation.student.recipe import DistillationLoss, Shape, StudentRecipe
from keydistill.distillation.student.tables import student_data
from keydistill.distillation.student.training import TrainedStudent, student_training_digest, train_student

__all__ = [
    "DistillationLoss",
    "Pairs",
    "Shape",
    "StudentData",
    "StudentRecipe",
    "TrainedStudent",
    "average_students",
    "student_data",
    "student_training_digest",
    "train_student",
]
