"""The published file documents itself."""

from tests.loaders.main_job.conftest import World


def test_each_column_of_the_published_file_has_a_comment(world: World) -> None:
    """They are the documentation of columns; the pages do not say it again."""
    bare = world.published.rows(
        "select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = ''"
    )
    # Properties of events: metadata_columns says what they are.
    assert [row for row in bare if not row["table_name"].startswith("wide_")] == []
    assert world.published.rows("select table_name from duckdb_tables() where coalesce(comment, '') = ''") == []
