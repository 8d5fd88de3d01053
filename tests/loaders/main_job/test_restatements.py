"""What was published of a closed period is kept, and a record that comes in afterwards is named for what it changes."""

import json
import shutil
import uuid
from pathlib import Path

import duckdb

from tests.loaders.main_job.conftest import AS_OF, Published, World, meterhouse

# A recorded event that a paid order of a sum or count meter without credits and cap bills, and the period it lies in.
BILLED = """
select e.payload, o.billing_period_key
from marts.billing_outcomes as o
join marts.meter_usage as u on o.billing_period_key = u.billing_period_key and o.price_id = u.price_id
join raw.events as e using (load_id, file_number, record_number)
where o.outcome = 'billed' and o.list_amount >= 1 and e.shape = 'recorded' and u.credited_units = 0 and not u.is_capped
order by e.payload limit 1
"""


def test_a_late_record_restates_a_closed_period_also_after_a_full_refresh(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    published = Published(home / "published.duckdb")
    assert published.rows("select * from period_restatements") == []
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        payload, period = work.execute(BILLED).fetchall()[0]
    again = json.loads(payload) | {"id": str(uuid.UUID(int=1, version=4))}
    late = tmp_path / "late" / "events.jsonl"
    late.parent.mkdir()
    late.write_text(json.dumps(again) + "\n")

    meterhouse("run", late, "--as-of", AS_OF, home=home)
    found = published.rows("select * from period_restatements")
    assert [row["billing_period_key"] for row in found] == [period.hex]
    assert found[0]["delta_amount"] == found[0]["current_amount"] - found[0]["closed_amount"] > 0
    newest = published.rows("select max(load_id) as load_id from loads")[0]["load_id"]
    assert found[0]["load_ids"] == [newest]

    # Publishing it again, or making everything anew, does not make the later word the first one.
    meterhouse("build", "--full-refresh", "--as-of", AS_OF, home=home)
    meterhouse("publish", home=home)
    assert published.rows("select * from period_restatements") == found
