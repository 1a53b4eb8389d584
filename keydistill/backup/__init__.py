"""Backups: what an installation cannot make again, in a folder or behind a URL, and bringing it back."""

from keydistill.backup.archive import Archive
from keydistill.backup.manifest import Manifest
from keydistill.backup.restoring import RestorePlan, Restoring
from keydistill.backup.writing import Backup, BackupReport

__all__ = ["Archive", "Backup", "BackupReport", "Manifest", "RestorePlan", "Restoring"]
