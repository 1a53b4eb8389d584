"""`keydistill train`: assistants and students from signals."""

import click

from keydistill.cli.train_assistant import assistant
from keydistill.cli.train_student import student


@click.group()
def train() -> None:
    """Train assistants and students."""


train.add_command(assistant)
train.add_command(student)
