{{ config(materialized='table') }}

{% set meter -%}
{
    "id": "VARCHAR", "name": "VARCHAR", "filter": "JSON", "aggregation": {"func": "VARCHAR", "property": "VARCHAR"},
    "created_at": "VARCHAR", "modified_at": "VARCHAR", "archived_at": "VARCHAR"
}
{%- endset %}
{% set meter = meter | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

seen_meters as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ meter }}') as meter
    from resources
    where kind = 'meters'
    union all
    select
        resources.* exclude (payload, modified_at),
        unnest(from_json(payload, '{"meters": [{"meter": {{ meter }}}]}').meters).meter as meter
    from resources
    where kind = 'subscriptions'

),

typed_meters as (

    select
        organization_id,
        {{ polar_id('meter.id') }} as meter_id,
        meter.name as meter_name,
        meter.aggregation.func as aggregation_function,
        meter.aggregation.property as aggregation_property,
        cast(meter.filter as varchar) as filter,
        {{ utc('meter.created_at') }} as created_at,
        {{ utc('meter.modified_at') }} as modified_at,
        {{ utc('meter.archived_at') }} as archived_at,
        md5(cast(meter as varchar)) as content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from seen_meters
    where meter.id is not null and meter.filter is not null

)

select * from typed_meters
{{ latest_version('organization_id, meter_id') }}
