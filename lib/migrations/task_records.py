"""The functions and triggers of migration 0006, as they were then: they count each task record and tell of it."""

NOBODY = "'00000000-0000-0000-0000-000000000000'::uuid"

# A day's partition is made beside the table and attached: nobody who reads or writes is held up.
PARTITIONS = r"""
CREATE FUNCTION ensure_task_partitions(first_day date, last_day date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    one date;
    part text;
    made integer := 0;
BEGIN
    FOR one IN SELECT d::date FROM generate_series(first_day::timestamp, last_day::timestamp, '1 day') d LOOP
        part := 'task_execution_logs_' || to_char(one, 'YYYYMMDD');
        CONTINUE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(part)
                              AND inhparent = 'task_execution_logs'::regclass);
        PERFORM pg_advisory_xact_lock(7310227);
        CONTINUE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(part)
                              AND inhparent = 'task_execution_logs'::regclass);
        -- It may be there, detached: to be dropped, and now needed again.
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I (LIKE task_execution_logs INCLUDING ALL)', part);
        EXECUTE format('ALTER TABLE task_execution_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, one || ' 00:00:00+00', (one + 1) || ' 00:00:00+00');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$
"""

_HALF_HOUR = (
    "chr(97 + extract(hour FROM {0} AT TIME ZONE 'UTC')::int) || "
    "chr(97 + extract(minute FROM {0} AT TIME ZONE 'UTC')::int / 30)"
)
# What a search finds: the words of the name, the parameters and the error, cut at every sign, and what the record is.
# Two letters before each say in which half hour it was, so that a search can go from the newest half hour backwards.
# The words of what failed are there a second time behind a 9: they are few, and mostly they are what is looked for.
# Not inlined, and dear: a plan that computes it for every record is never the better one. It calls nothing of ours:
# while an index is built or analysed, only the system's own functions are found.
WORDS = r"""
CREATE FUNCTION task_words(created_at timestamptz, task_name text, status text, process_id uuid, owner_id uuid,
    run_name text, parameters jsonb, error_type text, error_message text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 10000 AS $$
DECLARE
    half_hour text := {half_hour};
    said text := replace(
        left(concat_ws(' ', run_name, error_type, error_message, parameters::text), 4000), '\n', ' ');
BEGIN
    RETURN to_tsvector('pg_catalog.simple'::regconfig, regexp_replace(
            concat(' 0t', translate(task_name, '_-. ', ''), ' 0s', status,
                ' 0p', translate(process_id::text, '-', ''), ' 0o', translate(owner_id::text, '-', ''), ' ', said),
            '[^[:alnum:]]+', ' ' || half_hour, 'g')
        || CASE WHEN status IN ('failed', 'abandoned')
            THEN regexp_replace(' ' || said, '[^[:alnum:]]+', ' ' || half_hour || '9', 'g') ELSE '' END);
END $$
""".replace("{half_hour}", _HALF_HOUR.format("created_at"))
HALF_HOUR = f"""
CREATE FUNCTION task_half_hour(at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN {_HALF_HOUR.format("at")}
"""

# Bins of durations: each reaches 8 % further than the one before it, so their middles are 3.9 % off at most.
BIN = r"""
CREATE FUNCTION task_bin(milliseconds double precision) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ceil(ln(least(greatest(milliseconds, 0.01), 1e10)) / ln(1.08))::smallint
"""

# A record moves to a higher rank only. Who was given up may still come back, and then knows better.
RANK = """
CREATE FUNCTION task_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE status WHEN 'pending' THEN 0 WHEN 'running' THEN 1 WHEN 'abandoned' THEN 2 ELSE 3 END
"""

# Taken before a statement touches a row: writers take turns, so that counts never deadlock, and events are in the
# order of commits.
TURNS = """
CREATE FUNCTION task_records_in_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310226);
    RETURN NULL;
END $$
"""

