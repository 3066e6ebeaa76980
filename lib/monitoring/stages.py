"""The stages in their order, and the statuses that couple them."""

from typing import Literal, get_args

Stage = Literal["discovery", "preparation", "generation", "posting"]
CommentStatus = Literal["discovered", "prepared", "generated", "posted", "failed"]

STAGES: tuple[Stage, ...] = get_args(Stage)

# What each stage takes; discovery takes what the site's index shows.
TAKES: dict[Stage, CommentStatus] = {"preparation": "discovered", "generation": "prepared", "posting": "generated"}
