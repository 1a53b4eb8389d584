"""What machines share: folders behind a path or URL, and students that another machine made."""

from keydistill.storage.objects import ObjectStorage
from keydistill.storage.shared import SharedStorage, shared_storage
from keydistill.storage.students import local_student, share_student

__all__ = [
    "ObjectStorage",
    "SharedStorage",
    "local_student",
    "share_student",
    "shared_storage",
]
