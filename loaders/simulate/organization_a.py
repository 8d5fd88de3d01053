"""Organization A: everything of Polar's API is landed, so orders are compared line by line. One customer, one story."""

from datetime import timedelta

from loaders.simulate.catalog import AGENT, COMPLETION, JOB, REQUEST, SAMPLE, SESSION, TOOL, VIEW, Builder
from loaders.simulate.instants import COVERAGE_STARTS_AT, at
from loaders.simulate.model import API, Chance, Change, LooseOrder, Meter, Organization, Product, RefundPlan
from loaders.simulate.periods import subscription_periods


def organization_a(chance: Chance, scale: int) -> Organization:
    """Build the whole organization; each method below tells one group of stories."""
    organization = Organization("a", chance.uuid("organization", "a"), has_api_objects=True)
    _StoriesA(Builder(organization, chance, scale)).tell()
    return organization


class _StoriesA:
    def __init__(self, builder: Builder) -> None:
        self.build = builder
        self.organization = builder.organization
        self.requests = builder.meter("API requests", REQUEST, "count")
        self.tokens = builder.meter("LLM tokens", COMPLETION, "sum", "_llm.total_tokens")
        self.hours = builder.meter("Compute hours", JOB, "sum", "hours", excluded_region="test")
        self.peak = builder.meter("Peak connections", SAMPLE, "max", "connections")
        self.people = builder.meter("Active users", SESSION, "unique", "user_ref")
        # Created late: what matched before stays unbilled, and no product prices it.
        builder.meter("Agent runs", AGENT, "count", created_at=at("2026-03-01T00:00"))
        self.team = self._product("Team", 4900, {self.requests: "0.5", self.tokens: "0.0015"})
        self.grown = self._product("Scale", 19900, {self.requests: "0.25", self.hours: "33.5"})
        self.metered = self._product("Pay as you go", None, {self.requests: "1.25", self.tokens: "0.002000000001"})
        self.plain = self._product("Basic", 2900, {self.requests: "1"})

    def _product(self, name: str, amount: int | None, rates: dict[Meter, str], **more: str | int) -> Product:
        prices = [self.build.metered(name, meter, unit_amount) for meter, unit_amount in rates.items()]
        if amount is not None:
            prices.insert(0, self.build.fixed(name, amount))
        return self.build.product(name, *prices, **more)

    def tell(self) -> None:
        self._team_with_members()
        self._discounts_and_caps()
        self._metered_only()
        self._trial()
        self._plan_changes()
        self._pause()
        self._endings()
        self._yearly()
        self._credits()
        self._month_ends()
        self._balances()
        self._refunds()
        self._failed_payment()
        self._discrepancies()
        self._late_customer()
        self._two_subscriptions()
        self._free()
        self._still_pending()
        self._before_coverage()
        self._one_time()
        self._edges()
        self._strangers()

    def _team_with_members(self) -> None:
        build = self.build
        customer = build.customer(1, is_team=True, tax_percent=20, country="DE")
        for name in ("member-1", "member-2", "member-3"):
            build.member(customer, name)
        build.member(customer, "member-9", is_known=False)
        subscription = build.subscribe(customer, self.team, "2026-01-05T10:00")
        subscription.discount = build.discount("Partner 20%", basis_points=2000)
        build.stream(customer, REQUEST, "2026-01-05T11:00", 40)
        build.stream(customer, COMPLETION, "2026-01-05T11:00", 30)
        self._agent_runs(20)
        self.organization.submitted_copies += [
            usage for usage in self.organization.usages if usage.occurred_at < at("2026-03-01T00:00")
        ]

    def _agent_runs(self, count: int) -> None:
        """Three levels: a run, its completions, and a tool call below one; some children are dated before the run."""
        customer = self.organization.customers[0]
        for index in range(count):
            begun = at("2026-01-20T09:30") + timedelta(days=5 * index)
            properties = self.build.metadata(AGENT, index)
            run = self.build.usage(customer, AGENT, begun, properties, member=customer.members[0])
            shift = timedelta(seconds=-3 if index % 4 == 0 else 5)
            metadata = self.build.metadata(COMPLETION, 7919 * index)
            child = self.build.usage(customer, COMPLETION, begun + shift, metadata, parent=run)
            leaf_metadata = self.build.metadata(TOOL, 104729 * index)
            self.build.usage(customer, TOOL, begun + timedelta(seconds=9), leaf_metadata, parent=child)
            run.child_count, child.child_count = 2, 1

    def _discounts_and_caps(self) -> None:
        build = self.build
        prices = (build.fixed("Capped", 19900), build.metered("Capped", self.tokens, "0.012", cap_amount=500))
        customer = build.customer(2, tax_percent=19, country="DE")
        subscription = build.subscribe(customer, build.product("Capped", *prices), "2026-01-06T14:30")
        subscription.discount = build.discount("Welcome 5", amount=500)
        build.stream(customer, COMPLETION, "2026-01-06T15:00", 30)

    def _metered_only(self) -> None:
        """Read from the API, so nothing tells when Polar received it; submitted copies cannot be matched by id."""
        customer = self.build.customer(3, channel=API)
        self.build.subscribe(customer, self.metered, "2026-01-08T09:00")
        made = self.build.stream(customer, REQUEST, "2026-01-08T10:00", 60)
        self.build.stream(customer, COMPLETION, "2026-01-08T10:00", 20)
        self.organization.submitted_copies += [usage for usage in made if usage.occurred_at < at("2026-02-15T00:00")]

    def _trial(self) -> None:
        plan = self._product("Trial plan", 2900, {self.requests: "1"}, trial_days=14)
        customer = self.build.customer(4, tax_percent=20, country="GB")
        self.build.subscribe(customer, plan, "2026-01-12T12:00", trial_ends_at=at("2026-01-26T12:00"))
        self.build.stream(customer, REQUEST, "2026-01-12T13:00", 60)

    def _plan_changes(self) -> None:
        """Old-price usage of the running period is stranded; proration lines come with the renewal, or at once."""
        first = self.build.customer(5)
        later = self.build.subscribe(first, self.team, "2026-01-10T08:00")
        self.build.change_plan(later, self.grown, "2026-02-20T16:00", "prorate")
        second = self.build.customer(6)
        at_once = self.build.subscribe(second, self.plain, "2026-01-14T08:00")
        self.build.change_plan(at_once, self.grown, "2026-03-24T20:00", "invoice")
        for customer in (first, second):
            self.build.stream(customer, REQUEST, "2026-01-14T09:00", 40)
            self.build.stream(customer, JOB, "2026-01-14T09:00", 12)

    def _pause(self) -> None:
        customer = self.build.customer(7)
        subscription = self.build.subscribe(customer, self.plain, "2026-01-15T07:00")
        subscription.pauses.append((at("2026-02-25T09:00"), at("2026-03-20T11:00")))
        self.build.stream(customer, REQUEST, "2026-01-15T08:00", 40)

    def _endings(self) -> None:
        """One cancels at the period's end and owes its last usage; one is revoked and its usage is stranded."""
        leaving = self.build.customer(8, tax_percent=20, country="FR")
        canceled = self.build.subscribe(leaving, self.plain, "2026-01-20T18:00")
        canceled.canceled_at, canceled.ended_at = at("2026-03-02T10:00"), at("2026-03-20T18:00")
        self.build.stream(leaving, REQUEST, "2026-01-20T19:00", 40, end="2026-03-28T00:00")
        expelled = self.build.customer(9)
        revoked = self.build.subscribe(expelled, self.plain, "2026-01-11T06:00")
        revoked.canceled_at = revoked.ended_at = at("2026-02-18T15:00")
        revoked.ending = "revoked"
        self.build.stream(expelled, REQUEST, "2026-01-11T07:00", 40, end="2026-02-24T00:00")

    def _yearly(self) -> None:
        plan = self._product("Yearly", 99000, {self.tokens: "0.0015"}, interval="year", meter_interval="month")
        customer = self.build.customer(10, tax_percent=20, country="DE")
        self.build.subscribe(customer, plan, "2026-01-12T05:00")
        self.build.stream(customer, COMPLETION, "2026-01-12T06:00", 40)

    def _credits(self) -> None:
        """20,000 tokens a month; in March a revocation takes more than was left, and the sum stops at zero."""
        plan = self._product("Credits", 3900, {self.tokens: "0.0125"})
        customer = self.build.customer(11)
        subscription = self.build.subscribe(customer, plan, "2026-01-09T10:00")
        self.build.stream(customer, COMPLETION, "2026-01-09T11:00", 25)
        for period in subscription_periods(subscription):
            self.build.credit(customer, self.tokens, 20000, period.start_at + timedelta(minutes=4))
        self.build.credit(customer, self.tokens, -50000, at("2026-03-18T12:00"))
        self.build.credit(customer, self.tokens, 3000, at("2026-03-25T12:00"))

    def _month_ends(self) -> None:
        """Bought on 31 January, with two meters that cannot be added up."""
        plan = self._product("Capacity", 1000, {self.peak: "150", self.people: "25"})
        customer = self.build.customer(12)
        self.build.subscribe(customer, plan, "2026-01-31T09:00")
        self.build.stream(customer, SAMPLE, "2026-01-31T10:00", 40)
        self.build.stream(customer, SESSION, "2026-01-31T10:00", 40)

    def _balances(self) -> None:
        """An order of 20 cents becomes a debt of the next one; a balance pays part of another."""
        small = self.build.customer(13)
        self.build.subscribe(small, self.metered, "2026-01-07T09:00")
        for index in range(16):
            self._request(small, f"2026-01-{10 + index}T12:00")
        for index in range(80):
            self._request(small, f"2026-02-{8 + index % 20:02}T{index // 20:02}:30")
        covered = self.build.customer(14, opening_balance=1500, tax_percent=20, country="DE")
        self.build.subscribe(covered, self.plain, "2026-01-16T09:00")
        self.build.stream(covered, REQUEST, "2026-01-16T10:00", 20)

    def _request(self, customer: object, moment: str) -> None:
        owner = next(one for one in self.organization.customers if one is customer)
        self.build.usage(owner, REQUEST, at(moment), self.build.metadata(REQUEST, 1))

    def _refunds(self) -> None:
        customer = self.build.customer(15, tax_percent=20, country="DE")
        self.build.subscribe(customer, self.plain, "2026-01-17T11:00")
        refunds = self.organization.refunds
        refunds["15@2026-01-17"] = [RefundPlan(at("2026-01-25T10:00"), 700), RefundPlan(at("2026-02-03T10:00"), 400)]
        refunds["15@2026-02-17"] = [RefundPlan(at("2026-02-20T10:00"), 2900)]
        refunds["15@2026-03-17"] = [RefundPlan(at("2026-03-21T10:00"), 500, is_reversed=True)]

    def _failed_payment(self) -> None:
        """The order of 3 March stays unpaid and is voided; the subscription recovers."""
        customer = self.build.customer(16)
        subscription = self.build.subscribe(customer, self.plain, "2026-01-03T13:00")
        subscription.changes["2026-03-03"] = Change("void")
        subscription.recovered_at = at("2026-03-12T09:00")
        self.build.stream(customer, REQUEST, "2026-01-03T14:00", 20)

    def _discrepancies(self) -> None:
        missing = self.build.customer(17)
        subscription = self.build.subscribe(missing, self.plain, "2026-01-18T13:00")
        subscription.changes["2026-03-18"] = Change("missing")
        self.build.stream(missing, REQUEST, "2026-01-18T14:00", 30)
        wrong = self.build.customer(18)
        subscription = self.build.subscribe(wrong, self.plain, "2026-01-04T13:00")
        subscription.changes["2026-03-04"] = Change("units", -7)
        subscription.changes["2026-04-04"] = Change("units", 11)
        self.build.stream(wrong, REQUEST, "2026-01-04T14:00", 40)
        self._cutoff()
        self._rounding()

    def _cutoff(self) -> None:
        """Forty requests five minutes before 7 March are billed with the April order."""
        customer = self.build.customer(19)
        self.build.subscribe(customer, self.plain, "2026-01-07T15:00")
        self.build.stream(customer, REQUEST, "2026-01-07T16:00", 20)
        for index in range(40):
            moment = at("2026-03-07T14:54") + timedelta(seconds=6 * index)
            self.build.usage(customer, REQUEST, moment, self.build.metadata(REQUEST, index), slips=True)

    def _rounding(self) -> None:
        customer = self.build.customer(20)
        subscription = self.build.subscribe(customer, self.grown, "2026-01-13T15:00")
        subscription.changes["2026-03-13"] = Change("cents", -1)
        self.build.stream(customer, JOB, "2026-01-13T16:00", 20)

    def _late_customer(self) -> None:
        """Usage sent before the customer existed belongs to it, but was never billed."""
        customer = self.build.customer(21, created="2026-02-10T09:00")
        self.build.subscribe(customer, self.plain, "2026-02-12T09:00")
        self.build.stream(customer, REQUEST, "2026-02-01T09:00", 30)

    def _two_subscriptions(self) -> None:
        customer = self.build.customer(22)
        self.build.subscribe(customer, self.plain, "2026-01-19T09:00")
        self.build.subscribe(customer, self.team, "2026-01-24T09:00")
        self.build.stream(customer, REQUEST, "2026-01-19T10:00", 30)

    def _free(self) -> None:
        """Zero orders every month."""
        customer = self.build.customer(23)
        self.build.subscribe(customer, self._product("Free", 0, {self.requests: "2"}), "2026-01-21T09:00")

    def _still_pending(self) -> None:
        """Closed on 8 May: one order is late but within its grace, one exists and is not paid yet."""
        for number, kind in ((24, "missing"), (25, "pending")):
            customer = self.build.customer(number)
            subscription = self.build.subscribe(customer, self.plain, "2026-01-08T16:00")
            subscription.changes["2026-05-08"] = Change(kind)
            self.build.stream(customer, REQUEST, "2026-01-08T17:00", 20)

    def _before_coverage(self) -> None:
        """Bought in December: the first period begins before the exports do. It keeps the older, cheaper price."""
        old = self.build.metered("Growth 2025", self.requests, "0.4")
        new = self.build.metered("Growth", self.requests, "0.6", created_at=at("2026-03-01T00:00"))
        fixed = self.build.fixed("Growth", 9900)
        growth = self.build.product("Growth", fixed, new)
        customer = self.build.customer(26, created="2025-12-15T09:00")
        self.build.subscribe(customer, growth, "2025-12-15T10:00", prices=(fixed, old))
        self.build.usage(customer, REQUEST, COVERAGE_STARTS_AT, self.build.metadata(REQUEST, 3))
        self.build.stream(customer, REQUEST, "2026-01-01T09:00", 40)

    def _one_time(self) -> None:
        setup = self.build.product("Setup", self.build.fixed("Setup", 15000), interval=None)
        customer = self.build.customer(27, tax_percent=20, country="DE")
        self.organization.loose_orders.append(LooseOrder(customer, at("2026-02-11T10:20"), 15000, setup))
        self.build.stream(customer, REQUEST, "2026-02-11T11:00", 10)

    def _edges(self) -> None:
        """Late, on the boundary, fractional, without a number, under no meter, by Polar's id."""
        build = self.build
        customer = build.customer(28, external_id=None)
        build.subscribe(customer, self.grown, "2026-01-22T12:00")
        build.stream(customer, JOB, "2026-01-22T13:00", 20)
        for moment, received in (("2026-02-20T08:00", "2026-02-23T08:00"), ("2026-02-10T08:00", "2026-04-25T08:00")):
            metadata = {"hours": 2.675, "region": "eu-1"}
            build.usage(customer, JOB, at(moment), metadata, received=at(received))
        edge = at("2026-03-22T12:00")
        build.usage(customer, JOB, edge, {"hours": 1.5, "region": "us-1"}, received=edge)
        build.usage(customer, JOB, edge - timedelta(seconds=1), {"hours": 0.25, "region": "us-1"}, received=edge)
        build.usage(customer, JOB, at("2026-03-01T10:00"), {"hours": "12", "region": "eu-1"})
        build.usage(customer, JOB, at("2026-03-01T11:00"), {"region": "eu-1"})
        build.usage(customer, JOB, at("2026-03-01T12:00"), {"hours": 3})
        for index in range(12):
            build.usage(customer, VIEW, at(f"2026-03-{index + 2:02}T10:00"), {"path": "/pricing", "is_new": True})

    def _strangers(self) -> None:
        """External ids Polar knows no customer for."""
        for index in range(6):
            moment = at(f"2026-03-{index + 5:02}T21:00")
            metadata = self.build.metadata(REQUEST, index)
            self.build.usage(None, REQUEST, moment, metadata, external_customer_id=f"stranger-{index % 2 + 1}")
