"""Statements of analysts who may see one project only."""

import msgspec
import pytest

from schemas.events import ConversationErased
from schemas.queries import SqlAnswer
from services.projector import query, view
from services.projector.database import Database
from services.projector.views import VIEWS, parked
from tests.builders import AT, added, call, completed, created, message, output, requested, said
from tests.projector.builders import Log, applied, opened

SECRET = "another's secret"
HIDDEN = [
    *("turns_ended", "turns_running"),
    *(view.name(each) for each in VIEWS),
]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    log = Log()
    for project, text in (("acme", "ours"), ("zeta's", SECRET), ("acme", "ours too")):
        # The same id in both.
        log.commit("c1", *([] if text == "ours too" else [created(topic=text)]), project=project)
        log.commit("c1", requested(f"r {text}", message(f"m {text}", text)), project=project)
        ended = completed(f"r {text}", said(f"s {text}", text), call(f"a {text}", name=text))
        log.commit("c1", ended, project=project)
        log.commit("c1", added(output(f"a {text}", text=text)), project=project)
    log.commit("c2", created(), requested("running", message("m2", SECRET)), project="zeta's")
    for project in ("acme", "zeta's"):
        log.commit("c3", created(), project=project)
        erased = ConversationErased(commits=1, head="00", trail="00", days=(AT.date(),))
        log.commit("c3", erased, project=project)
    database = opened(tmp_path_factory.mktemp("views"))
    applied(database, log.messages)
    statement = view.statements(parked)["passed"]
    for project in ("acme", "zeta's"):
        values = {"sequence": 99, "conversation_id": "c9", "project": project, "error": project}
        database.cursor().execute(statement, values)
    yield database
    database.close()


def asked(views: Database, statement: str, project: str | None = "acme") -> SqlAnswer:
    try:
        answer = query.run(
            views.cursor(), statement, project=project, rows_max=1000, bytes_max=1_000_000
        )
    except query.TOLD as error:
        return query.reason(error, time_s=1)
    return msgspec.json.decode(answer, type=SqlAnswer)


@pytest.mark.parametrize("name", sorted(HIDDEN))
@pytest.mark.parametrize("project", ["acme", "zeta's", "nobody"])
def test_every_view_has_the_rows_of_the_project_and_no_others(views, name, project):
    quoted = project.replace("'", "''")
    whole = asked(views, f"FROM {name} WHERE project = '{quoted}' ORDER BY ALL", None)
    confined = asked(views, f"FROM {name} ORDER BY ALL", project)

    assert confined.error is None
    assert confined == whole
    there = name != "compactions" and project != "nobody"
    assert bool(whole.rows) == (there and (name, project) != ("turns_running", "acme"))


def test_no_table_of_the_views_is_left_out(views):
    tables = asked(views, "SELECT table_name FROM duckdb_tables() WHERE NOT internal", None)
    others = asked(views, "SELECT view_name FROM duckdb_views() WHERE NOT internal", None)
    names = {str(name) for (name,) in (*tables.rows, *others.rows)}

    assert names == {*HIDDEN, "projection"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM items i JOIN turns t USING (response_id) WHERE i.tokens > 0",
        "WITH mine AS (FROM items) SELECT count(*) FROM mine",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) FROM n",
        "SELECT (SELECT max(tokens) FROM Items), * FROM range(3), unnest([1, 2])",
        "SELECT metadata ->> 'topic' FROM conversations",
        "SELECT count(*) FILTER (tokens > 0) OVER () FROM items LIMIT 1",
        "SELECT added_at AT TIME ZONE 'UTC' FROM items LIMIT 1",
        "FROM tool_calls SELECT name, output, failed",
    ],
)
def test_what_stays_among_them_is_answered(views, statement):
    answer = asked(views, statement)
    assert answer.error is None
    assert answer.rows
    assert SECRET not in str(answer)


@pytest.mark.parametrize(
    "statement",
    [
        "FROM main.items",
        "FROM temp.items",
        "FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_class",
        "FROM pg_class",
        "FROM duckdb_tables",
        "FROM duckdb_tables()",
        "FROM duckdb_views()",
        "FROM duckdb_columns()",
        "FROM pragma_table_info('main.items')",
        "FROM histogram('main.items', 'item')",
        "FROM histogram_values('main.items', item)",
        "FROM sqlite_master",
        "FROM projection",
        "WITH projection AS (SELECT 1) FROM projection",
        "WITH duckdb_tables AS (SELECT 1) FROM duckdb_tables, (SELECT 1)",
        "SELECT (WITH pg_class AS (SELECT 1) SELECT count(*) FROM pg_class), * FROM pg_class",
        "SELECT stats(item) FROM items",
        "SELECT item.stats() FROM items",
        "SELECT * FROM (SUMMARIZE items)",
        "SUMMARIZE items",
        "DESCRIBE items",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "EXPLAIN FROM items",
        "/* a */ EXPLAIN ANALYZE FROM items",
        "FROM query('FROM main.items')",
        "FROM query_table('main.items')",
        "SELECT * FROM items AT (VERSION => 1)",
        "SELECT * FROM items WHERE item_id IN (SELECT item_id FROM main.items)",
        "SELECT (SELECT item FROM main.items LIMIT 1)",
        "FROM items UNION ALL FROM main.items",
        "SELECT list_transform([1], lambda x: (SELECT count(*) FROM main.items))",
        "FROM 'items'.parquet",
        "VALUES ((SELECT count(*) FROM main.items))",
        "FROM items ORDER BY (SELECT count(*) FROM main.items)",
        "FROM items PIVOT (count(*) FOR origin IN ('input')) JOIN main.turns USING (project)",
        "FROM items POSITIONAL JOIN main.items",
    ],
)
def test_whatever_leads_past_them_is_refused(views, statement):
    answer = asked(views, statement)
    assert answer.error
    assert (answer.rows, answer.columns) == ((), ())
    assert SECRET not in str(answer)


@pytest.mark.parametrize(
    "condition",
    [
        "CASE WHEN contains(item, 'secret') THEN error('leaked') END IS NULL",
        "CASE WHEN project = 'zeta''s' THEN error(item) END IS NOT NULL",
        "contains(item, 'secret') AND CAST(item_id AS INTEGER) = 1",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "SELECT count(*) FROM items WHERE {}",
        """
    SELECT count(*) FROM items JOIN turns USING (project, conversation_id) WHERE {}
""",
        "SELECT sum(CASE WHEN {} THEN 1 ELSE 0 END) FROM items WHERE contains(item, 'secret')",
    ],
)
def test_no_condition_meets_the_row_of_another(views, form, condition):
    # By failing, it would tell of it.
    answer = asked(views, form.format(condition))
    assert answer.error is None, answer
    assert asked(views, form.format(condition), None).error is not None
