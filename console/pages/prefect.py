"""Where people find Prefect's own pages."""

import os
from uuid import UUID

API = "PREFECT_API_URL"
UI = "PREFECT_UI_URL"


def page() -> str | None:
    """The first of them; None without a server. Where browsers do not reach the API's address, the UI's is set."""
    ui, api = os.environ.get(UI), os.environ.get(API)
    if ui:
        return ui.rstrip("/")
    return api.rstrip("/").removesuffix("/api") if api else None


def page_of(flow_run_id: str | UUID | None) -> str | None:
    """The page of one run."""
    found = page()
    return f"{found}/runs/flow-run/{flow_run_id}" if found and flow_run_id else None
