{# An external id names the customer that held it when the event was received. Needs `customers` and `held_ids`. #}
{% macro join_customers(events) %}
    left join customers
        on
            {{ events }}.organization_id = customers.organization_id
            and {{ events }}.customer_id = customers.customer_id
    left join held_ids
        on
            {{ events }}.customer_id is null
            and {{ events }}.organization_id = held_ids.organization_id
            and {{ events }}.external_customer_id = held_ids.external_customer_id
            and held_ids.held_from_at <= {{ events }}.received_at
            and {{ events }}.received_at < held_ids.held_to_at
{% endmacro %}


{# The customer that `join_customers` found, else a key of the id that the event carries: unknown, but always the same. #}
{% macro joined_customer_key(events) %}
    coalesce(
        customers.customer_key,
        held_ids.customer_key,
        case
            when {{ events }}.customer_id is not null
                then {{ surrogate_key(["'customer'", events ~ '.organization_id', events ~ '.customer_id']) }}
            else {{ surrogate_key(["'external'", events ~ '.organization_id', events ~ '.external_customer_id']) }}
        end
    )
{% endmacro %}
