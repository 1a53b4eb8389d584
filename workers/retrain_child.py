def queue_of_stage(s):
    return "train"
