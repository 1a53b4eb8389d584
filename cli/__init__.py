"""The command line: one file per command or group, each of which parses, calls and prints."""
