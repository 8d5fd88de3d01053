"""Whose usage it is (semantics, 1.4; contract, section 1: an external id names its holder at received_at)."""

from datetime import datetime

from tests.oracle.records import Customer, Event, Organization


class Attribution:
    """Finds the customer of an event, with all that is known now."""

    def __init__(self, organization: Organization) -> None:
        self._by_id = {customer.customer_id: customer for customer in organization.customers}
        self._holders: dict[str, list[Customer]] = {}
        for customer in sorted(organization.customers, key=lambda customer: customer.created_at):
            if customer.external_id is not None:
                self._holders.setdefault(customer.external_id, []).append(customer)

    def customer_of(self, event: Event) -> Customer | None:
        if event.customer_id is not None:
            # Polar refuses an id that it does not know, so that one it recorded is known (semantics, 1.1).
            return self._by_id.get(event.customer_id) or Customer(event.customer_id, None, datetime.min, None)
        return self._holder(event)

    def _holder(self, event: Event) -> Customer | None:
        """A holder is followed by the next one at its deletion or, where that is earlier, at the next one's creation.

        The first one also has what was sent before it existed; after the last one's deletion nobody holds the id.
        """
        holders = self._holders.get(event.external_customer_id or "", [])
        for number, holder in enumerate(holders):
            ends = [holder.deleted_at, *(following.created_at for following in holders[number + 1 : number + 2])]
            known_ends = [end for end in ends if end is not None]
            if not known_ends or event.received_at < min(known_ends):
                return holder
        return None


def existed_at_receipt(customer: Customer | None, event: Event) -> bool:
    """Billing takes usage only of customers that existed when it was received (semantics, 6.2)."""
    if customer is None or event.received_at < customer.created_at:
        return False
    return customer.deleted_at is None or event.received_at < customer.deleted_at
