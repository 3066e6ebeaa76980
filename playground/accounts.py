"""The demo accounts and the demo key. They open nothing but the playground."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["pupil", "teacher"]

LLM_KEY = "playground-key"
LLM_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Account:
    username: str
    role: Role = "pupil"

    @property
    def password(self) -> str:
        return f"demo-{self.username}"


TEACHER = Account("lehrerin", "teacher")
BOTS = tuple(Account("ki-bot" if n == 1 else f"ki-bot-{n}") for n in range(1, 13))
# They wrote the articles of these first names, so their tab "Meine" is not empty.
PUPILS = (Account("mila"), Account("jonas"))

ACCOUNTS = {account.username: account for account in (TEACHER, *BOTS, *PUPILS)}