_INSERTED = "SELECT n.*, NULL::text AS was, NULL::timestamptz AS was_at, NULL::text AS was_print FROM news n"
_UPDATED = (
    "SELECT n.*, o.status AS was, coalesce(o.completed_at, o.created_at) AS was_at, o.fingerprint AS was_print "
    "FROM news n JOIN olds o ON o.id = n.id AND o.created_at = n.created_at WHERE o.status <> n.status"
)

_COUNT = """
    INSERT INTO task_{unit}s AS t (at, task_name, owner_id, success, failed, abandoned, duration_ms)
    SELECT date_trunc('{unit}', at, 'UTC'), task_name, owner, sum(n * (status = 'success')::int),
        sum(n * (status = 'failed')::int), sum(n * (status = 'abandoned')::int),
        sum(duration_ms * (status = 'success')::int)
    FROM (
        SELECT task_name, coalesce(owner_id, {nobody}) AS owner, status, coalesce(completed_at, created_at) AS at,
            coalesce(duration_ms, 0) AS duration_ms, 1 AS n
        FROM ({changes}) c WHERE status IN ('success', 'failed', 'abandoned')
        UNION ALL
        SELECT task_name, coalesce(owner_id, {nobody}), was, was_at, 0, -1 FROM ({changes}) c WHERE was = 'abandoned'
    ) e
    GROUP BY 1, 2, 3
    ON CONFLICT (at, task_name, owner_id) DO UPDATE SET success = t.success + excluded.success,
        failed = t.failed + excluded.failed, abandoned = t.abandoned + excluded.abandoned,
        duration_ms = t.duration_ms + excluded.duration_ms;
"""

_BODY = """
DECLARE
    told integer;
    newest bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM ({changes}) c) THEN
        RETURN NULL;
    END IF;
    INSERT INTO task_names SELECT DISTINCT task_name FROM news ON CONFLICT DO NOTHING;
{minutes}{hours}
    INSERT INTO task_minute_bins AS t (at, task_name, owner_id, bin, count)
    SELECT date_trunc('minute', coalesce(completed_at, created_at), 'UTC'), task_name, coalesce(owner_id, {nobody}),
        task_bin(duration_ms), count(*)
    FROM ({changes}) c WHERE status = 'success' AND duration_ms IS NOT NULL
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (at, task_name, owner_id, bin) DO UPDATE SET count = t.count + excluded.count;

    INSERT INTO task_failures AS t (fingerprint, task_name, owner_id, error_type, place, message, first_seen,
        last_seen, count, last_record_id, last_record_at)
    SELECT DISTINCT ON (fingerprint, task_name, owner) fingerprint, task_name, owner, error_type, place,
        coalesce(cause, cause_of(error_message)), min(at) OVER same, max(at) OVER same, count(*) OVER same, id,
        created_at
    FROM (SELECT *, coalesce(owner_id, {nobody}) AS owner, coalesce(completed_at, created_at) AS at
          FROM ({changes}) c
          WHERE status IN ('failed', 'abandoned') AND fingerprint IS NOT NULL) f
    WINDOW same AS (PARTITION BY fingerprint, task_name, owner)
    ORDER BY fingerprint, task_name, owner, at DESC, id DESC
    ON CONFLICT (fingerprint, task_name, owner_id) DO UPDATE SET count = t.count + excluded.count,
        first_seen = least(t.first_seen, excluded.first_seen),
        last_seen = greatest(t.last_seen, excluded.last_seen),
        last_record_id = CASE WHEN excluded.last_seen >= t.last_seen THEN excluded.last_record_id
            ELSE t.last_record_id END,
        last_record_at = CASE WHEN excluded.last_seen >= t.last_seen THEN excluded.last_record_at
            ELSE t.last_record_at END;
    UPDATE task_failures t SET count = t.count - gone.n
    FROM (SELECT was_print, task_name, coalesce(owner_id, {nobody}) AS owner, count(*) AS n FROM ({changes}) c
          WHERE was = 'abandoned' AND was_print IS NOT NULL GROUP BY 1, 2, 3) gone
    WHERE t.fingerprint = gone.was_print AND t.task_name = gone.task_name AND t.owner_id = gone.owner;

    SELECT count(*) FILTER (WHERE {starts}) + count(*) FILTER (WHERE {ends}) INTO told FROM ({changes}) c;
    IF told > 0 THEN
        UPDATE task_event_counter c SET newest = c.newest + told RETURNING c.newest INTO newest;
        INSERT INTO task_events (seq, at, owner_id, event)
        SELECT seq, at, owner_id, jsonb_build_object(
            'type', type, 'task_name', task_name, 'status', status, 'seq', seq,
            'timestamp', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'data', jsonb_build_object('id', id, 'task_id', task_id, 'run_name', run_name, 'kind', kind,
                'duration_ms', duration_ms, 'error_message', error_message, 'params', parameters,
                'attempt', attempt,
                'process_id', process_id, 'item_id', item_id, 'flow_run_id', flow_run_id, 'fingerprint', fingerprint))
        FROM (
            SELECT newest - told + row_number() OVER (ORDER BY at, id, type = 'task_started' DESC) AS seq, e.*
            FROM (
                SELECT 'task_started' AS type, 'running' AS status, coalesce(started_at, created_at) AS at, id,
                    task_name, owner_id, task_id, run_name, kind, NULL::double precision AS duration_ms,
                    NULL AS error_message, parameters, attempt, process_id, item_id, flow_run_id, NULL AS fingerprint
                FROM ({changes}) c WHERE {starts}
                UNION ALL
                SELECT CASE status WHEN 'success' THEN 'task_completed' ELSE 'task_failed' END, status,
                    greatest(coalesce(completed_at, created_at), started_at), id, task_name, owner_id, task_id,
                    run_name, kind, duration_ms, left(error_message, 500), parameters, attempt, process_id, item_id,
                    flow_run_id, fingerprint
                FROM ({changes}) c WHERE {ends}
            ) e
        ) numbered;
        PERFORM pg_notify('task_events', newest::text);
    END IF;
    RETURN NULL;
END
"""

