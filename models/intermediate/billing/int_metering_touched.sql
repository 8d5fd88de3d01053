{#
    The events that meters may measure otherwise since the last build: changed ones, and all of an organization whose
    meters changed. Empty where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}
{% set definition = [
    'organization_id', 'meter_id', 'filter', 'aggregation_function', 'aggregation_path', 'archived_at', 'past_archivings'
] %}

{% if not works_in_place() %}

select {{ place | join(', ') }} from {{ ref('int_usage_events_changed') }}
where false
    and organization_id in (select organization_id from {{ ref('int_meters_known') }})
    and organization_id in (select organization_id from {{ ref('int_usage_events_attributed') }})

{% else %}

with

changed_meters as (

    {{ differing_rows('int_meters_known', definition) }}

)

select {{ place | join(', ') }} from {{ ref('int_usage_events_changed') }}
union
select {{ place | join(', ') }} from {{ ref('int_usage_events_attributed') }}
semi join changed_meters using (organization_id)

{% endif %}
