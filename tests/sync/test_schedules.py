"""Whatever the list does while it is read, and whatever goes wrong: what Polar shows is what has landed, each once."""

from collections import Counter
from datetime import timedelta

import pytest

from sync import payloads
from sync.conftest import NOW, Syncing, at
from sync.fake_polar import FAULTS, KINDS, FakePolar

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("small_pages")]


def fill(server: FakePolar) -> None:
    """Serve a small company: ties, events of two months, unknown ones, events that the list shows twice."""
    for number in range(3):
        server.put("products", payloads.product(number, at(days=90)))
        server.put("meters", payloads.meter(number, at(days=90)))
    for number in range(8):
        server.put("customers", payloads.customer(number, at(days=80 - number)), unknown_field=number == 3)
        server.put("subscriptions", payloads.subscription(number, at(days=70 - number // 2)))
    for number in range(10):
        status = "pending" if number in (0, 5) else "paid"
        server.put("orders", payloads.order(number, at(days=60 - 5 * number), status=status, paid=status == "paid"))
    for number in range(20):
        moment = server.random.choice([at(days=40), at(hours=30), at(days=server.random.uniform(0.01, 50))])
        key = server.put("events", payloads.user_event(number, moment), unknown_field=number % 7 == 0)
        if server.random.random() < 0.1:
            server.repeated.add(key)
    for number in range(4):
        server.put("events", payloads.system_event(number, at(days=number + 0.01)))
        server.put("events", payloads.unknown_event(number, at(days=8 * number + 0.02)))
    child = payloads.user_event(900, at(days=30))
    server.hidden.add(server.put("events", child))  # its root is not there yet


def disturb(server: FakePolar) -> None:
    """Let faults come and rows move, by the server's own dice. No request fails more often than it is made."""
    failures: Counter[str] = Counter()
    dice = server.random

    def fault(target: str) -> str | None:
        if dice.random() < 0.15 and failures[target] < 5:
            failures[target] += 1
            return dice.choice(FAULTS)
        return None

    def before(number: int) -> None:
        if dice.random() > 0.12:
            return
        new = 1000 + number
        change = dice.choice(["late", "now", "tie", "customer", "gone"])
        if change == "late":
            server.put("events", payloads.user_event(new, at(hours=dice.uniform(1, 60))))
        elif change == "now":
            server.put("events", payloads.user_event(new, at(minutes=dice.uniform(1, 5))))
        elif change == "tie":
            server.put("events", payloads.user_event(new, at(hours=30)))
        elif change == "customer":
            server.put("customers", payloads.customer(new, at(minutes=1)))
        elif len(server.texts["customers"]) > 7:
            server.texts["customers"].pop(dice.choice(list(server.texts["customers"])))

    server.fault, server.before = fault, before


def check(syncing: Syncing, server: FakePolar) -> None:
    found = syncing.landed()
    for kind in KINDS:
        landed, served = found[kind], server.visible(kind)
        assert {key: landed.get(key) for key in served} == served, kind
        assert kind == "customers" or landed.keys() == served.keys(), kind


def run_schedule(seed: int, syncing: Syncing) -> None:
    with FakePolar(seed) as server:
        fill(server)
        at_first = {kind: set(server.visible(kind)) for kind in KINDS}
        disturb(server)
        # A schedule has no request fail as often as this; a machine that is busy may add a time-out of its own.
        patience = {"timeout": 0.25, "attempts": 12}
        assert syncing.sync(server, **patience).errors == []
        landed = syncing.landed()
        for kind in KINDS:
            gone = at_first[kind] - server.visible(kind).keys()
            assert at_first[kind] - gone <= landed[kind].keys(), f"{kind}: what was there all along has landed"

        server.before = lambda number: None
        server.put("orders", payloads.order(0, at(days=60), status="paid", paid=True, total_amount=5))
        server.put("refunds", payloads.refund(0, at(days=-0.5), 2))
        server.put("orders", payloads.order(2, at(days=50), status="refunded", refunded_amount=100))
        assert syncing.sync(server, now=NOW + timedelta(days=1), **patience).errors == []
        check(syncing, server)

        server.hidden.clear()
        assert syncing.sync(server, now=NOW + timedelta(days=8), **patience).errors == []
        check(syncing, server)


@pytest.mark.parametrize("seed", range(8))
def test_landed_is_what_polar_shows(seed: int, syncing: Syncing) -> None:
    run_schedule(seed, syncing)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 200))
def test_landed_is_what_polar_shows_in_200_schedules(seed: int, syncing: Syncing) -> None:
    run_schedule(seed, syncing)
