def student_folder(run, settings, shared):
    return run.student


def snapshot_folder(run, settings, shared):
    return settings.home / "runs" / run.id / "snapshot"
