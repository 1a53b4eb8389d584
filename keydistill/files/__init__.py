"""Files and folders: locks that end with their process, what appears whole or not at all, hashes."""

from keydistill.files.durability import storage_errors, sync, sync_folder
from keydistill.files.formats import NewerFormatError, stamped, without_stamp
from keydistill.files.hashes import file_digests, file_sha256, first_difference, remembered_sha256
from keydistill.files.locks import file_lock, lock_handle
from keydistill.files.modes import private_mode, protect_home
from keydistill.files.outputs import check_no_input_is_replaced
from keydistill.files.unfinished import work_folder
from keydistill.files.whole import FolderKind, replace_json, whole_file, whole_folder

__all__ = [
    "FolderKind",
    "NewerFormatError",
    "check_no_input_is_replaced",
    "file_digests",
    "file_lock",
    "file_sha256",
    "first_difference",
    "lock_handle",
    "private_mode",
    "protect_home",
    "remembered_sha256",
    "replace_json",
    "stamped",
    "storage_errors",
    "sync",
    "sync_folder",
    "whole_file",
    "whole_folder",
    "without_stamp",
    "work_folder",
]
