{% set customer_fields = var('published_customer_fields') %}
{% for field in customer_fields if field not in ('name', 'email') %}
    {{ exceptions.raise_compiler_error("The var published_customer_fields takes name and email, not '" ~ field ~ "'.") }}
{% endfor %}
{# With fields of the user's choice it has more columns than the contract lists. #}
{{ config(contract={'enforced': customer_fields | length == 0}) }}

with

known_customers as (

    select * from {{ ref('int_customers_merged') }}

),

monthly_usage as (

    select * from {{ ref('int_usage_summed_monthly') }}

),

usage_by_customer as (

    select
        organization_id,
        customer_key,
        min(customer_id) as customer_id,
        min(external_customer_id) as external_customer_id,
        min(first_usage_at) as first_usage_at,
        max(last_usage_at) as last_usage_at,
        cast(sum(event_count) as bigint) as usage_event_count
    from monthly_usage
    group by organization_id, customer_key

),

customers as (

    select
        coalesce(known_customers.customer_key, usage_by_customer.customer_key) as customer_key,
        coalesce(known_customers.organization_id, usage_by_customer.organization_id) as organization_id,
        coalesce(known_customers.customer_id, usage_by_customer.customer_id) as customer_id,
        case
            when known_customers.customer_key is null then usage_by_customer.external_customer_id
            else known_customers.external_customer_id
        end as external_customer_id,
        known_customers.customer_type,
        known_customers.customer_key is not null as is_known_to_polar,
        known_customers.created_at,
        known_customers.deleted_at,
        usage_by_customer.first_usage_at,
        usage_by_customer.last_usage_at,
        coalesce(usage_by_customer.usage_event_count, 0) as usage_event_count
    from known_customers
    full outer join usage_by_customer on known_customers.customer_key = usage_by_customer.customer_key

)

select
    customers.* replace (
        {{ published_external_id('customers.organization_id', 'customers.external_customer_id') }} as external_customer_id
    ){% for field in customer_fields %},
    details.{{ field }}{% endfor %}
from customers
{%- if customer_fields %}
left join {{ ref('stg_polar__customer_details') }} as details
    on
        customers.organization_id = details.organization_id
        and customers.customer_id = details.customer_id
{%- endif %}
