"""The form of names that we choose."""

# What aliases and schedules are called: names become folders, keys in Redis, and columns of tables.
NAME = r"^[A-Za-z0-9._-]+$"
