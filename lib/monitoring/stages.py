"""The stages in their order, and the statuses that couple them."""

from typing import Literal, get_args

Stage = Literal["discovery", "preparation", "generation", "posting"]
CommentStatus = Literal["discovered", "prepared", "generated", "posted", "failed"]

STAGES: tuple[Stage, ...] = get_args(Stage)


def after(stage: Stage) -> tuple[Stage, ...]:
    """The stages that come after it, first the one that takes what it makes."""
    return STAGES[STAGES.index(stage) + 1 :]


def upstream(stage: Stage) -> tuple[Stage, ...]:
    """The stages before it that work on items, so that more may come while they run.

    Not discovery: most of its looks find nothing, and what one finds is there at once, in its end.
    """
    return STAGES[1 : STAGES.index(stage)]


# The flow, and the deployment of the same name, that runs each stage.
FLOWS: dict[Stage, str] = {
    "discovery": "discover_articles",
    "preparation": "prepare_content_of_articles",
    "generation": "generate_comments_for_articles",
    "posting": "post_comments_for_articles",
}

# What each stage takes; discovery takes what the site's index shows.
TAKES: dict[Stage, CommentStatus] = {"preparation": "discovered", "generation": "prepared", "posting": "generated"}
