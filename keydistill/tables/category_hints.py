"""What looks misread among the categories of a table."""

import re
from collections.abc import Sequence

from keydistill.tables.categories import PATH_SEPARATOR

# What people put between the levels of a path where ours is ">".
_OTHER_SEPARATORS = re.compile(r"\s*(?:/|\u203a|»|→|::|\\)\s*")


class CategoryHints:
    """What looks misread among the categories of a table, for its report."""

    def __init__(self) -> None:
        self._flat: tuple[int, str] = (0, "")
        self._beside: tuple[int, str] = (0, "")

    def see(self, categories: Sequence[str]) -> None:
        """Look at the categories of one row, with or without their ancestors."""
        deepest = max(categories, key=len, default="")
        if len(categories) == 1 and PATH_SEPARATOR not in deepest and _looks_like_a_path(deepest):
            self._flat = (self._flat[0] + 1, self._flat[1] or deepest)
        elif len(categories) > 2 and PATH_SEPARATOR in deepest:
            alone = [each for each in categories if not any(_is_above(each, other) for other in categories)]
            roots = [each for each in alone if PATH_SEPARATOR not in each]
            if roots:
                example = f"{roots[0]!r} beside {deepest!r}"
                self._beside = (self._beside[0] + 1, self._beside[1] or example)

    def lines(self) -> tuple[str, ...]:
        """A sentence for each kind."""
        lines = []
        if self._flat[0]:
            lines.append(
                f"{self._flat[0]:,} rows have a single category that looks like a path, such as {self._flat[1]!r}; the "
                "levels of a path are separated by ' > '"
            )
        if self._beside[0]:
            lines.append(
                f"{self._beside[0]:,} rows have a category of one level beside a longer path, such as "
                rf"{self._beside[1]}; '|' separates paths: write '\|' where it belongs to a name"
            )
        return tuple(lines)


def _looks_like_a_path(category: str) -> bool:
    # "TV/Video" is a name, "Home/Bath/Towels" hardly one.
    separators = _OTHER_SEPARATORS.findall(category)
    return len(separators) > 1 or any(each.strip() not in ("/", "\\") or each != each.strip() for each in separators)


def _is_above(category: str, other: str) -> bool:
    return other.startswith(category + PATH_SEPARATOR)
