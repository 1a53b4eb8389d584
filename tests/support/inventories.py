"""Inventories for tests of the write path."""

import csv
from pathlib import Path

WORDS = ["red", "blue", "running", "shoes", "iphone", "case", "usb", "cable", "vintage", "lamp", "desk", "ps5"]


def write_inventory(path: Path, rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["keyphrase", "category_path", "search_volume", "site", "brand"])
        for row in range(rows):
            words = [WORDS[row % 12], WORDS[row // 12 % 12], WORDS[row // 144 % 12], "x" * (row % 3)]
            path_of = "" if row % 10 == 0 else f"Root > Branch {row % 3} > Leaf {row % 6}"
            writer.writerow([" ".join(words) + f" {row}", path_of, row, "US", f"b{row % 4}"])
    return path