_STARTS = (
    "(status = 'running' OR started_at IS NOT NULL) AND status <> 'pending' AND coalesce(was, 'pending') = 'pending'"
)
_ENDS = "status IN ('success', 'failed', 'abandoned')"


def _counting(name: str, changes: str) -> str:
    given = {"changes": changes, "nobody": NOBODY}
    counts = {f"{unit}s": _COUNT.format(unit=unit, **given) for unit in ("minute", "hour")}
    body = _BODY.format(starts=_STARTS, ends=_ENDS, **counts, **given)
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"


FUNCTIONS = (
    HALF_HOUR,
    WORDS,
    PARTITIONS,
    BIN,
    RANK,
    TURNS,
    _counting("task_records_inserted", _INSERTED),
    _counting("task_records_updated", _UPDATED),
)
_EACH = "FOR EACH STATEMENT EXECUTE FUNCTION"
TRIGGERS = (
    f"CREATE TRIGGER task_records_turn BEFORE INSERT OR UPDATE ON task_execution_logs {_EACH} task_records_in_turn()",
    f"""CREATE TRIGGER task_records_inserted AFTER INSERT ON task_execution_logs REFERENCING NEW TABLE AS news
    {_EACH} task_records_inserted()""",
    f"""CREATE TRIGGER task_records_updated AFTER UPDATE ON task_execution_logs
    REFERENCING OLD TABLE AS olds NEW TABLE AS news {_EACH} task_records_updated()""",
)
DROPPED = (
    "task_records_updated()",
    "task_records_inserted()",
    "task_records_in_turn()",
    "task_rank(text)",
    "task_bin(double precision)",
    "task_words(timestamptz, text, text, uuid, uuid, text, jsonb, text, text)",
    "task_half_hour(timestamptz)",
    "ensure_task_partitions(date, date)",
)
