"""Every query about people. Each function takes an open session and does no other I/O."""

from lib.people.store.trail import audit as audit
