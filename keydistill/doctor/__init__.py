"""The doctor: checks of an installation, each finding with what to run, and mending what is safe to mend."""

from keydistill.doctor.complaint import Complaint
from keydistill.doctor.diagnosis import CHECKS, Diagnosis, diagnose
from keydistill.doctor.patient import Patient

__all__ = ["CHECKS", "Complaint", "Diagnosis", "Patient", "diagnose"]
