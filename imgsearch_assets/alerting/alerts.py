"""What operators are told: a trouble when it begins, when it has another cause, and when it is over."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from serving.redaction import Redaction

RUNBOOK = "docs/operations.md"
# Of the JSON that a webhook gets; it grows when a field goes or means something else.
VERSION = 1
_LONGEST_FACT = 600
# Slack refuses a message with a longer one.
_LONGEST_BLOCK = 3_000


class Kind(StrEnum):
    """What can be wrong."""

    LATE = "late"
    GATE = "gate"
    FAILED = "failed"
    STOCK = "stock"
    CATALOGUE = "catalogue"


# What is told when it is over; of the subject.
_OVER = {
    Kind.LATE: "{} is in time again",
    Kind.GATE: "{} passes again",
    Kind.FAILED: "{} is made again",
    Kind.STOCK: "{} is followed again",
    Kind.CATALOGUE: "{} can be read again",
}
# Sections of the runbook; a gate and a late asset have one each.
_SECTIONS = {
    Kind.LATE: "Late: {}",
    Kind.GATE: "Gate: {}",
    Kind.FAILED: "Run failed",
    Kind.STOCK: "Stock feed halted",
    Kind.CATALOGUE: "Catalogue unreadable",
}


def section(kind: Kind, subject: str) -> str:
    """The heading in the runbook under which an operator finds what to do."""
    return _SECTIONS[kind].format(subject.rpartition("/")[2])


def anchor(heading: str) -> str:
    """The link to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong now. ``facts`` are in the order in which they are read; ``run`` is an id.

    ``began`` is when, in seconds since 1970, where the records say so; else it began when it was first seen.
    ``cause`` is the same while the trouble has the same cause; no figure of its reason is in it.
    """

    kind: Kind
    subject: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    began: float | None = None
    cause: str = ""

    @property
    def key(self) -> str:
        """By which it is the same trouble at the next look."""
        return f"{self.kind}/{self.subject}"


@dataclass(frozen=True)
class Alert:
    """One message. ``since`` and ``at`` are seconds since 1970: when the trouble began, and now; of
    ``changed``, when it got its present cause. ``runbook_url`` is where people read ``RUNBOOK``.
    """

    event: Literal["begun", "changed", "over"]
    trouble: Trouble
    since: float
    at: float
    environment: str
    dagster_url: str | None = None
    runbook_url: str | None = None

    @classmethod
    def changed(cls, trouble: Trouble, since: float, at: float, *where: Any) -> "Alert":
        """That it has another cause than was told."""
        return cls(
            "changed", replace(trouble, title=f"{trouble.title}, now for another reason"), since, at, *where
        )

    @classmethod
    def over(cls, key: str, run: str | None, since: float, at: float, *where: Any) -> "Alert":
        """That the trouble of that ``key`` is over; ``run`` ended it."""
        name, _, subject = key.partition("/")
        kind = Kind(name)
        facts = {"lasted": duration(at - since)}
        return cls("over", Trouble(kind, subject, _OVER[kind].format(subject), facts, run), since, at, *where)

    @property
    def id(self) -> str:
        """Of this message: by it a receiver knows one that it is sent again."""
        which = f"@{self.at:.3f}" if self.event == "changed" else ""
        return f"{self.trouble.key}@{self.since:.3f}/{self.event}{which}"

    @property
    def run_url(self) -> str | None:
        run = self.trouble.run
        return None if run is None or self.dagster_url is None else f"{self.dagster_url}/runs/{run}"

    @property
    def runbook(self) -> str:
        """What to do: a link where it is known where the page is read, else the page's name."""
        return f"{self.runbook_url or RUNBOOK}#{anchor(section(self.trouble.kind, self.trouble.subject))}"

    def without(self, redaction: Redaction) -> "Alert":
        """The same, with nothing in it that must not leave: reasons may be in a library's words."""
        facts = {name: redaction(text) for name, text in self.trouble.facts.items()}
        return replace(self, trouble=replace(self.trouble, facts=facts))

    @property
    def _facts(self) -> dict[str, str]:
        return {name: text[:_LONGEST_FACT] for name, text in self.trouble.facts.items()}

    def text(self) -> str:
        """As a line of a log."""
        facts = [f"{name.replace('_', ' ')}: {text}" for name, text in self._facts.items()]
        run = [f"run: {self.run_url or self.trouble.run}"] if self.trouble.run else []
        said = "; ".join([self.trouble.title, *facts, *run, f"see {self.runbook}"])
        return f"[{self.environment}] {said}"

    def json(self) -> dict[str, Any]:
        """As a webhook gets it; the shape is described in the runbook."""
        return {
            "version": VERSION,
            "id": self.id,
            "event": self.event,
            "kind": str(self.trouble.kind),
            "subject": self.trouble.subject,
            "environment": self.environment,
            "title": self.trouble.title,
            "facts": self._facts,
            "since": _iso(self.since),
            "at": _iso(self.at),
            "run_id": self.trouble.run,
            "run_url": self.run_url,
            "runbook": self.runbook,
        }

    def slack(self) -> dict[str, Any]:
        """As Slack's incoming webhook wants it: ``text`` for the notification, ``blocks`` to read."""
        sign = ":white_check_mark:" if self.event == "over" else ":rotating_light:"
        title = f"[{self.environment}] {_escaped(self.trouble.title)}"
        facts = [f"*{name.replace('_', ' ')}*  {_escaped(text)}" for name, text in self._facts.items()]
        run = self.trouble.run
        links = [f"<{self.run_url}|run {run[:8]}>" if self.run_url else f"run {run}"] if run else []
        links.append(f"<{self.runbook}|what to do>" if self.runbook_url else self.runbook)
        return {
            "text": title,
            "blocks": [
                _block("section", text=_mrkdwn("\n".join([f"{sign} *{title}*", *facts]))),
                _block("context", elements=[_mrkdwn("  ·  ".join(links))]),
            ],
        }


def duration(seconds: float) -> str:
    """``31 h 5 min``; ``40 s``."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _escaped(text: str) -> str:
    """Slack reads these three as its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text[:_LONGEST_BLOCK]}


def _block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}
