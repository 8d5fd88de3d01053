"""Dedup, hierarchy and validation cases: what a merchant submits, request by request, a file each."""

import json
from datetime import timedelta

from tests.conformance.scenario import Scenario, Warehouse, answers
from tests.conformance.world import START, Json, iso


class Batches(Scenario):
    """Shared: one file per request. Blank lines at its end keep two equal requests two files."""

    def land_batches(self, batches: list[list[Json]]) -> None:
        self.names = [f"{self.case.id}.{number}.json" for number in range(len(batches))]
        for number, batch in enumerate(batches):
            self.files[self.names[number]] = json.dumps({"events": batch}) + "\n" * number


class Deduplication(Batches):
    """Which events of several requests are stored, and how the others are counted."""

    area = "dedup"
    required = frozenset(("batches",))
    compares = frozenset(("responses", "stored_tags"))

    def land(self) -> None:
        self.land_batches([[self.submitted(event) for event in batch] for batch in self.input["batches"]])

    def submitted(self, event: Json) -> Json:
        fields = {name: value for name, value in event.items() if name not in ("tag", "organization")}
        return {**fields, "organization_id": self.labelled(event.get("organization", "")).id}

    def check_how_many_are_new(self, warehouse: Warehouse) -> None:
        for name, response in zip(self.names, self.expected["responses"], strict=True):
            counts = warehouse.files[name]
            assert counts["landed"] == response["inserted"]
            # Polar compares no content: what contradicts the first one is a duplicate to it.
            assert counts["duplicate"] + counts["conflict"] == response["duplicates"]
            assert counts["quarantined"] == 0

    def check_which_are_stored(self, warehouse: Warehouse) -> None:
        tags = {
            (name, number + 1): event["tag"]
            for name, batch in zip(self.names, self.input["batches"], strict=True)
            for number, event in enumerate(batch)
        }
        rows = warehouse.work.rows(
            "select f.file_name, e.record_number from marts.usage_events as e "
            "join raw.loads as f using (load_id, file_number) where list_contains(?, e.organization_id)",
            [[organization.id for organization in self.organizations.values()]],
        )
        stored = [tags[row["file_name"].rsplit("/", 1)[-1], row["record_number"]] for row in rows]
        assert sorted(stored) == sorted(self.expected["stored_tags"])


class Hierarchy(Batches):
    """Events that name a parent, in any order of arrival: the links, the roots, what stays pending."""

    area = "hierarchy"
    required = frozenset(("batches",))
    compares = frozenset(("events",))

    def land(self) -> None:
        self.land_batches([[self.submitted(event) for event in batch] for batch in self.input["batches"]])

    def submitted(self, event: Json) -> Json:
        fields = {name: value for name, value in event.items() if name != "organization"}
        common = {"name": "step", "external_customer_id": "c", "timestamp": iso(START)}
        return {**common, **fields, "organization_id": self.labelled(event.get("organization", "")).id}

    def check_parents_and_roots(self, warehouse: Warehouse) -> None:
        found = {
            row["external_id"]: row
            for row in warehouse.rows(
                "select e.external_id, p.external_id as parent, r.external_id as root, e.is_orphan "
                "from usage_events as e left join usage_events as p on e.parent_event_key = p.usage_event_key "
                "left join usage_events as r on e.root_event_key = r.usage_event_key "
                "where list_contains(?, e.organization_id)",
                [organization.id for organization in self.organizations.values()],
            )
        }
        assert set(found) == set(self.expected["events"])
        references = {
            event["external_id"]: event.get("parent_id") for batch in self.input["batches"] for event in batch
        }
        for name, event in self.expected["events"].items():
            assert (found[name]["parent"], found[name]["root"]) == (event["parent"], event["root"]), name
            # What is pending is the reference that leads nowhere yet.
            pending = references[name] if found[name]["parent"] is None else None
            assert pending == event["pending"], name
            assert found[name]["is_orphan"] == (event["root"] is None), name

    def check_rooted_events_have_their_trace(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select r.external_id as root, t.event_count from event_traces as t "
            "join usage_events as r on t.root_event_key = r.usage_event_key where list_contains(?, t.organization_id)",
            [organization.id for organization in self.organizations.values()],
        )
        roots = [event["root"] for event in self.expected["events"].values() if event["root"]]
        assert {row["root"]: row["event_count"] for row in rows} == {root: roots.count(root) for root in roots}


class Tree(Scenario):
    """Recorded events with resolved parents: ancestors and descendants."""

    area = "hierarchy"
    required = frozenset(("edges",))
    compares = frozenset(("ancestors", "child_count"))

    def land(self) -> None:
        self.organization.customer()
        self.nodes = list(dict.fromkeys(node for edge in self.input["edges"].items() for node in edge))
        for number, node in enumerate(self.nodes):
            parent = self.input["edges"].get(node)
            link = {"parent_id": self.organization.uuid("event", parent) if parent else None}
            self.organization.event(node, "step", {}, START + timedelta(minutes=number), **link)

    def ancestors(self, warehouse: Warehouse) -> dict[str, list[str]]:
        rows = warehouse.rows(
            "select e.event_id, p.event_id as parent_id from usage_events as e "
            "left join usage_events as p on e.parent_event_key = p.usage_event_key where e.organization_id = ?",
            self.organization.id,
        )
        names = {self.organization.uuid("event", node): node for node in self.nodes}
        parents = {names[row["event_id"]]: names.get(row["parent_id"]) for row in rows}
        chains: dict[str, list[str]] = {node: [] for node in self.nodes}
        for node, chain in chains.items():
            parent = parents[node]
            while parent is not None:
                chain.append(parent)
                parent = parents[parent]
        return chains

    @answers("ancestors")
    def check_the_ancestors(self, warehouse: Warehouse) -> None:
        assert self.ancestors(warehouse) == self.expected["ancestors"]

    @answers("child_count")
    def check_the_number_of_descendants(self, warehouse: Warehouse) -> None:
        above = [ancestor for chain in self.ancestors(warehouse).values() for ancestor in chain]
        assert {node: above.count(node) for node in self.nodes} == self.expected["child_count"]
        rows = warehouse.rows("select event_count from event_traces where organization_id = ?", self.organization.id)
        roots = [node for node in self.nodes if node not in self.input["edges"]]
        counts = sorted(self.expected["child_count"][root] + 1 for root in roots)
        assert sorted(row["event_count"] for row in rows) == counts


class Validation(Scenario):
    """One submitted event: stored, or in quarantine."""

    area = "validation"
    required = frozenset(("event",))
    compares = frozenset(("valid",))

    def land(self) -> None:
        self.name = f"{self.case.id}.jsonl"
        event = {"organization_id": self.organization.id, **self.input["event"]}
        self.files[self.name] = json.dumps(event) + "\n"

    def check_whether_it_lands(self, warehouse: Warehouse) -> None:
        counts, valid = warehouse.files[self.name], self.expected["valid"]
        assert (counts["records"], counts["landed"], counts["quarantined"]) == (1, int(valid), int(not valid))

    def check_where_it_is(self, warehouse: Warehouse) -> None:
        stored = warehouse.rows("select 1 from usage_events where organization_id = ?", self.organization.id)
        rejected = warehouse.rows("select 1 from quarantined_records where file_name like '%' || ?", self.name)
        assert (len(stored), len(rejected)) == ((1, 0) if self.expected["valid"] else (0, 1))
