"""Runs carried out by Celery workers, and the schedules that start them."""
