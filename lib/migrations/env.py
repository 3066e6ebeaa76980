"""Alembic's entry: called with an open connection by `lib.migrate`, never from a configuration file."""

from alembic import context

import lib.alerts.models
import lib.monitoring.models
import lib.monitoring.records
import lib.people.models
import lib.taskwatch.models  # noqa: F401 - registers the tables
from lib.work import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
