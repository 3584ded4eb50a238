"""What a filter keeps of a generation, and how much that is: counted once, however many searches ask."""

import numpy as np
from numpy.typing import NDArray

from serving.index.collapse import Collapse
from serving.index.loaded import Generation


class Kept:
    """``allowed`` bool (stored products,) of what is there and fits; ``products`` are as many as it keeps."""

    def __init__(self, generation: Generation, allowed: NDArray[np.bool_]) -> None:
        self.allowed = allowed
        self.products = int(np.count_nonzero(allowed))
        self._groupings = generation.groupings
        self._groups: dict[Collapse, int] = {}

    def groups(self, collapse: Collapse) -> int:
        """How many groups have a product that is kept."""
        found = self._groups.get(collapse)
        if found is None:
            grouping = self._groupings[collapse]
            found = self.products if grouping.alone else grouping.kept(self.allowed)
            self._groups[collapse] = found
        return found
