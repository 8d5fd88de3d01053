{#
    The organizations' days whose deliveries may count otherwise since the last build: those of touched events, and those
    between the old bounds of what can be compared and the new ones.
#}
{% set bounds = ['recorded_usage_from_at', 'recorded_usage_to_at', 'submitted_usage_from_at', 'submitted_usage_to_at'] %}

with

changed_organizations as (

    {% if works_in_place() %}
    {{ differing_rows('int_organizations_covered', ['organization_id'] + bounds) }}
    {% else %}
    select organization_id, {{ bounds | join(', ') }} from {{ ref('int_organizations_covered') }}
    where false
    {% endif %}

),

changed_spans as (

    {% for bound in bounds %}
    {# What was not there before is no bound: then all days come in. #}
    select
        organization_id,
        case
            when count({{ bound }}) = count(*) then min({{ bound }})
            else min(least({{ bounds | join(', ') }}))
        end as starts_at,
        case
            when count({{ bound }}) = count(*) then max({{ bound }})
            else max(greatest({{ bounds | join(', ') }}))
        end as ends_at
    from changed_organizations
    group by organization_id
    {{ "union all" if not loop.last }}
    {% endfor %}

)

select distinct
    organization_id,
    cast(occurred_at as date) as usage_date
from {{ ref('int_usage_events_touched') }}
union
select
    organization_id,
    cast(unnest(generate_series(date_trunc('day', starts_at), ends_at, interval '1 day')) as date) as usage_date
from changed_spans
