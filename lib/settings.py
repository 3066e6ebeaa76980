"""What can be set, all from the environment (`PRESSROOM_…`) or a `.env` file, with its bounds and defaults."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    return Path.home() / ".local" / "share" / "pressroom"


class Settings(BaseSettings):
    """Every setting of Pressroom. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="PRESSROOM_", env_file=".env", extra="ignore", frozen=True)

    # Where things are
    data_dir: Path = Field(default_factory=_default_data_dir)
    database_url: str | None = None
    prefect_port: int = Field(4200, ge=1, le=65535)
    console_port: int = Field(8400, ge=1, le=65535)
    playground_port: int = Field(8765, ge=1, le=65535)

    # Secrets: the first key encrypts, every key decrypts
    encryption_keys: SecretStr | None = None

    # Prefect
    work_pool: str = "pressroom"
    stage_interval: float = Field(180, ge=5, description="between two ticks of a stage")
    item_task_runs: bool = True
    tag_limit_processes: int = Field(50, ge=0, description="up to so many processes a tick carry their own tag")

    # Database
    pool_size: int = Field(2, ge=1, le=50, description="connections a flow run holds at most; more only queue up")

    # Leases
    stage_lease: float = Field(60, ge=5)
    item_lease: float = Field(90, ge=5)

    # The site
    allow_private_addresses: bool = Field(default=False, description="let base URLs point to this machine or network")
    site_timeout: float = Field(30, gt=0)
    site_max_bytes: int = Field(5_000_000, ge=10_000)
    site_requests_per_second: float = Field(2, gt=0, description="per site and worker process")
    site_burst: int = Field(5, ge=1)
    session_hours: float = Field(24, gt=0)

    # Stages
    article_limit: int = Field(20, ge=1, description="articles a process takes from one look at an index")
    preparation_concurrency: int = Field(5, ge=1, description="article pages at once, per process")
    generation_concurrency: int = Field(5, ge=1, description="model calls at once of a provider that sets no own limit")
    post_interval: float = Field(30, ge=0, description="between two posts of one login, across workers")
    max_attempts: int = Field(3, ge=1)
    retry_base: float = Field(30, gt=0)
    retry_max: float = Field(1200, gt=0)
    refused_wait: float = Field(300, gt=0, description="before a refused key or password is used again")
    unknown_wait: float = Field(60, gt=0, description="before a post without an answer is looked for and repeated")
    quiet_min: float = Field(30, gt=0, description="first wait of a login where nothing is new")
    quiet_max: float = Field(600, gt=0)
    llm_timeout: float = Field(60, gt=0)
    llm_max_tokens: int = Field(800, ge=1)
    comment_min_chars: int = Field(50, ge=1)
    comment_max_chars: int = Field(5000, ge=1)
    raw_html_prompt_chars: int = Field(5000, ge=0)

    # Processes
    max_processes: int = Field(10, ge=1, description="processes that one user may have running at once")

    # Housekeeping
    keep_sessions_days: int = Field(7, ge=0)
    keep_comments_days: int = Field(365, ge=1)


@lru_cache
def settings() -> Settings:
    """Read once a process; tests call `settings.cache_clear()`."""
    return Settings()
