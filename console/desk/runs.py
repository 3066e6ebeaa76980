"""Asking Prefect for a run of a stage or another deployment, without importing Prefect."""

import os
from collections.abc import Mapping
from typing import Any

import httpx

from console.desk import trail
from console.desk.visit import Visit
from lib.database import forbid_session
from lib.errors import Conflict, Invalid, Transient
from lib.monitoring.stages import FLOWS, Stage
from lib.monitoring.store import processes

ADDRESS = "PREFECT_API_URL"
_SECONDS = 10.0
_NEXT = "start `pressroom up`, or set PREFECT_API_URL to a server that runs"


async def run_stage(visit: Visit, process: str | None, stage: Stage) -> str:
    """Ask for a run of a stage now, for one process or every one that runs; return its id.

    Raise Conflict for a process that does not run, and what `start_deployment` raises.
    """
    process_id = None
    if process is not None:
        async with visit.database.session() as session:
            row = await processes.by_name(session, visit.sees, process)
        if row.status != "running":
            raise Conflict(f"The process “{row.name}” is {row.status}; start it before a stage of it can run")
        process_id = row.id
    run = await start_deployment(FLOWS[stage], {"process_id": None if process_id is None else str(process_id)})
    async with visit.database.session() as session:
        await trail.note(session, visit, "process.run", process_id, {"stage": stage, "flow_run": run})
    return run


async def start_deployment(name: str, parameters: Mapping[str, Any]) -> str:
    """Ask for a run of the deployment `name` of the flow of the same name, and do not wait for it; return its id.

    Raise Invalid when no server is set, or it does not take it; Transient when it does not answer.
    """
    url = os.environ.get(ADDRESS)
    if not url:
        raise Invalid(f"There is no Prefect server to run it; {_NEXT}")
    forbid_session("a call of Prefect's API")
    try:
        async with _client(url) as client:
            found = await client.get(f"deployments/name/{name}/{name}")
            _check(found, f"deployment {name}")
            body = {"parameters": dict(parameters), "state": {"type": "SCHEDULED"}}
            made = await client.post(f"deployments/{found.json()['id']}/create_flow_run", json=body)
            _check(made, f"run of {name}")
            return str(made.json()["id"])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Transient(f"Prefect cannot be reached ({type(error).__name__}); {_NEXT}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise Transient(f"What answers as Prefect is not Prefect; {_NEXT}") from error


def _client(url: str) -> httpx.AsyncClient:
    """With the credentials that Prefect's own programs take from the environment."""
    auth, key = os.environ.get("PREFECT_API_AUTH_STRING"), os.environ.get("PREFECT_API_KEY")
    user, _, password = (auth or "").partition(":")
    return httpx.AsyncClient(
        base_url=url.rstrip("/") + "/",
        timeout=_SECONDS,
        trust_env=False,
        auth=(user, password) if auth else None,
        headers={"Authorization": f"Bearer {key}"} if key and not auth else None,
    )


def _check(response: httpx.Response, what: str) -> None:
    """Raise for an answer that is none: with what to do about it where somebody can."""
    if response.status_code == httpx.codes.NOT_FOUND:
        raise Invalid(f"Prefect knows no {what}; apply the deployments with `pressroom deploy`")
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Invalid("Prefect does not accept our credentials; set PREFECT_API_AUTH_STRING as its server has it")
    if response.is_error:
        raise Transient(f"Prefect answered HTTP {response.status_code} for the {what}; try again")
