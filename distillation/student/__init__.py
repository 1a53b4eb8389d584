"""The student's training. Files have the names of their twins in `keydistill.distillation.assistant`."""

from keydistill.distillation.student.averaging import average_students
from keydistill.distillation.student.base import untrained_student
from keydistill.distillation.student.data import Pairs, StudentData
from keydistill.distillation.student.recipe import StudentRecipe, default_weights
from keydistill.distillation.student.tables import student_data
from keydistill.distillation.student.training import (
    StudentTrainingPlan,
    TrainedStudent,
    members_folder,
    plan_student_training,
    student_training_digest,
    train_student,
)

__all__ = [
    "Pairs",
    "StudentData",
    "StudentRecipe",
    "StudentTrainingPlan",
    "TrainedStudent",
    "average_students",
    "default_weights",
    "members_folder",
    "plan_student_training",
    "student_data",
    "student_training_digest",
    "train_student",
    "untrained_student",
]
