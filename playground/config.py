from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LlmKind = Literal["real", "scripted"]


@dataclass(frozen=True)
class Config:
    """What one playground serves. Times are in seconds."""

    port: int = 0
    """0 takes a free port."""
    data_dir: Path | None = None
    """None keeps everything in memory."""
    llm: LlmKind = "scripted"
    articles: int = 6
    """Articles of each class that are there from the start."""
    new_article_every: float = 45.0
    """A further article of a class in turn; 0 for none."""
    session_seconds: float = 24 * 3600.0
    seed: int = 1
    llm_latency: float = 0.0
    """How long the scripted model takes to answer."""
    llm_max_tokens: int = 160
    """The most that the real model writes, whatever is asked for."""
    backslash_redirects: bool = True
    """Redirects carry the host, the port and a backslash, as the original's do."""
