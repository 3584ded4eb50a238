"""How to search: compare what a filter keeps, or ask the graph, and how far. Numbers alone, no index.

A graph under a tight filter finds too little: nearly everything it meets is not wanted. So what the filter
keeps is counted first. Little enough, or cheap enough, is compared one by one ("exact"). Otherwise the graph
is asked as if there were no filter: of the rows around the query all may fit (its own category) or none
(another one), whatever the filter keeps of the whole. Did enough fit, that is the answer; did they not, the
part that did says how far the graph would have to look, and the cheaper of that and "exact" comes next.
"""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

from serving.index import cost

# Rows that are compared one by one without a further thought, whatever the dimension.
EXACT_ROWS = 500
# Rows that the graph is asked for under a filter without a first look, at most; and rows of such a look.
_MANY, _LOOK = 64, 24
# ``Figures.beams`` were measured for ten rows, and speak of the tenth: no fewer are asked for. Each row more
# wants so much more of a beam: the farther a row, the likelier the graph missed one like it.
TENTH, _A_ROW = 10, 1.25
# A look at the graph that may be in vain is taken where it costs at most this part of "exact".
_WORTH_A_LOOK = 0.5
# Beyond what the plan expects to need: a group is often found by several of its rows.
_SLACK = 1.5
# Where each row is a group, it is only chance how many fit: so many standard deviations fewer than expected.
_DEVIATIONS = 2
# A list that turned out too short is made so many times as long.
_LONGER = 4


class Plan(NamedTuple):
    """Compare what is kept, or ask the graph with a ``beam``; for the best ``fetch`` rows a vector."""

    kind: Literal["exact", "graph"]
    fetch: int
    beam: int = 0


class Scope(NamedTuple):
    """What there is to search: ``kept_rows`` of ``rows`` are wanted, about, with ``groups`` of them to find.

    ``least`` is the beam that finds ten rows of a query that is near.
    """

    groups: int
    kept_rows: int
    rows: int
    rows_per_group: float
    dim: int
    least: int

    def rows_for(self, share: float = 1.0) -> int:
        """In how many rows all ``groups`` will be met, where ``share`` of the rows fit."""
        rows = _SLACK * self.groups * self.rows_per_group
        if self.rows_per_group == 1:
            rows = min(rows, self.groups + _DEVIATIONS * math.sqrt(self.groups * (1 - share)))
        return math.ceil(rows / share)

    def exact(self) -> Plan:
        return Plan("exact", self.rows_for())

    def cheaper(self, fetch: int, worth: float = 1, beam: int = 0) -> Plan:
        """The graph for ``fetch`` rows, where it costs less than ``worth`` of comparing all that is kept.

        With ``beam``, or what so many rows of a query that is near want, whichever is more.
        """
        fetch = max(fetch, TENTH)
        beam = max(beam, self.least + math.ceil(_A_ROW * (fetch - TENTH)))
        exact_us = cost.exact_us(self.kept_rows, self.rows, self.dim)
        if fetch < self.rows and cost.graph_us(beam, self.rows, self.dim) < worth * exact_us:
            return Plan("graph", fetch, beam)
        return self.exact()

    def farther(self, plan: Plan, share: float, beam: int) -> Plan:
        """After ``plan`` gave too few; of the rows that the graph gave, ``share`` fitted.

        ``beam`` is for queries as far off as this one.
        """
        if plan.kind == "exact":
            return plan._replace(fetch=_LONGER * plan.fetch)  # ends: all kept rows hold all kept groups
        # What was met is a few rows, perhaps an exception: the whole counts as much.
        share = (share + self.kept_rows / self.rows) / 2
        return self.cheaper(max(self.rows_for(share), 2 * plan.fetch), beam=beam)


@lru_cache(4096)
def plan_search(scope: Scope) -> Plan:
    """How to begin: exact where that is small or cheap, else the graph as if everything fitted."""
    if scope.kept_rows <= EXACT_ROWS:
        return scope.exact()
    if scope.kept_rows == scope.rows:
        return scope.cheaper(scope.rows_for())
    # As many as it takes where what is kept lies all about; were that many, a look tells whether it does.
    needed = scope.rows_for(scope.kept_rows / scope.rows)
    return scope.cheaper(max(scope.rows_for(), needed if needed <= _MANY else _LOOK), _WORTH_A_LOOK)
