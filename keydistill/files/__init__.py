"""Files and folders: locks that end with their process, what appears whole or not at all, hashes."""

from keydistill.files.disk import FolderKind, complete_folder, file_lock, file_sha256, replace_json, sync, sync_folder
from keydistill.files.whole_folder import folder_written_whole, storage_errors
from keydistill.files.work_folders import work_folder

__all__ = [
    "FolderKind",
    "complete_folder",
    "file_lock",
    "file_sha256",
    "folder_written_whole",
    "replace_json",
    "storage_errors",
    "sync",
    "sync_folder",
    "work_folder",
]
