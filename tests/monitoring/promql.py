"""Which metrics and labels a query names. `promtool` says whether it is a query; this reads on from there."""

import re
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


@dataclass(frozen=True)
class Query:
    """``selectors`` are metrics with the labels that are matched; ``grouped`` the labels it is summed by."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    grouped: frozenset[str]


def read(query: str) -> Query:
    """Of a query that promtool takes."""
    plain = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", "", _STRING.sub('""', query))
    grouped = {label.strip() for labels in _GROUPING.findall(plain) for label in labels.split(",")}
    rest = re.sub(r"\b\d[\w.]*", "", _GROUPING.sub("", plain))
    selectors = []
    for found in _SELECTOR.finditer(rest):
        name, labels = found.group(1), found.group(2)
        if name not in _WORDS and not rest[found.end() :].lstrip().startswith("("):
            selectors.append((name, frozenset(_LABEL.findall(labels or ""))))
    return Query(tuple(selectors), frozenset(grouped - {""}))
