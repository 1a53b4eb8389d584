"""What machines share: folders behind a path or URL, and students that another machine made."""

from storage.shared import SharedStorage, shared_storage
from storage.students import local_student, share_student

__all__ = ["SharedStorage", "local_student", "share_student", "shared_storage"]
