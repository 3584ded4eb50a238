"""What an answer shows once. By itself, so that whoever only asks for it loads nothing of an index."""

from typing import Literal, get_args

# A product; one design in its colours; the products of one picture.
Collapse = Literal["product", "variant", "picture"]
COLLAPSES: tuple[Collapse, ...] = get_args(Collapse)

# Named beside a group's best product: the members of a group hardly differ.
MAX_ALSO = 8
