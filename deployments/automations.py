"""The automations in `automations/`: which events become alerts. Prefect calls the console's relay with each.

What is in a file is applied as it stands there; whether it is enabled is people's business.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import BaseModel, ConfigDict, SecretStr

from lib.alerts import relay
from lib.alerts.delivery import endpoint
from lib.settings import Settings

FOLDER = Path(__file__).parent / "automations"
# By this tag we know ours: what bears it and is in no file any more is deleted.
OURS = "pressroom-alerts"
BLOCK = "pressroom-alerts"
INTERVALS = 5
_PAGE = 200

Outcome = Literal["created", "updated", "unchanged", "deleted"]
Applied = tuple[str, Outcome]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    trigger: dict[str, Any]
    payload: str
    """A template of Prefect's, which renders a report to the relay."""


@dataclass(frozen=True)
class Definition:
    """One file. Only where it is applied is it known which webhook block it calls."""

    name: str
    description: str
    trigger: EventTrigger
    payload: str

    def automation(self, block_id: UUID, settings: Settings) -> AutomationCore:
        trigger = self.trigger
        if trigger.posture == Posture.Proactive:
            # A stage of a longer interval is silent only after several of them.
            within = max(trigger.within, timedelta(seconds=INTERVALS * settings.stage_interval))
            trigger = trigger.model_copy(update={"within": within})
        return AutomationCore(
            name=self.name,
            description=self.description,
            enabled=True,
            tags=[OURS],
            trigger=trigger,
            actions=[CallWebhook(block_document_id=block_id, payload=self.payload)],
        )


def load(folder: Path = FOLDER) -> list[Definition]:
    """Raise ValidationError for a key that is unknown, ValueError for two of one name."""
    found = [_read(file) for file in sorted(folder.glob("*.yaml"))]
    if len({each.name for each in found}) < len(found):
        raise ValueError(f"two automations in {folder} have the same name")
    return found


def _read(file: Path) -> Definition:
    read = _File.model_validate(yaml.safe_load(file.read_text()))
    unknown = read.trigger.keys() - EventTrigger.model_fields.keys()
    if unknown:  # Prefect itself passes over them
        raise ValueError(f"{file.name}: a trigger has no {', '.join(sorted(unknown))}")
    return Definition(read.name, read.description, EventTrigger.model_validate(read.trigger), read.payload)


async def apply(client: PrefectClient, settings: Settings, folder: Path = FOLDER) -> list[Applied]:
    """Create, update and delete until the server has what the files say.

    Raises Invalid when the alerts' settings cannot be used.
    """
    endpoint(settings)  # raises now rather than when the first alert is due
    block_id, block = await _ensure_block(settings)
    there = {each.name: each for each in await _ours(client)}
    applied: list[Applied] = [("webhook block", block)]
    for definition in load(folder):
        wanted = definition.automation(block_id, settings)
        applied.append((definition.name, await _ensure(client, wanted, there.pop(definition.name, None))))
    for gone in there.values():
        await client.delete_automation(gone.id)
        applied.append((gone.name, "deleted"))
    return applied


async def _ours(client: PrefectClient) -> list[Automation]:
    found: list[Automation] = []
    while True:
        page = await client.read_automations(limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return [each for each in found if OURS in each.tags]


async def _ensure(client: PrefectClient, wanted: AutomationCore, found: Automation | None) -> Outcome:
    if found is None:
        await client.create_automation(wanted)
        return "created"
    wanted = wanted.model_copy(update={"enabled": found.enabled})
    if _said(wanted) == _said(found):
        return "unchanged"
    await client.update_automation(found.id, wanted)
    return "updated"


def _said(automation: AutomationCore) -> dict[str, Any]:
    # As Python sees it: a set of events is the same in any order.
    return automation.model_dump(include=set(AutomationCore.model_fields))


async def _ensure_block(settings: Settings) -> tuple[UUID, Outcome]:
    """The block that holds the relay's address and secret; both are stored as secrets."""
    url, header = relay.relay_url(settings), _headers(relay.relay_secret(settings))
    outcome: Outcome = "updated"
    try:
        found = cast("Webhook", await Webhook.aload(BLOCK))
    except ValueError:  # there is none
        outcome = "created"
    else:
        if found.url.get_secret_value() == url and found.headers.get_secret_value() == header:
            return _id_of(found), "unchanged"
    block = Webhook(method="POST", url=SecretStr(url), headers=SecretDict(header), allow_private_urls=True)
    await block.asave(BLOCK, overwrite=True)
    return _id_of(block), outcome


def _headers(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


def _id_of(block: Webhook) -> UUID:
    found = block._block_document_id  # noqa: SLF001 - Prefect has no public name for it
    if found is None:
        raise RuntimeError(f"the block {BLOCK} has no id")
    return found
