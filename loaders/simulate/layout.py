"""Which record goes into which file: every kind and form that can be landed, and the ways exports go wrong."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby

from loaders.simulate.files import (
    CONFLICT,
    DUPLICATE,
    LANDED,
    DataFile,
    Record,
    array,
    dump,
    envelope,
    envelopes,
    lines,
    page,
    pages,
    pretty,
)
from loaders.simulate.happenings import Happenings
from loaders.simulate.instants import iso
from loaders.simulate.model import API, EXPORT, Json, Organization, Product, Usage
from loaders.simulate.ordering import Order, Ordering
from loaders.simulate.shapes import Shapes


class Layout:
    """The files of one organization."""

    def __init__(self, organization: Organization, shapes: Shapes, ordering: Ordering, happenings: Happenings) -> None:
        self._organization, self._shapes = organization, shapes
        self._ordering, self._happenings = ordering, happenings

    def files(self) -> Iterator[DataFile]:
        kinds = {
            "a": self._organization_a,
            "b": self._organization_b,
            "c": self._organization_c,
            "d": self._organization_d,
        }
        yield from kinds[self._organization.key]()

    def _path(self, name: str) -> str:
        return f"org_{self._organization.key}/{name}"

    # --- A: everything, from a database export, the API and webhooks ---

    def _organization_a(self) -> Iterator[DataFile]:
        organization, shapes = self._organization, self._shapes
        customers = [Record(shapes.customer(customer)) for customer in organization.customers]
        repeated = [Record(customers[0].payload, DUPLICATE)]
        yield lines(self._path("customers/customers.jsonl"), customers + repeated, blank=1)
        yield from self._catalog_a()
        subscriptions = [Record(shapes.subscription(subscription)) for subscription in organization.subscriptions]
        yield lines(self._path("subscriptions/subscriptions.jsonl.gz"), subscriptions)
        yield from self._orders_by_month()
        refunds = [Record(refund) for order in self._ordering.orders for refund in shapes.refunds(order)]
        yield array(self._path("refunds/refunds.json"), refunds, indent=2)
        yield from self._exports()
        yield from self._api_reads()
        yield from self._submitted_copies()
        yield self._webhooks()

    def _catalog_a(self) -> Iterator[DataFile]:
        """The Growth product was read twice: before and after its price rose."""
        organization, shapes = self._organization, self._shapes
        yield array(self._path("meters/meters.json"), [Record(shapes.meter(meter)) for meter in organization.meters])
        growth = next(product for product in organization.products if product.name == "Growth")
        subscribed = next(one for one in organization.subscriptions if one.phases[0].product is growth)
        before = Product(growth.product_id, growth.name, subscribed.phases[0].prices)
        yield page(self._path("products/2026-02.json"), [Record(shapes.product(before))])
        yield page(self._path("products/2026-05.json"), [Record(shapes.product(one)) for one in organization.products])

    def _orders_by_month(self) -> Iterator[DataFile]:
        orders = [order for order in self._ordering.orders if order is not self._webhook_only()]
        for month, group in groupby(orders, key=lambda order: iso(order.draft.created_at)[:7]):
            records = [Record(self._shapes.order(order)) for order in group]
            yield lines(self._path(f"orders/{month}.jsonl"), records)

    def _webhook_only(self) -> Order:
        """The last paid order, which no orders file holds."""
        return [order for order in self._ordering.orders if order.paid_at][-1]

    def _exports(self) -> Iterator[DataFile]:
        """Database exports by month of receipt: usage and system events, with `ingested_at` and `external_id`."""
        dated: list[tuple[datetime, Json]] = [
            (usage.received_at, self._shapes.recorded(usage))
            for usage in self._organization.usages
            if usage.channel == EXPORT
        ]
        for event in self._happenings.events():
            dated.append((event.received_at, self._shapes.system_event(event, with_receipt=True)))
        dated.sort(key=lambda pair: (pair[0], pair[1]["id"]))
        for month, group in groupby(dated, key=lambda pair: iso(pair[0])[:7]):
            records = [Record(payload) for _, payload in group]
            yield lines(self._path(f"events/export-{month}.jsonl.gz"), _spoiled(records, month))

    def _api_reads(self) -> Iterator[DataFile]:
        """API pages; the last one reads an event again after its customer and child count changed: no new event."""
        records = [Record(self._shapes.recorded(usage)) for usage in self._of_channel(API)]
        yield pages(self._path("events/pages.jsonl"), records[:-20])
        first = records[0].payload
        renamed = {**first["customer"], "modified_at": "2026-04-01T00:00:00Z", "name": "Customer 03 canary-renamed"}
        again = Record({**first, "customer": renamed, "child_count": 4, "label": "API request"}, DUPLICATE)
        yield page(self._path("events/pages_last.json"), [*records[-20:], again])

    def _submitted_copies(self) -> Iterator[DataFile]:
        """What the merchant's own log holds of January and February; one send was lost, one was sent twice."""
        records = [Record(self._shapes.submitted(usage)) for usage in self._organization.submitted_copies]
        sent = records[3].payload
        lost = Record({**sent, "external_id": "a-event-lost", "timestamp": "2026-02-01T07:00:00Z"})
        twice = Record(sent, DUPLICATE)
        changed = Record({**sent, "metadata": {**sent["metadata"], "note": "sent again, differently"}}, CONFLICT)
        half = len(records) // 2
        yield lines(self._path("events/submitted-1.jsonl"), [*records[:half], lost, twice, changed])
        yield envelopes(self._path("events/submitted-2.jsonl"), records[half:])

    def _webhooks(self) -> DataFile:
        """Orders as they were when paid; a delivery made twice; one order that only a webhook tells of."""
        refunded = [order for order in self._ordering.orders if order.refunds]
        hooks = [self._webhook(order, number) for number, order in enumerate([*refunded, self._webhook_only()])]
        records = [Record(hook) for hook in hooks]
        return lines(self._path("webhooks/deliveries.jsonl"), [*records, Record(hooks[0], DUPLICATE)])

    def _webhook(self, order: Order, number: int) -> Json:
        assert order.paid_at is not None
        hook: Json = {"type": "order.paid", "timestamp": iso(order.paid_at + timedelta(seconds=4))}
        if number % 2:
            hook["api_version"] = "2026-10"
        return {**hook, "data": self._shapes.order(order, as_paid=True)}

    # --- B: what a merchant without API objects has ---

    def _organization_b(self) -> Iterator[DataFile]:
        shapes, organization = self._shapes, self._organization
        yield lines(self._path("meters/meters.jsonl"), [Record(shapes.meter(meter)) for meter in organization.meters])
        yield page(self._path("products/products.json"), [Record(shapes.product(one)) for one in organization.products])
        system = [Record(shapes.system_event(event, with_receipt=False)) for event in self._happenings.events()]
        yield lines(self._path("events/system.jsonl"), system, newline=b"\r\n", bom=True)
        yield from self._submitted_by_month()
        first, last = map(shapes.submitted, organization.beside_broken)
        yield bad_lines(self._path("events/broken.jsonl"), first, last)

    def _submitted_by_month(self) -> Iterator[DataFile]:
        """Newest first, so that children come before their parents; every month in another form."""
        elsewhere = self._organization.beside_broken
        usages = [usage for usage in self._organization.usages if usage not in elsewhere]
        usages.sort(key=lambda usage: usage.occurred_at, reverse=True)
        for month, group in groupby(usages, key=lambda usage: iso(usage.occurred_at)[:7]):
            records = [Record(self._shapes.submitted(usage)) for usage in group]
            path = self._path(f"events/submitted-{month}")
            if month == "2026-01":
                yield lines(f"{path}.jsonl", [*records, Record(records[-1].payload, DUPLICATE)])
            elif month == "2026-02":
                yield lines(f"{path}.ndjson.gz", records)
            elif month == "2026-03":
                yield envelope(f"{path}.json", records)
            elif month == "2026-04":
                yield envelopes(f"{path}.jsonl", records)
            else:
                yield array(f"{path}.json", records, indent=2)

    # --- C: one document per kind ---

    def _organization_c(self) -> Iterator[DataFile]:
        shapes, organization, orders = self._shapes, self._organization, self._ordering.orders
        yield array(self._path("customers.json"), [Record(shapes.customer(one)) for one in organization.customers])
        for number, meter in enumerate(organization.meters):
            yield pretty(self._path(f"meters/meter_{number + 1}.json"), shapes.meter(meter))
        for number, product in enumerate(organization.products):
            yield pretty(self._path(f"products/product_{number + 1}.json"), shapes.product(product))
        subscriptions = [Record(shapes.subscription(one)) for one in organization.subscriptions]
        yield page(self._path("subscriptions.json"), subscriptions)
        yield array(self._path("orders.json"), [Record(shapes.order(order)) for order in orders], indent=2)
        yield lines(
            self._path("refunds.jsonl"), [Record(refund) for order in orders for refund in shapes.refunds(order)]
        )
        yield array(self._path("events.json"), self._all_recorded())

    def _all_recorded(self) -> Iterable[Record]:
        for usage in self._organization.usages:
            yield Record(self._shapes.recorded(usage))
        for event in self._happenings.events():
            yield Record(self._shapes.system_event(event, with_receipt=True))

    # --- D: API objects with holes, and one export of all events ---

    def _organization_d(self) -> Iterator[DataFile]:
        shapes, organization = self._shapes, self._organization
        yield lines(self._path("customers.jsonl"), [Record(shapes.customer(one)) for one in organization.customers])
        yield array(self._path("meters.json"), [Record(shapes.meter(one)) for one in organization.meters])
        products = [Record(shapes.product(one)) for one in organization.products if one.is_landed]
        yield page(self._path("products.json"), products)
        subscriptions = [one for one in organization.subscriptions if one.phases[-1].product.is_landed]
        yield lines(self._path("subscriptions.jsonl"), [Record(shapes.subscription(one)) for one in subscriptions])
        listed = [one for one in self._ordering.orders if organization.has_order_objects(one.draft.customer)]
        yield pages(self._path("orders.jsonl"), [Record(shapes.order(order)) for order in listed])
        yield lines(self._path("events/export.jsonl.gz"), self._all_recorded())

    def _of_channel(self, channel: str) -> list[Usage]:
        chosen = [usage for usage in self._organization.usages if usage.channel == channel]
        return sorted(chosen, key=lambda usage: usage.occurred_at)


