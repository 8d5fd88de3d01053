{#
    Who used anything in each organization's days, weeks, months and years of `metrics_time_zone`: customers with usage, or
    of whom a system event tells.
#}

with

sightings as (

    select
        organization_id,
        customer_key,
        metrics_date,
        polar_id_event_count > 0 as has_polar_id,
        event_count > polar_id_event_count as has_external_id
    from {{ ref('int_usage_costs_daily') }}
    union all
    select distinct
        system_events.organization_id,
        customers.customer_key,
        {{ local_date('system_events.occurred_at') }} as metrics_date,
        true as has_polar_id,
        false as has_external_id
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join {{ ref('int_customers_merged') }} as customers
        on
            system_events.organization_id = customers.organization_id
            and system_events.customer_id = customers.customer_id

),

{# Days are added up to weeks and months and those to years, each customer once: few rows of many. #}
days_of_customers as (

    select
        organization_id,
        customer_key,
        metrics_date as bucket_start_date,
        bool_or(has_polar_id) as has_polar_id,
        bool_or(has_external_id) as has_external_id
    from sightings
    group by organization_id, customer_key, metrics_date

),

{%- for bucket_type, parts in {'week': 'days', 'month': 'days', 'year': 'months'}.items() %}

{{ bucket_type }}s_of_customers as (

    select
        organization_id,
        customer_key,
        {{ bucket_start("'" ~ bucket_type ~ "'", 'part_start_date') }} as bucket_start_date,
        bool_or(has_polar_id) as has_polar_id,
        bool_or(has_external_id) as has_external_id
    from (
        select * rename (bucket_start_date as part_start_date) from {{ parts }}_of_customers
    )
    group by organization_id, customer_key, bucket_start_date

),
{%- endfor %}

users as (

    {% for bucket_type in ['day', 'week', 'month', 'year'] -%}
    select
        organization_id,
        '{{ bucket_type }}' as bucket_type,
        bucket_start_date,
        {# A person seen under both ids is one; Polar counts two. #}
        count(*) as active_user_count,
        count(*) filter (where has_polar_id) + count(*) filter (where has_external_id) as active_user_count_as_polar
    from {{ bucket_type }}s_of_customers
    group by organization_id, bucket_start_date
    {% if not loop.last -%} union all {% endif %}
    {%- endfor %}
)

select * from users
