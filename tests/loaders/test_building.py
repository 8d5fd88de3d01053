"""What a build sets on its connection to the work file."""

from datetime import datetime
from pathlib import Path

import pytest

from loaders.building import prepare_build
from loaders.warehouse import Home, open_work_file


@pytest.mark.parametrize(
    ("last_build_id", "is_compacted"), [(22, False), (23, False), (24, True), (25, False), (48, True)]
)
def test_holes_of_replaced_rows_are_closed_in_every_24th_build(
    tmp_path: Path, last_build_id: int, is_compacted: bool
) -> None:
    with open_work_file(Home(tmp_path / "home")) as work:
        work.execute(
            "insert into raw.builds (build_id, command, as_of, started_at, is_complete, through_load_id) "
            "values (?, 'build', '2026-01-01', '2026-01-01', true, 0)",
            [last_build_id],
        )
        tasks = "select current_setting('max_vacuum_tasks')"
        assert work.execute(tasks).fetchall() == [(0,)]
        prepare_build(work, datetime(2026, 1, 1))
        assert (work.execute(tasks).fetchall() != [(0,)]) is is_compacted
