"""The design of the document: Celery and Redis, a task for each stage of a process, a beat that spawns them again.

What the document asks for, and this does: a queue for each of the four stages with a worker of its own; a task reads
what waits for its stage in one monitoring process and does one item after the other, in sessions as short as its reads
and writes; a beat spawns each task again, every 180 s there, if the last one of its kind is done; a failure marks its
item and leaves the others alone; posting is tried again by Celery itself, three times; and since the site gives no id
for what was posted, one is made up and nothing is read back. It has one process a queue and spawns all four when
somebody starts a monitoring process, too; here the pools are larger and the beat shorter, which is more than that.

A package of its own environment: it is imported with `benchmarks/peers` in the path, without the harness.
"""
