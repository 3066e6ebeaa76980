"""A visit to the desk: who acts, what they see, and what it takes to do it."""

from dataclasses import dataclass
from uuid import UUID

from lib import vault
from lib.database import Database
from lib.monitoring.lifecycle import Desk
from lib.settings import Settings
from lib.vault import Vault


@dataclass(frozen=True)
class Visit:
    """What every function of the desk works with.

    `user_id`: who acts, and owns what is new. `sees`: whose things are seen and changed; None is everybody's, for an
    administrator. `via`: how the person came, for the audit log.
    """

    settings: Settings
    database: Database
    user_id: UUID
    sees: UUID | None
    via: str = "cli"

    @property
    def vault(self) -> Vault:
        """Raise Invalid when there is no encryption key."""
        return vault.open_vault(self.settings)

    def desk(self) -> Desk:
        """Raise Invalid when there is no encryption key."""
        return Desk(self.settings, self.database, self.vault, self.sees)

    def desk_without_secrets(self) -> Desk:
        """For what must work even when the keys are lost: its vault opens nothing."""
        return Desk(self.settings, self.database, Vault([vault.new_key()]), self.sees)
