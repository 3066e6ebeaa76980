"""The contenders, in the order of the report."""

from benchmarks.contenders import Contender
from benchmarks.peers.celery_contender import CeleryDesign
from benchmarks.peers.ideal import Ideal
from benchmarks.peers.pressroom import Pressroom
from benchmarks.peers.taskiq_contender import TaskiqJobs

WITH = Pressroom("Pressroom", item_runs=True)
WITHOUT = Pressroom("Pressroom, item runs off", item_runs=False)
CONTENDERS: tuple[Contender, ...] = (WITH, WITHOUT, CeleryDesign(), TaskiqJobs(), Ideal())
