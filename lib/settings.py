"""What can be set, all from the environment (`PRESSROOM_…`) or a `.env` file, with its bounds and defaults."""

from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, SecretStr, field_validator
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

    # The console
    console_host: str = Field("127.0.0.1", min_length=1, max_length=255)
    console_tls_certificate: Path | None = Field(None, description="a PEM file, with its chain")
    console_tls_key: Path | None = None
    console_trusted_proxies: str = Field("", description="addresses or networks whose X-Forwarded-… counts")
    console_allowed_hosts: str = Field("", description="names by which browsers reach the console, comma separated")
    console_session_hours: float = Field(12, gt=0, description="a session ends when nothing happens for so long")
    console_longest_session_hours: float = Field(168, gt=0, description="a session ends after that in any case")
    metrics_public: bool = Field(default=False, description="let anyone who reaches the port read /metrics")

    # Prefect
    work_pool: str = "pressroom"
    stage_interval: float = Field(180, ge=5, description="between two ticks of a stage")
    item_task_runs: bool = True
    tag_limit_processes: int = Field(50, ge=0, description="up to so many running processes have task runs")

    # Database
    pool_size: int = Field(2, ge=1, le=50, description="connections of a flow run; a worker has four times as many")

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
    discovery_concurrency: int = Field(5, ge=1, description="looks at a site at once, per worker process")
    preparation_concurrency: int = Field(5, ge=1, description="article pages at once, per process")
    generation_concurrency: int = Field(5, ge=1, description="model calls at once of a provider that sets no own limit")
    post_interval: float = Field(30, ge=0, description="between two posts of one login, across workers")
    max_attempts: int = Field(3, ge=1)
    retry_base: float = Field(30, gt=0)
    retry_max: float = Field(1200, gt=0)
    refused_wait: float = Field(300, gt=0, description="before a refused key or password is used again")
    unknown_wait: float = Field(60, gt=0, description="before a post without an answer is looked for and repeated")
    quiet_min: float = Field(30, gt=0, description="from one look of a login to the next, at least")
    quiet_max: float = Field(600, gt=0)
    llm_timeout: float = Field(60, gt=0)
    llm_max_tokens: int = Field(800, ge=1)
    comment_min_chars: int = Field(50, ge=1)
    comment_max_chars: int = Field(5000, ge=1)
    raw_html_prompt_chars: int = Field(5000, ge=0)
    budget_timezone: str = Field("Europe/Zurich", description="whose midnight begins a new day of every budget")
    fallback_pause: float = Field(300, gt=0, description="before a provider that was down is asked again")

    # Processes
    max_processes: int = Field(10, ge=1, description="processes that one user may have running at once")

    # Alerts
    alert_webhook_url: SecretStr | None = Field(None, description="where alerts go; without it they are only recorded")
    alert_webhook_secret: SecretStr | None = Field(None, description="whsec_…, comma separated; each one signs")
    alert_allow_private: bool = Field(default=False, description="let the webhook be on this machine or network")
    alert_quiet: float = Field(3600, gt=0, description="a failing flow is a new cause after so long without a failure")
    alert_retry_base: float = Field(30, gt=0)
    alert_retry_max: float = Field(14_400, gt=0)
    alert_max_attempts: int = Field(15, ge=1, description="with the waits above: about a day")
    alert_relay_url: str | None = Field(None, description="where Prefect's server reaches the console")
    alert_relay_secret: SecretStr | None = Field(None, description="else a file in the data directory")

    # Task monitoring
    task_recording: bool = Field(default=True, description="every unit of work leaves a record")

    # Housekeeping
    # The name that people know, with or without our prefix
    task_log_retention_days: int = Field(
        30,
        ge=1,
        le=3650,
        validation_alias=AliasChoices("PRESSROOM_TASK_LOG_RETENTION_DAYS", "task_log_retention_days"),
        description="whole days of task records that are kept",
    )
    task_log_export_dir: Path | None = Field(None, description="where task records go before they are dropped")
    keep_sessions_days: int = Field(7, ge=0)
    keep_comments_days: int = Field(365, ge=1)
    keep_alerts_days: int = Field(90, ge=2, description="after they are over")

    @field_validator("budget_timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError) as error:
            raise ValueError(f"there is no time zone “{name}”; write it as Europe/Zurich") from error
        return name

    @property
    def console_address(self) -> str:
        """Where the console is reached from this machine."""
        scheme = "http" if self.console_tls_certificate is None else "https"
        host = "127.0.0.1" if self.console_host in ("0.0.0.0", "::", "localhost") else self.console_host  # noqa: S104
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.console_port}"


@lru_cache
def settings() -> Settings:
    """Read once a process; tests call `settings.cache_clear()`."""
    return Settings()
