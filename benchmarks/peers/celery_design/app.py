"""The Celery application: a queue for each stage, and a beat that looks which stage of which process is to run."""

import os

from celery import Celery
from kombu import Queue

from lib import llm

STAGES = ("discovery", "preparation", "generation", "posting")
BEAT_SECONDS = float(os.environ.get("PEER_BEAT_SECONDS", "180"))

app = Celery("celery_design", include=["celery_design.stages", "celery_design.scheduler"])
app.conf.update(
    broker_url=os.environ["PEER_REDIS_URL"],
    result_backend=os.environ["PEER_REDIS_URL"],
    broker_connection_retry_on_startup=True,
    task_track_started=True,
    task_queues=[Queue(name, routing_key=name) for name in (*STAGES, "scheduler")],
    task_default_queue="scheduler",
    task_routes={
        "discover_articles": {"queue": "discovery"},
        "prepare_content_of_articles": {"queue": "preparation"},
        "generate_comments_for_articles": {"queue": "generation"},
        "post_comments_for_articles": {"queue": "posting"},
        "trigger_monitoring_pipeline": {"queue": "scheduler"},
    },
    beat_schedule={"trigger-monitoring-pipeline": {"task": "trigger_monitoring_pipeline", "schedule": BEAT_SECONDS}},
)
llm.load()  # once, before the pool forks