def _spoiled(records: list[Record], month: str) -> list[Record]:
    """An export that repeats a row, and one that tells another story about an id it already gave."""
    usage = next(record.payload for record in records if record.payload["source"] == "user")
    if month == "2026-02":
        return [*records, Record(usage, DUPLICATE)]
    if month == "2026-03":
        return [*records, Record({**usage, "metadata": {**usage["metadata"], "status": 599}}, CONFLICT)]
    return records


def bad_lines(path: str, first: Json, last: Json) -> DataFile:
    """Every kind of line that must be refused, between two good ones, each with the reason code it deserves."""
    verdicts_of = [(dump(first), LANDED), *_broken(first), (dump(last), LANDED)]
    content = b"".join(line + b"\n" for line, _ in verdicts_of)
    verdicts = [verdict for _, verdict in verdicts_of]
    places: list[Json] = [
        {"record_number": number, "reason_code": verdict}
        for number, verdict in enumerate(verdicts, start=1)
        if verdict != LANDED
    ]
    return DataFile(path, content, verdicts, places=places)


def _broken(good: Json) -> list[tuple[bytes, str]]:
    """One defect each, so that no other reason code could apply."""
    deep: Json = {"nested": 1}
    for _ in range(70):
        deep = {"nested": deep}
    return [
        (b'{"name": "page.view", "external_customer_id"', "invalid_json"),
        (b"42", "not_an_object"),
        (dump(good).replace(b"/beside", b"/\xff\xfe"), "invalid_utf8"),
        (dump({**good, "timestamp": "2026-04-02T12:00:00"}), "naive_timestamp"),
        (dump({**good, "timestamp": "2999-01-01T00:00:00Z"}), "future_timestamp"),
        (dump({**good, "name": "n" * 129}), "name_too_long"),
        (dump({**good, "metadata": {"tags": ["a", "b"]}}), "invalid_metadata"),
        (dump({**good, "metadata": {"size": 1}}).replace(b'"size":1', b'"size":1e999'), "number_out_of_range"),
        (dump({**good, "metadata": {"text": "a\0b"}}), "nul_character"),
        (dump({**good, "metadata": deep}), "too_deep"),
    ]
