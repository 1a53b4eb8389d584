"""Measurements; each module is a script with `--quick` and `--json FILE`."""
